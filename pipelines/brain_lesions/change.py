"""What became of each lesion since the earlier study: new, enlarging, stable, shrinking or gone.

Pure: two label maps on one grid in, frozen values out. A change is called only where it is larger than what lying
differently in the scanner and another run of the network can make of the same lesion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.changes import Change
from pacsai.sequences import Known
from pipelines.brain_lesions.matching import REACH_MM, Group, Spacing, groups, within_reach

SHELL_MM = 0.5
"""How far the whole surface of an unchanged lesion may seem to move: half a voxel of 1 mm, since where a border is
drawn is known no better than that. A ball of 6 mm may gain 59 %, one of 20 mm 16 %."""
SHELL_VOXELS = 0.3
"""The same for coarse images, as part of the coarser study's voxel along each axis. Twice drawn lesions on 1, 3 and
5 mm slices differ by 0.8 of the shell at most (tests/pipelines/brain_lesions/test_change.py)."""
RELATIVE = 0.15
"""Least change of a large lesion: what scan and rescan of one patient differ by at automatic segmentation."""
SMALLEST_MM3 = 14.0
"""A ball of 3 mm, the least that counts as a lesion (MAGNIMS 2016): nothing smaller is called new or gone."""
SMALLEST_SLICES = 1.1
"""Diameter of the least ball that is called new or gone, in slices: a thinner one may vanish between two."""
STAIRS = 2 / 3
"""Area of a surface over the area of its voxels' faces, on average over all directions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One lesion of the current study, or one of the prior that is gone.

    Attributes
    ----------
    label : int
        In the current label map; 0 for a lesion that is gone.
    prior_labels : tuple of int
        Lesions of the prior that it was; several where they merged.
    change : Change or None
        None where it cannot be told: no image of the prior shows the place, or the lesion is smaller than what counts.
    volume_mm3 : float
        0 for a lesion that is gone.
    prior_volume_mm3 : float or None
        None for what is new or cannot be compared. The pieces of a split lesion share its volume by their own.
    centre_mm : (x, y, z)
        LPS, of the lesion, or of its old place.
    tracking_uid, known_as : str
        As the prior's report has them; empty where it knows none.
    remarks : tuple of str
    """

    label: int
    change: Change | None
    volume_mm3: float
    centre_mm: tuple[float, float, float]
    prior_labels: tuple[int, ...] = ()
    prior_volume_mm3: float | None = None
    tracking_uid: str = ""
    known_as: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two studies of one brain on one grid.

    Attributes
    ----------
    current, prior : int32 [k, j, i]
        Label maps, 0 where nothing is.
    affine : float64 (4, 4)
        Index (i, j, k) to LPS mm of the current study.
    resolution_mm : (z, y, x)
        Size of the coarser study's voxel along the grid's axes; see `resolution_on`.
    comparable : bool [k, j, i] or None
        What both studies show; None for everything.
    suspected_then, suspected_now : bool [k, j, i] or None
        What a lower threshold would have called a lesion. What is suspected there already is not new, and what is
        suspected still is not gone: a lesion at the edge of being seen flickers.
    """

    current: NDArray[np.int32]
    prior: NDArray[np.int32]
    affine: NDArray[np.float64]
    resolution_mm: Spacing = (1.0, 1.0, 1.0)
    comparable: NDArray[np.bool_] | None = None
    suspected_then: NDArray[np.bool_] | None = None
    suspected_now: NDArray[np.bool_] | None = None

    @property
    def spacing_mm(self) -> Spacing:
        """Return the distance between voxels (z, y, x)."""
        x, y, z = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return z, y, x

    @property
    def voxel_mm3(self) -> float:
        """Return the volume of a voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


def resolution_on(affine: NDArray[np.float64], *studies: NDArray[np.float64]) -> Spacing:
    """Return the coarsest extent of the studies' voxels along the axes (z, y, x) of the grid of `affine`."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    extents = [np.abs(axes.T @ study[:3, :3]).max(axis=1) for study in studies]
    x, y, z = (float(length) for length in np.max(extents, axis=0))
    return z, y, x


def follow(pair: Pair, known: Sequence[Known] = ()) -> tuple[Followed, ...]:
    """Return what became of every lesion: those of the current study by their labels, then those that are gone.

    Parameters
    ----------
    known : sequence of Known
        What the prior's own report said, centres in the frame of `pair.affine` (see `moved`). A lesion of the prior
        takes the tracking UID of the known one nearest to it within `REACH_MM`; what it became keeps it.
    """
    now, then = _measures(pair.current, pair), _measures(pair.prior, pair)
    names, others = _named(pair, then, known)
    found: list[Followed] = []
    for group in groups(pair.current, pair.prior, pair.spacing_mm):
        found += _group(group, pair, now, then)
    found = _recognised(_keeping(found, pair, names), pair, others)
    present = sorted((one for one in found if one.label), key=lambda one: one.label)
    gone = sorted((one for one in found if not one.label), key=lambda one: one.prior_labels)
    return (*present, *gone)


