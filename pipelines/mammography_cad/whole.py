"""The exam as a whole: which marks are one lesion, left beside right, density, case score, assessment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import ndimage

from pacsai import terms
from pacsai.reading import Attempt, BreastDensity, Joined, Reading
from pacsai.terms import Code
from pipelines.mammography_cad.detect import Mark, ReadView
from pipelines.mammography_cad.look import MIDDLE_MM
from pipelines.mammography_cad.words import DENSITY_CLASSES, KINDS, LABELS

NIPPLE_GAP_MM = 12.0
"""How much further from the nipple a lesion may lie on one view than on the other."""
DENSER = 0.08
"""How much denser, fat 0 and the densest tissue 1, an asymmetry must be than its place in the other breast."""
SUSPICIOUS, HIGHLY = 0.3, 0.9
"""Probability of cancer from which on BI-RADS 4 and 5 are suggested."""


def pairs(marks: Sequence[Mark]) -> list[tuple[int, int]]:
    """Return which marks of CC and MLO of one breast are one lesion: alike, as far from the nipple, nearest first."""
    found = []
    for (a, one), (b, other) in combinations(enumerate(marks), 2):
        same_breast = one.view[0] == other.view[0] and one.view != other.view
        alike = (one.kind == "calcifications") == (other.kind == "calcifications")
        size = max(one.long_mm, other.long_mm) / max(min(one.long_mm, other.long_mm), 1.0)
        gap = abs(one.nipple_mm - other.nipple_mm)
        if same_breast and alike and gap < NIPPLE_GAP_MM and size < 3:
            found.append((gap, a, b))
    taken: set[int] = set()
    chosen = []
    for _, a, b in sorted(found):
        if not {a, b} & taken:
            taken |= {a, b}
            chosen.append((a, b))
    return chosen


def stands_out(mark: Mark, reads: Sequence[ReadView]) -> bool:
    """Tell whether an asymmetry is denser than the same place of the other breast; True where that is not there."""
    own = next(read for read in reads if read.view.name == mark.view)
    name = ("L" if mark.view[0] == "R" else "R") + mark.view[1:]
    other = next((read for read in reads if read.view.name == name), None)
    if other is None:
        return True
    return _grey_at(own, _place(own, mark), mark) > _grey_at(other, _mirrored(own, other, mark), mark) + DENSER


def _place(read: ReadView, mark: Mark) -> tuple[float, float]:
    return read.look.from_view(mark.centre)


def _mirrored(own: ReadView, other: ReadView, mark: Mark) -> tuple[float, float]:
    """Return the place in the other breast as far above or below the nipple and as far behind it."""
    here, nipple = _place(own, mark), own.look.from_view(own.anatomy.nipple)
    there = other.look.from_view(other.anatomy.nipple)
    turn = 1 if own.anatomy.chest_wall == other.anatomy.chest_wall else -1
    return there[0] + here[0] - nipple[0], there[1] + turn * (here[1] - nipple[1])


def _grey_at(read: ReadView, place: tuple[float, float], mark: Mark) -> float:
    """Return the mean grey within the mark's size about a place of the middle grid."""
    half = max(3, round(0.35 * mark.long_mm / MIDDLE_MM))
    image = ndimage.uniform_filter(read.look.middle[0], 2 * half + 1)
    j, i = (min(max(0, round(p)), n - 1) for p, n in zip(place, image.shape, strict=True))
    return float(image[j, i])


def reading(reads: Sequence[ReadView], marks: Sequence[Mark]) -> Reading:
    """Return what is said of the exam; `marks` are the kept ones, in the order of the findings."""
    best = max((mark.probability for read in reads for mark in read.marks), default=0.0)
    detections = [Attempt(kind=terms.BREAST_DENSITY, algorithm="masses")]
    detections += [Attempt(kind=terms.ARCHITECTURAL_DISTORTION, algorithm="masses")]
    sought = tuple(read.view.name for read in reads if read.specks_sought)
    if sought:
        detections.append(Attempt(kind=terms.CALCIFICATION_CLUSTER, views=sought, algorithm="calcifications"))
    return Reading(
        detections=tuple(detections),
        analyses=tuple(_analyses(reads)),
        joined=tuple(_joined(marks)),
        densities=tuple(_densities(reads)),
        case_score=best,
        assessment=assessment(marks),
    )


def beside_earlier(told: Reading, reads: Sequence[ReadView], before: Sequence[ReadView]) -> Reading:
    """Return `told` with the analysis that compared the views of two exams, where they have any in common."""
    there = {read.view.name for read in before}
    views = tuple(read.view.name for read in reads if read.view.name in there)
    compared = Attempt(kind=terms.TEMPORAL_CORRELATION, views=views, algorithm="place from the nipple")
    return replace(told, analyses=(*told.analyses, compared)) if views else told


def assessment(marks: Sequence[Mark]) -> Code:
    """Return the suggested category: 1 without marks, 0 (look again) with faint ones, 4 and 5 by probability."""
    if not marks:
        return terms.BI_RADS_1
    highest = max(mark.probability for mark in marks)
    if highest >= HIGHLY:
        return terms.BI_RADS_5
    return terms.BI_RADS_4 if highest >= SUSPICIOUS else terms.BI_RADS_0


def _analyses(reads: Sequence[ReadView]) -> Iterator[Attempt]:
    names = {read.view.name for read in reads}
    yield Attempt(kind=terms.COMPOSITION_ANALYSIS, algorithm="density by area")
    if any({f"{side} CC", f"{side} MLO"} <= names for side in "LR"):
        yield Attempt(kind=terms.SPATIAL_COLLOCATION, algorithm="distance to the nipple")
    if any({f"L {view}", f"R {view}"} <= names for view in ("CC", "MLO")):
        yield Attempt(kind=terms.ASYMMETRY_ANALYSIS, algorithm="left beside right")


def _joined(marks: Sequence[Mark]) -> Iterator[Joined]:
    for number, (a, b) in enumerate(pairs(marks), start=1):
        surer = max(marks[a], marks[b], key=lambda mark: mark.certainty)
        yield Joined(
            kind=KINDS[surer.kind],
            members=(a, b),
            probability=max(marks[a].probability, marks[b].probability),
            label=f"{LABELS[surer.kind]} on two views {number}",
        )


def _densities(reads: Sequence[ReadView]) -> Iterator[BreastDensity]:
    for side in "RL":
        own = [read.anatomy for read in reads if read.view.laterality == side]
        if own:
            middle = sorted(own, key=lambda one: one.density)[len(own) // 2]
            percent = 100 * float(np.mean([one.density for one in own]))
            category = DENSITY_CLASSES[middle.density_class]
            yield BreastDensity(laterality=side, category=category, percent=percent)
