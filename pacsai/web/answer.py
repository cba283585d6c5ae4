"""The answer to a Store transaction: its HTTP status, and the Store Instances Response (PS3.18 10.5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NO_ROOM = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
CLASS_NOT_SUPPORTED = 0x0122
SYNTAX_NOT_SUPPORTED = 0xC122
"""Failure Reasons (0008,1197): PS3.4 table B.2-1, PS3.7 annex C, PS3.18 table 10.5.3-3."""
KEPT_ANOTHER = 0xB000
"""Warning Reason (0008,1196): what is kept is not what was sent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part of an upload.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        '' where they could not be read.
    failure, warning : int
        The reason, 0 for none.
    passing : bool
        Whether the failure is one that a later try may not meet.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    failure: int = 0
    warning: int = 0
    passing: bool = False


def status(outcomes: Sequence[Outcome]) -> int:
    """Return the HTTP status for a body that was read to its end (PS3.18 table 10.5.3-1)."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    if len(failed) == len(outcomes):
        return 503 if all(outcome.passing for outcome in failed) else 409
    return 202 if failed or any(outcome.warning for outcome in outcomes) else 200


def response(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the Store Instances Response in the DICOM JSON Model (PS3.18 annex F); without any Retrieve URL."""
    failed = [_item(outcome) for outcome in outcomes if outcome.failure]
    referenced = [_item(outcome) for outcome in outcomes if not outcome.failure]
    sequences = {"00081198": failed, "00081199": referenced}
    return {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def _item(outcome: Outcome) -> dict[str, Any]:
    values: dict[str, tuple[str, str | int]] = {
        "00081150": ("UI", outcome.sop_class_uid),
        "00081155": ("UI", outcome.sop_instance_uid),
        "00081196": ("US", outcome.warning),
        "00081197": ("US", outcome.failure),
    }
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items() if value}