def moved(known: Sequence[Known], to_current: NDArray[np.float64]) -> tuple[Known, ...]:
    """Return what the prior's report knew with its centres in the current frame; `to_current` maps LPS mm to LPS mm."""
    return tuple(replace(one, centre_mm=_place(to_current, one.centre_mm)) for one in known)


def _place(matrix: NDArray[np.float64], point: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in (matrix @ [*point, 1.0])[:3])
    return x, y, z


@dataclass(frozen=True, slots=True)
class _Measure:
    """Volume, centre and the volume of the shell within which a border may be drawn."""

    volume_mm3: float
    centre_mm: tuple[float, float, float]
    shell_mm3: float


def _measures(labels: NDArray[np.int32], pair: Pair) -> dict[int, _Measure]:
    found = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = labels[box] == label
        kji = np.argwhere(mask).mean(axis=0) + [part.start for part in box]
        centre_mm = _place(pair.affine, kji[::-1])
        found[label] = _Measure(int(mask.sum()) * pair.voxel_mm3, centre_mm, _shell_mm3(mask, pair))
    return found


def _shell_mm3(mask: NDArray[np.bool_], pair: Pair) -> float:
    """Return the volume that moving the whole surface of a mask by `SHELL_MM` or `SHELL_VOXELS` adds or takes."""
    padded = np.pad(mask, 1).astype(np.int8)
    total = 0.0
    for axis, (step, coarse) in enumerate(zip(pair.spacing_mm, pair.resolution_mm, strict=True)):
        faces = np.count_nonzero(np.diff(padded, axis=axis))
        total += faces * pair.voxel_mm3 / step * max(SHELL_MM, SHELL_VOXELS * coarse)
    return STAIRS * total


def _group(group: Group, pair: Pair, now: dict[int, _Measure], then: dict[int, _Measure]) -> Iterator[Followed]:
    if not group.prior:
        yield from (_unmatched(label, now[label], pair) for label in group.current)
        return
    if not group.current:
        yield from (_vanished(label, then[label]) for label in group.prior if _is_gone(label, then[label], pair))
        return
    volume, before = (
        sum(of[n].volume_mm3 for n in labels) for of, labels in ((now, group.current), (then, group.prior))
    )
    shells = [sum(of[n].shell_mm3 for n in labels) for of, labels in ((now, group.current), (then, group.prior))]
    change = changed(volume, before, max(shells))
    for label in group.current:
        one = now[label]
        yield Followed(
            label=label,
            change=change if _seen(pair.current == label, pair) else None,
            volume_mm3=one.volume_mm3,
            centre_mm=one.centre_mm,
            prior_labels=group.prior,
            prior_volume_mm3=before * one.volume_mm3 / volume,
            remarks=_structure(group),
        )


def changed(volume_mm3: float, prior_mm3: float, shell_mm3: float) -> Change:
    """Return what a lesion of `prior_mm3` became, given the volume of its border's uncertainty."""
    difference = volume_mm3 - prior_mm3
    if abs(difference) <= max(shell_mm3, RELATIVE * prior_mm3):
        return Change.STABLE
    return Change.ENLARGING if difference > 0 else Change.SHRINKING


def _structure(group: Group) -> tuple[str, ...]:
    if len(group.prior) > 1 and len(group.current) > 1:
        return (f"{len(group.prior)} lesions of the earlier study are {len(group.current)} now, compared together",)
    if len(group.prior) > 1:
        return (f"merged from {len(group.prior)} lesions of the earlier study",)
    if len(group.current) > 1:
        return (f"one of {len(group.current)} pieces of one lesion of the earlier study, compared together",)
    return ()


def _unmatched(label: int, one: _Measure, pair: Pair) -> Followed:
    mask = pair.current == label
    change: Change | None = Change.NEW
    remarks: tuple[str, ...] = ()
    if not _seen(mask, pair):
        change, remarks = None, ("not shown by the earlier study",)
    elif _mostly(pair.suspected_then, mask):
        change, remarks = Change.STABLE, ("faintly there in the earlier study",)
    elif one.volume_mm3 < _smallest_mm3(pair):
        change, remarks = None, ("too small to be called new",)
    return Followed(label=label, change=change, volume_mm3=one.volume_mm3, centre_mm=one.centre_mm, remarks=remarks)


