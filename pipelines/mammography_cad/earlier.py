"""An exam beside the one before: what was there already, what grew, what is new, and what is not found again.

Both are read by the same networks. A breast is laid otherwise each time: a place is how far it is from the nipple,
along the chest wall and towards it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacsai.changes import Change
from pipelines.mammography_cad.detect import Mark, ReadView, Rule, kept
from pipelines.mammography_cad.look import MIDDLE_MM
from pipelines.mammography_cad.words import LABELS

APART_MM = 15.0
"""How far from each other the same lesion may lie in two exams."""
SUSPECTED = Rule(0.25, 0.25, 30)
"""What a lesion is sought in: a mark that is surely there now may have been faint before."""
TIMES, MORE_MM = 1.3, 3.0
"""A change of size is told when the longer diameter is so many times the other, and so much more."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of each mark, None where its view cannot be compared; and what is not found again, in words."""

    changes: tuple[Change | None, ...]
    lost: tuple[str, ...]


def follow(marks: Sequence[Mark], now: Sequence[ReadView], before: Sequence[ReadView], rule: Rule) -> Followed:
    """Return what became of the `marks` of the views `now` since the same views of the exam `before`.

    `rule` says which marks of the earlier exam are missed when they are not found again.
    """
    changes: list[Change | None] = [None] * len(marks)
    lost: list[str] = []
    for read, old in _same_views(now, before):
        own = [n for n, mark in enumerate(marks) if mark.view == read.view.name]
        theirs = kept(old.marks, SUSPECTED)
        partners = _partners([marks[n] for n in own], read, theirs, old)
        for n, partner in zip(own, partners, strict=True):
            changes[n] = Change.NEW if partner is None else _grown(marks[n], read, theirs[partner], old)
        missed = [mark for mark in kept(old.marks, rule) if not _is_seen(mark, old, read)]
        lost += [f"{old.view.name}: the {_told(mark, old)} of the earlier exam is not found again" for mark in missed]
    return Followed(tuple(changes), tuple(lost))


def _same_views(now: Sequence[ReadView], before: Sequence[ReadView]) -> Iterator[tuple[ReadView, ReadView]]:
    by_name = {read.view.name: read for read in before}
    return ((read, by_name[read.view.name]) for read in now if read.view.name in by_name)


def _partners(own: Sequence[Mark], read: ReadView, theirs: Sequence[Mark], old: ReadView) -> tuple[int | None, ...]:
    """Return for each mark which of the earlier ones is the same lesion; the nearest pairs first."""
    gaps = sorted(
        (float(np.hypot(*(_place(mark, read) - _place(other, old)))), a, b)
        for a, mark in enumerate(own)
        for b, other in enumerate(theirs)
        if _alike(mark, other)
    )
    chosen: dict[int, int] = {}
    for gap, a, b in gaps:
        if gap < APART_MM and a not in chosen and b not in chosen.values():
            chosen[a] = b
    return tuple(chosen.get(a) for a in range(len(own)))


def _is_seen(mark: Mark, old: ReadView, read: ReadView) -> bool:
    """Tell whether a mark of the earlier exam has anything at its place now."""
    there = [other for other in kept(read.marks, SUSPECTED) if _alike(mark, other)]
    return any(float(np.hypot(*(_place(mark, old) - _place(other, read)))) < APART_MM for other in there)


def _alike(mark: Mark, other: Mark) -> bool:
    return (mark.kind == "calcifications") == (other.kind == "calcifications")


def _place(mark: Mark, read: ReadView) -> NDArray[np.float64]:
    """Return how far below the nipple and how far behind it a mark lies, mm."""
    off = np.subtract(read.look.from_view(mark.centre), read.look.from_view(read.anatomy.nipple)) * MIDDLE_MM
    return off * (1, -1 if read.anatomy.chest_wall == "left" else 1)


def _grown(mark: Mark, read: ReadView, other: Mark, old: ReadView) -> Change | None:
    """Return what became of a lesion's size; None where a size is not known in mm."""
    if read.view.spacing_mm is None or old.view.spacing_mm is None:
        return None
    short, long = sorted((mark.long_mm, other.long_mm))
    if long < TIMES * short or long - short < MORE_MM:
        return Change.STABLE
    return Change.ENLARGING if mark.long_mm > other.long_mm else Change.SHRINKING


def _told(mark: Mark, read: ReadView) -> str:
    size = f" of {mark.long_mm:.0f} mm" if read.view.spacing_mm else ""
    return f"{LABELS[mark.kind].lower()}{size}"
