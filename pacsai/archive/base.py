"""What the node asks of an archive, whichever protocol it speaks.

Knows nothing of parcels, retries or jobs: one call sends some files once and tells what became of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ArchiveUnavailable(Exception):  # noqa: N818  the name says what to do: try again later
    """The archive could not take the files now; the message is the reason, for a person. Sending again is right."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What the archive answered for one instance.

    Attributes
    ----------
    accepted : bool
        True when the archive holds the instance now, with or without a warning, also if it held it before.
    detail : str
        The archive's words: empty after plain success, else the warning or the reason of the refusal.
    """

    sop_instance_uid: str
    accepted: bool
    detail: str = ""


class Archive(Protocol):
    """A place that keeps DICOM instances."""

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        """Send the DICOM files `paths`, bytes as they are, and return one answer for each, in the same order.

        Sending an instance that the archive already holds is accepted and changes nothing there.

        Raises
        ------
        ArchiveUnavailable
            The archive cannot be reached, rejects the association, or is out of resources. Some of the files may
            have arrived; send all of them again later.
        """
