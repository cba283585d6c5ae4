"""Two studies of one brain on one grid, their lesions' volumes, and from where on a difference is a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.changes import Change
from pipelines.brain_lesions.matching import Spacing

SHELL_MM = 0.5
"""How far the whole surface of an unchanged lesion may seem to move: half a voxel of 1 mm, since where a border is
drawn is known no better than that. A ball of 6 mm may gain 59 %, one of 20 mm 16 %."""
SHELL_VOXELS = 0.3
"""The same for coarse images, as part of the coarser study's voxel along each axis. Twice drawn lesions on 1, 3 and
5 mm slices differ by 0.8 of the shell at most (tests/pipelines/brain_lesions/test_change.py)."""
RELATIVE = 0.15
"""Least change of a large lesion: what scan and rescan of one patient differ by at automatic segmentation."""
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
    gained : float32 [k, j, i] or None
        How much brighter FLAIR became (`gain.gain`): a change of outline that FLAIR does not share is none.
    """

    current: NDArray[np.int32]
    prior: NDArray[np.int32]
    affine: NDArray[np.float64]
    resolution_mm: Spacing = (1.0, 1.0, 1.0)
    comparable: NDArray[np.bool_] | None = None
    suspected_then: NDArray[np.bool_] | None = None
    suspected_now: NDArray[np.bool_] | None = None
    gained: NDArray[np.float32] | None = None

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


@dataclass(frozen=True, slots=True)
class Measure:
    """Volume, centre and the volume of the shell within which a border may be drawn."""

    volume_mm3: float
    centre_mm: tuple[float, float, float]
    shell_mm3: float


def measures(labels: NDArray[np.int32], pair: Pair) -> dict[int, Measure]:
    """Return the measure of each lesion of a label map on the grid of `pair`."""
    found = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = labels[box] == label
        kji = np.argwhere(mask).mean(axis=0) + [part.start for part in box]
        centre_mm = place(pair.affine, kji[::-1])
        found[label] = Measure(int(mask.sum()) * pair.voxel_mm3, centre_mm, shell_of(mask, pair))
    return found


def shell_of(mask: NDArray[np.bool_], pair: Pair) -> float:
    """Return the volume that moving the whole surface of a mask by `SHELL_MM` or `SHELL_VOXELS` adds or takes."""
    padded = np.pad(mask, 1).astype(np.int8)
    total = 0.0
    for axis, (step, coarse) in enumerate(zip(pair.spacing_mm, pair.resolution_mm, strict=True)):
        faces = np.count_nonzero(np.diff(padded, axis=axis))
        total += faces * pair.voxel_mm3 / step * max(SHELL_MM, SHELL_VOXELS * coarse)
    return STAIRS * total


def changed(volume_mm3: float, prior_mm3: float, shell_mm3: float) -> Change:
    """Return what a lesion of `prior_mm3` became, given the volume of its border's uncertainty."""
    difference = volume_mm3 - prior_mm3
    if abs(difference) <= max(shell_mm3, RELATIVE * prior_mm3):
        return Change.STABLE
    return Change.ENLARGING if difference > 0 else Change.SHRINKING


def place(matrix: NDArray[np.float64], point: Sequence[float]) -> tuple[float, float, float]:
    """Return the point (x, y, z) that a matrix of homogeneous coordinates takes `point` to."""
    x, y, z = (float(value) for value in (matrix @ [*point, 1.0])[:3])
    return x, y, z
