"""Where in the brain a lesion lies: periventricular, juxtacortical, infratentorial, deep white matter; and which side.

From the prepared images alone (model grid: 1 mm, k to the head, j to the back, i to the patient's left). Ventricles are
what is dark in FLAIR and far from the surface; cortex is what is near to the surface or to a sulcus; what lies below
the tentorium is told from the shape of the brain, in the proportions of the MNI head. After the regions of the
McDonald criteria (Thompson et al., Lancet Neurology 2018); a simple rule, no parcellation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai import terms
from pacsai.terms import Code

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

CSF_LEVEL = -2.0
"""Normalised FLAIR below this is fluid."""
VENTRICLE_DEPTH_MM = 24.0
"""Ventricles have a part at least this deep below the brain's surface."""
VENTRICLE_EDGE_MM = 15.0
"""Nearer to the surface than this no ventricle is looked for."""
MIN_VENTRICLE_MM3 = 300.0
PERIVENTRICULAR_MM = 3.0
"""A lesion this near to a ventricle touches it, give or take partial volume."""
JUXTACORTICAL_MM = 4.5
"""A lesion this near to the surface or to a sulcus reaches the cortex, which is 2 to 4 mm thick."""
MIDLINE_MM = 4.0
CLOSING_MM = 8


class Region(StrEnum):
    """Regions of the brain that the McDonald criteria tell apart, and the rest of the white matter."""

    PERIVENTRICULAR = "periventricular"
    JUXTACORTICAL = "juxtacortical"
    INFRATENTORIAL = "infratentorial"
    DEEP_WHITE_MATTER = "deep white matter"


class Side(StrEnum):
    """Of the patient."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lesion lies."""

    region: Region
    side: Side

    @property
    def site(self) -> Code | None:
        """Return the coded site that holds the region; None below the tentorium, where it may be stem or cerebellum."""
        return None if self.region is Region.INFRATENTORIAL else terms.CEREBRAL_WHITE_MATTER

    @property
    def laterality(self) -> Code:
        """Return the coded side."""
        return {Side.LEFT: terms.LEFT, Side.RIGHT: terms.RIGHT, Side.MIDLINE: terms.MIDLINE}[self.side]


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """What lesions are held against, on the model grid.

    Attributes
    ----------
    ventricles : bool [k, j, i]
    to_ventricles_mm, to_surface_mm : float32 [k, j, i]
        Distance to the nearest ventricle; to the brain's surface or the nearest sulcus. Infinite where there is none.
    infratentorial : bool [k, j, i]
        Cerebellum and brain stem.
    middle_i : float
        Index i of the plane between the halves.
    """

    ventricles: Mask
    to_ventricles_mm: Image
    to_surface_mm: Image
    infratentorial: Mask
    middle_i: float


def anatomy(flair: Image, brain: Mask) -> Anatomy:
    """Return the anatomy of a prepared brain (`flair` normalised, 0 outside of `brain`)."""
    whole = _closed(brain)
    depth = ndimage.distance_transform_edt(whole)
    fluid = whole & ((flair < CSF_LEVEL) | ~brain)
    ventricles = _ventricles(fluid & _central(brain), depth)
    sulci = fluid & ~ndimage.binary_dilation(ventricles, iterations=2)
    sulci = _without_specks(sulci | ~whole)
    return Anatomy(
        ventricles=ventricles,
        to_ventricles_mm=_distance_to(ventricles),
        to_surface_mm=_distance_to(sulci),
        infratentorial=infratentorial(brain),
        middle_i=_middle(brain),
    )


def places(found: Anatomy, labels: NDArray[np.int32]) -> Mapping[int, Place]:
    """Return the place of each lesion by its label; `labels` int32 [k, j, i] on the model grid, 0 for none."""
    told: dict[int, Place] = {}
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            lesion = labels[box] == number
            told[number] = Place(_region(found, box, lesion), _side(found, box, lesion))
    return told


