"""What the trained first stage sees on training images: hard negatives for itself, and candidates for the judges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.mammography_cad.examples import Example, Known
from pipelines.mammography_cad.judging import show_masses, show_specks
from pipelines.mammography_cad.look import Array, Look, Mask, halved
from pipelines.mammography_cad.masses import find_masses
from pipelines.mammography_cad.net import MASS_WORDS, SPECK_WORDS, Finder
from pipelines.mammography_cad.ready import Ready
from pipelines.mammography_cad.specks import Specks, find_specks, groups
from pipelines.mammography_cad.teaching import Judged, Place, target_of

MINE_FLOOR = 0.05
CANDIDATES = 10
"""Candidates of one view that a judge learns from, at most."""


def mine(finder: Finder, looks: Iterable[tuple[Place, Look]]) -> int:
    """Add to each place where the network sees a lesion and none is; return how many."""
    found = 0
    for place, look in looks:
        for candidate in find_masses(look, finder, floor=MINE_FLOOR)[:CANDIDATES]:
            if lesion_at(candidate.place, place.index, place.known) is None:
                place.hard.append(candidate.place)
                found += 1
    return found


def lesion_at(place: tuple[float, float], index: NDArray[np.uint8], known: Sequence[Known]) -> Known | None:
    """Return the mass, distortion or asymmetry at a place of the middle grid, or None."""
    j, i = (min(max(0, round(p)), n - 1) for p, n in zip(place, index.shape, strict=True))
    number = int(index[j, i])
    inside = known[number - 1] if number else None
    if inside is not None and inside.kind != "calcifications":
        return inside
    near = [k for k in known if k.kind != "calcifications" and math.dist(place, k.centre) < k.radius]
    return near[0] if near else None


def mass_candidates(ready: Ready, finder: Finder, *, real: bool) -> list[Judged]:
    """Return what a judge of masses learns from one view; what a real lesion is called is not known."""
    found = find_masses(ready.look, finder, floor=0.03)[:CANDIDATES]
    rows = []
    for candidate, shown in zip(found, show_masses(ready.look, found), strict=True):
        known = lesion_at(candidate.place, ready.index, ready.known)
        target = target_of(known, MASS_WORDS, told=not real)
        rows.append(Judged.of(shown, target, real=real))
    return rows


def tissue(image: Array) -> Mask:
    """Return where a window shows breast."""
    return np.asarray(ndimage.uniform_filter(image, 9) > 0.01, dtype=np.bool_)


def speck_candidates(example: Example, finder: Finder) -> list[Judged]:
    """Return what a judge of calcifications learns from one window."""
    specks, contrast = find_specks(example.image, tissue(example.image), finder)
    grey = halved(halved(example.image))
    rows = []
    for group in groups(specks):
        known, sure = _cluster_of(group, example)
        if sure:
            shown = show_specks(contrast, grey, specks, group, None)
            rows.append(Judged.of(shown, target_of(known, SPECK_WORDS), real=False))
    return rows


def _cluster_of(group: Specks, example: Example) -> tuple[Known | None, bool]:
    """Return the cluster that most of a group lies in, or None; and whether that is plain."""
    at = group.places.astype(np.intp)
    labels = example.index[at[:, 0], at[:, 1]]
    names = [0, *(n for n, one in enumerate(example.known, start=1) if one.kind == "calcifications")]
    shares = {n: float((labels == n).mean()) for n in names[1:]}
    best = max(shares, key=shares.__getitem__, default=0)
    share = shares.get(best, 0.0)
    if share >= 0.4:
        return example.known[best - 1], True
    return None, share < 0.15
