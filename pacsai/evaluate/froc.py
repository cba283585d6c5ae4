"""Scoring of marks by the LUNA16 protocol: which hit, which are false, sensitivity against false marks per scan.

Written anew after the published protocol (Setio et al., Medical Image Analysis 2017;42:1) and the behaviour of its
evaluation script. Knows nothing of DICOM or of pipelines.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Place = tuple[float, float, float]

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False marks per scan at which sensitivity is told; its mean over them is the CPM."""
COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
UNSIZED_MM = 10.0
"""Diameter given to excluded findings whose table says a negative one, as LUNA16's own script does."""


class TruthError(ValueError):
    """A truth table that cannot be read; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A mark: the series it was made on, its place (x, y, z) in LPS mm, and its probability."""

    series_instance_uid: str
    place_mm: Place
    probability: float


@dataclass(frozen=True, slots=True)
class Truth:
    """A lesion that is there: series, place (x, y, z) in LPS mm, diameter, and its type in words where known."""

    series_instance_uid: str
    place_mm: Place
    diameter_mm: float
    kind: str = ""

    def holds(self, mark: Scored) -> bool:
        """Tell whether a mark hits: same series and nearer to the middle than half the diameter."""
        same = mark.series_instance_uid == self.series_instance_uid
        return same and float(np.linalg.norm(np.subtract(mark.place_mm, self.place_mm))) < self.diameter_mm / 2


@dataclass(frozen=True, slots=True, eq=False)
class Froc:
    """The score of a set of marks.

    Attributes
    ----------
    hits : tuple of (Truth, float)
        Lesions found, each with the highest probability among the marks that hit it.
    misses : tuple of Truth
    false_marks : tuple of Scored
        Marks that hit neither a lesion nor an excluded finding.
    scans : int
        Scans looked at, those without lesions included.
    """

    hits: tuple[tuple[Truth, float], ...]
    misses: tuple[Truth, ...]
    false_marks: tuple[Scored, ...]
    scans: int

    @property
    def curve(self) -> NDArray[np.float64]:
        """Return rows (false marks per scan, sensitivity, threshold), from (0, 0, inf) on, one for each threshold."""
        found = np.array([probability for _, probability in self.hits])
        false = np.array([mark.probability for mark in self.false_marks])
        thresholds = np.unique(np.concatenate([found, false]))[::-1]
        lesions = max(1, len(self.hits) + len(self.misses))
        rows = [((false >= t).sum() / self.scans, (found >= t).sum() / lesions, t) for t in thresholds]
        return np.array([(0.0, 0.0, np.inf), *rows])

    def sensitivity(self, rate: float) -> float:
        """Return the sensitivity at `rate` false marks per scan: linear between points, held after the last."""
        curve = self.curve
        return float(np.interp(rate, curve[:, 0], curve[:, 1]))

    @property
    def sensitivities(self) -> tuple[float, ...]:
        """Return the sensitivity at each of `RATES`."""
        return tuple(self.sensitivity(rate) for rate in RATES)

    @property
    def cpm(self) -> float:
        """Return the competition performance metric: the mean of `sensitivities`."""
        return float(np.mean(self.sensitivities))


def score(
    marks: Sequence[Scored], truth: Iterable[Truth], scans: Collection[str], excluded: Sequence[Truth] = ()
) -> Froc:
    """Return how `marks` do against `truth`.

    A lesion counts once however many marks hit it. A mark that hits an excluded finding, and no lesion, counts as
    nothing. What lies on a series outside `scans` is left out.

    Parameters
    ----------
    marks : sequence of Scored
        Every candidate, also improbable ones: the curve ends where they end.
    truth, excluded : Truth
        Lesions to be found; findings that are neither right nor wrong to mark.
    scans : collection of str
        SeriesInstanceUID of every scan looked at, with or without lesions.
    """
    if not scans:
        raise ValueError("no scans were looked at: there is nothing to score")
    marks = [mark for mark in marks if mark.series_instance_uid in scans]
    lesions = [lesion for lesion in truth if lesion.series_instance_uid in scans]
    best = [(lesion, _highest(lesion, marks)) for lesion in lesions]
    others = [*lesions, *excluded]
    return Froc(
        hits=tuple((lesion, found) for lesion, found in best if found is not None),
        misses=tuple(lesion for lesion, found in best if found is None),
        false_marks=tuple(mark for mark in marks if not any(other.holds(mark) for other in others)),
        scans=len(set(scans)),
    )


def read_truth(path: Path) -> tuple[Truth, ...]:
    """Return the rows of a table with the columns `COLUMNS`, LPS mm; a column `kind` is read where there is one.

    Raises
    ------
    TruthError
        A column is missing or a value is no number.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        lacking = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise TruthError(f"{path.name} lacks the column(s) {', '.join(lacking)}; needed are {','.join(COLUMNS)}")
        return tuple(_truth(row, f"{path.name}, line {number}") for number, row in enumerate(rows, start=2))


def _truth(row: dict[str, str | None], where: str) -> Truth:
    try:
        x, y, z, diameter = (float(row[name] or "") for name in COLUMNS[1:])
    except ValueError as error:
        raise TruthError(f"{where}: coordinates and diameter must be numbers") from error
    return Truth(
        (row["seriesuid"] or "").strip(), (x, y, z), diameter if diameter >= 0 else UNSIZED_MM, row.get("kind") or ""
    )


def _highest(lesion: Truth, marks: Iterable[Scored]) -> float | None:
    return max((mark.probability for mark in marks if lesion.holds(mark)), default=None)