def infratentorial(brain: Mask) -> Mask:
    """Return what lies below the tentorium, from the brain's top, length and middle in the proportions of MNI space.

    Behind the tentorium's edge it is a roof that falls to the back and to the sides; in front of it only the stem,
    near to the middle, counts.
    """
    if not brain.any():
        return np.zeros_like(brain)
    z, y, x = _mni(brain)
    roof = -4.0 - 0.4 * np.clip(-42.0 - y, 0, None) - 0.2 * np.clip(x - 12.0, 0, None)
    behind = (y < -36.0) & (z < roof)
    stem = (y <= -8.0) & (y >= -45.0) & (x < 18.0) & (z < -10.0)
    return np.asarray(brain & (behind | stem))


def _mni(brain: Mask) -> tuple[NDArray[np.float64], ...]:
    """Return about where in MNI space (mm) each k, j, i lies: height, towards the front, distance from the middle."""
    k, j, i = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    scale = 176.0 / max(1, j[-1] - j[0])
    nk, nj, ni = (np.arange(n) for n in brain.shape)
    z = (78.0 - (k[-1] - nk) * scale)[:, None, None]
    y = (71.0 - (nj - j[0]) * scale)[None, :, None]
    x = np.abs((ni - _middle(brain)) * 140.0 / max(1, i[-1] - i[0]))[None, None, :]
    return z, y, x


def _central(brain: Mask) -> Mask:
    """Return where ventricles may lie: not in the Sylvian fissures, not high between the hemispheres."""
    if not brain.any():
        return np.zeros_like(brain)
    z, y, x = _mni(brain)
    return np.asarray((x < 34.0) & (z < 36.0) & (y > -85.0) & (y < 45.0) & ~((x > 26.0) & (y > -10.0)))


def _closed(brain: Mask) -> Mask:
    """Return the brain with its sulci closed and holes filled."""
    padded = np.pad(brain, CLOSING_MM + 1)
    near = ndimage.distance_transform_edt(~padded) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(near) > CLOSING_MM
    inner = slice(CLOSING_MM + 1, -CLOSING_MM - 1)
    return np.asarray(ndimage.binary_fill_holes(closed[inner, inner, inner] | brain))


def _ventricles(fluid: Mask, depth: NDArray[np.float64]) -> Mask:
    """Return the pieces of fluid that are large and reach deep."""
    labels, n = ndimage.label(ndimage.binary_opening(fluid & (depth > VENTRICLE_EDGE_MM)))
    if n == 0:
        return np.zeros_like(fluid)
    sizes = np.bincount(labels.ravel())
    deepest = ndimage.maximum(depth, labels, np.arange(n + 1))
    chosen = (sizes >= MIN_VENTRICLE_MM3) & (np.asarray(deepest) >= VENTRICLE_DEPTH_MM)
    chosen[0] = False
    return np.asarray(ndimage.binary_dilation(chosen[labels], iterations=1, mask=fluid))


def _without_specks(mask: Mask) -> Mask:
    """Return a mask without pieces of less than 30 voxels: dark noise is no sulcus."""
    labels, _ = ndimage.label(mask)
    large = np.bincount(labels.ravel()) >= 30
    large[0] = False
    return np.asarray(large[labels])


def _distance_to(mask: Mask) -> Image:
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(ndimage.distance_transform_edt(~mask), dtype=np.float32)


def _middle(brain: Mask) -> float:
    """Return the index i that parts the brain into halves of the same size."""
    columns = np.cumsum(brain.sum(axis=(0, 1)))
    return float(np.interp(columns[-1] / 2, columns, np.arange(columns.size))) if columns[-1] else 0.0


def _region(found: Anatomy, box: tuple[slice, ...], lesion: Mask) -> Region:
    if found.infratentorial[box][lesion].mean() > 0.5:
        return Region.INFRATENTORIAL
    if found.to_ventricles_mm[box][lesion].min() <= PERIVENTRICULAR_MM:
        return Region.PERIVENTRICULAR
    if found.to_surface_mm[box][lesion].min() <= JUXTACORTICAL_MM:
        return Region.JUXTACORTICAL
    return Region.DEEP_WHITE_MATTER


def _side(found: Anatomy, box: tuple[slice, ...], lesion: Mask) -> Side:
    offset = box[2].start + float(np.nonzero(lesion)[2].mean()) - found.middle_i
    if abs(offset) <= MIDLINE_MM:
        return Side.MIDLINE
    return Side.LEFT if offset > 0 else Side.RIGHT
