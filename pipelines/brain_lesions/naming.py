"""Names that go on: which lesion is which of the earlier report's, so that each keeps its tracking UID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pacsai.changes import Change
from pacsai.sequences import Known
from pipelines.brain_lesions.followed import Followed, Measure, Pair, changed, place, shell_of
from pipelines.brain_lesions.matching import REACH_MM, Spacing, within_reach


def moved(known: Sequence[Known], to_current: NDArray[np.float64]) -> tuple[Known, ...]:
    """Return what the prior's report knew with its centres in the current frame; `to_current` maps LPS mm to LPS mm."""
    return tuple(replace(one, centre_mm=place(to_current, one.centre_mm)) for one in known)


def named(pair: Pair, then: dict[int, Measure], known: Sequence[Known]) -> tuple[dict[int, Known], tuple[Known, ...]]:
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


def keeping(found: Sequence[Followed], pair: Pair, names: dict[int, Known]) -> list[Followed]:
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


def recognised(found: Sequence[Followed], pair: Pair, others: Sequence[Known]) -> list[Followed]:
    """Return the lesions; one that seemed new is what the prior's report knew at its place, if it knew one."""
    left = list(others)
    told = list(found)
    for n, one in enumerate(found):
        if one.label and not one.prior_labels:
            mask = (pair.current == one.label).astype(np.int32)
            known = next((other for other in left if _around(_kji(other, pair), mask, pair.spacing_mm)), None)
            if known is not None:
                left.remove(known)
                told[n] = _as_known(one, known, shell_of(mask > 0, pair))
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


def _kji(known: Known, pair: Pair) -> NDArray[np.float64]:
    index: NDArray[np.float64] = np.linalg.solve(pair.affine, np.array([*known.centre_mm, 1.0]))
    return index[2::-1]
