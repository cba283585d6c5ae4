"""A finding against the patient's earlier study: the words for its change, and which study it was compared with.

Pure values. What counts as a change is a pipeline's own matter; `objects/` tells it in SR, GSPS and SC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Change(StrEnum):
    """What became of a finding since the earlier study."""

    NEW = "new"
    ENLARGING = "enlarging"
    STABLE = "stable"
    SHRINKING = "shrinking"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The study that a result was compared with.

    Attributes
    ----------
    study_instance_uid : str
    study_date, current_date : date or None
        Of the earlier study and of the analysed one; None where the headers do not say.
    volume_mm3 : float or None
        Total volume of what was found in the earlier study.
    """

    study_instance_uid: str
    study_date: date | None = None
    current_date: date | None = None
    volume_mm3: float | None = None

    @property
    def interval_days(self) -> int | None:
        """Return the days from the earlier study to the analysed one."""
        if self.study_date is None or self.current_date is None:
            return None
        return (self.current_date - self.study_date).days

    def sentence(self, changes: Iterable[Change | None]) -> str:
        """Return which study it was compared with, and how many findings are new, enlarging and so on."""
        day = f"{self.study_date:%Y-%m-%d}" if self.study_date else "unknown date"
        interval = "" if self.interval_days is None else f" ({self.interval_days} days earlier)"
        counted = Counter(changes)
        told = [f"{counted[change]} {change}" for change in Change if counted[change]]
        if counted[None]:
            told.append(f"{counted[None]} without comparison")
        return f"Compared with the study of {day}{interval}: {', '.join(told) or 'no finding in either'}."


def difference(volume_mm3: float | None, prior_mm3: float | None) -> str:
    """Return a volume beside the earlier one in words: "was 120 mm3, now 162 mm3: +42 mm3, +35 %"."""
    if prior_mm3 is None:
        return ""
    if volume_mm3 is None:
        return f"was {prior_mm3:.0f} mm3"
    relative = f", {100 * (volume_mm3 / prior_mm3 - 1):+.0f} %" if prior_mm3 > 0 else ""
    return f"was {prior_mm3:.0f} mm3, now {volume_mm3:.0f} mm3: {volume_mm3 - prior_mm3:+.0f} mm3{relative}"