def _is_gone(label: int, one: _Measure, pair: Pair) -> bool:
    mask = pair.prior == label
    return one.volume_mm3 >= _smallest_mm3(pair) and _seen(mask, pair) and not _mostly(pair.suspected_now, mask)


def _vanished(label: int, one: _Measure) -> Followed:
    return Followed(
        label=0,
        change=Change.GONE,
        volume_mm3=0.0,
        centre_mm=one.centre_mm,
        prior_labels=(label,),
        prior_volume_mm3=one.volume_mm3,
    )


def _smallest_mm3(pair: Pair) -> float:
    """Return the least volume that is called new or gone."""
    return max(SMALLEST_MM3, np.pi / 6 * (SMALLEST_SLICES * max(pair.resolution_mm)) ** 3)


def _seen(mask: NDArray[np.bool_], pair: Pair) -> bool:
    return pair.comparable is None or _mostly(pair.comparable, mask)


def _mostly(where: NDArray[np.bool_] | None, mask: NDArray[np.bool_]) -> bool:
    return where is not None and bool(where[mask].mean() >= 0.5)


def _named(pair: Pair, then: dict[int, _Measure], known: Sequence[Known]) -> tuple[dict[int, Known], tuple[Known, ...]]:
    """Return the known lesion that each lesion of the prior is, and those that are none of them.

    The nearest to a voxel of the lesion comes first; among those inside, the nearest to its centre.
    """
    near = sorted(
        (away_mm, float(np.linalg.norm(np.subtract(one.centre_mm, then[label].centre_mm))), n, label)
        for n, one in enumerate(known)
        for label, away_mm in _around(_kji(one, pair), pair.prior, pair.spacing_mm)
    )
    names: dict[int, Known] = {}
    used: set[int] = set()
    for _, _, n, label in near:
        if n not in used and label not in names:
            names[label] = known[n]
            used.add(n)
    return names, tuple(one for n, one in enumerate(known) if n not in used)


def _around(place_kji: NDArray[np.float64], labels: NDArray[np.int32], spacing_mm: Spacing) -> list[tuple[int, float]]:
    """Return the lesions within `REACH_MM` of a place, each with its distance from it."""
    half = REACH_MM / np.array(spacing_mm) + 0.5
    low = np.clip(np.floor(place_kji - half).astype(int), 0, labels.shape)
    high = np.clip(np.ceil(place_kji + half).astype(int) + 1, 0, labels.shape)
    box = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    voxels = np.argwhere(box)
    away = np.linalg.norm((voxels + low - place_kji) * spacing_mm, axis=1)
    found = box[tuple(voxels.T)]
    nearest = {int(label): float(away[found == label].min()) for label in np.unique(found)}
    return [(label, away_mm) for label, away_mm in nearest.items() if away_mm <= REACH_MM]


def _keeping(found: Sequence[Followed], pair: Pair, names: dict[int, Known]) -> list[Followed]:
    """Return the lesions with the names of what they were: each name goes to the piece that overlaps most."""
    overlaps = {(p, c): voxels for p, c, voxels in within_reach(pair.prior, pair.current, pair.spacing_mm)}
    claims = sorted(
        (-overlaps.get((p, one.label), 0), p, n) for n, one in enumerate(found) for p in one.prior_labels if p in names
    )
    kept = list(found)
    used: set[int] = set()
    for _, p, n in claims:
        if p not in used and not kept[n].tracking_uid:
            used.add(p)
            kept[n] = replace(kept[n], tracking_uid=names[p].tracking_uid, known_as=names[p].label)
    return kept


def _recognised(found: Sequence[Followed], pair: Pair, others: Sequence[Known]) -> list[Followed]:
    """Return the lesions; one that seemed new is what the prior's report knew at its place, if it knew one."""
    left = list(others)
    told = list(found)
    for n, one in enumerate(found):
        if one.label and not one.prior_labels:
            mask = (pair.current == one.label).astype(np.int32)
            known = next((other for other in left if _around(_kji(other, pair), mask, pair.spacing_mm)), None)
            if known is not None:
                left.remove(known)
                told[n] = _as_known(one, known, _shell_mm3(mask > 0, pair))
    return told


def _as_known(one: Followed, known: Known, shell_mm3: float) -> Followed:
    before = known.volume_mm3
    return replace(
        one,
        change=Change.STABLE if before is None else changed(one.volume_mm3, before, shell_mm3),
        prior_volume_mm3=before,
        tracking_uid=known.tracking_uid,
        known_as=known.label,
        remarks=("volume then as the earlier report has it",),
    )


def _kji(known: Known, pair: Pair) -> NDArray[np.float64]:
    index: NDArray[np.float64] = np.linalg.solve(pair.affine, np.array([*known.centre_mm, 1.0]))
    return index[2::-1]
