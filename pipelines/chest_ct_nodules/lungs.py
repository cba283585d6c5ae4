"""Lungs of a CT: the air in them, which is left and right, and where to search for nodules.

Works on plain arrays that run to the head, the back and the patient's left; knows nothing of DICOM. The shapes are
found on a coarse grid of about 2 mm, where a whole chest takes a second or two, and are then spread to the source grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

COARSE_MM = 2.1
AIR_HU = -400.0
GAS_HU = -940.0
"""Gas of bowel and airways is darker than this in its middle; aerated lung, emphysema included, mostly is not."""
MAX_GAS_SHARE = 0.6
MIN_LUNG_AREA_MM2 = 1500.0
"""The largest slice of the lungs shows at least this much; less is a sinus, a bronchus or bowel."""
MIN_PART = 0.02
"""Parts smaller than this share of the largest one are no lung."""
AIRWAY_AREA_MM2 = (20.0, 900.0)
AIRWAY_REACH_MM = 55.0
"""Trachea and main bronchi lie this near to the middle of the body."""
HOLE_MM2 = 1300.0
"""Holes of a slice up to this area (a lesion of 40 mm) are filled; the dome of the liver is larger."""
CLOSING_MM = 16.0
"""Balls of this radius roll along the outside of a lung: what they cannot enter, a lesion on the wall, is taken in."""
MARGIN_MM = 3.5
_IN_SLICE = np.zeros((3, 3, 3), dtype=np.bool_)
_IN_SLICE[1] = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """Masks on the grid of the CT, bool [k, j, i], all empty where there are no lungs.

    Attributes
    ----------
    air : bool [k, j, i]
        Aerated lung, without trachea, main bronchi and bowel gas; vessels and lesions are not in it.
    left, right : bool [k, j, i]
        Each lung closed by `CLOSING_MM`, so that vessels and lesions on wall, mediastinum and hilum lie inside, and
        widened by `MARGIN_MM`. They do not overlap.
    """

    air: Mask
    left: Mask
    right: Mask

    @property
    def closed(self) -> Mask:
        """Return where nodules are searched: both lungs, closed and widened."""
        return self.left | self.right

    @property
    def found(self) -> bool:
        """Return whether there is any lung."""
        return bool(self.left.any() or self.right.any())


def segment_lungs(array_hu: NDArray[np.float32], spacing_mm: Spacing) -> Lungs:
    """Return the lungs of a CT, a whole chest or a slab of it.

    Parameters
    ----------
    array_hu : float32 [k, j, i]
        Hounsfield units; k runs to the head, j to the back, i to the patient's left.
    spacing_mm : (z, y, x)
        Distance of neighbouring voxel centres, millimetres.
    """
    factors = tuple(max(1, round(COARSE_MM / s)) for s in spacing_mm)
    coarse = _block_means(array_hu, factors)
    spacing = (spacing_mm[0] * factors[0], spacing_mm[1] * factors[1], spacing_mm[2] * factors[2])
    air, middle = _lung_air(coarse, spacing)
    left, right = _sides(air, spacing, middle)
    left, right = _search_region(left, spacing), _search_region(right, spacing)
    right &= ~left
    inside = _spread(left | right, factors, array_hu.shape)
    np.logical_and(inside, _spread(ndimage.binary_dilation(air), factors, array_hu.shape), out=inside)
    np.logical_and(inside, array_hu < AIR_HU, out=inside)
    return Lungs(inside, _spread(left, factors, array_hu.shape), _spread(right, factors, array_hu.shape))


def _block_means(array: NDArray[np.float32], factors: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the means of blocks of `factors` voxels; an incomplete last block is left out."""
    fk, fj, fi = (min(f, n) for f, n in zip(factors, array.shape, strict=True))
    nk, nj, ni = (n // f for n, f in zip(array.shape, (fk, fj, fi), strict=True))
    means = np.empty((nk, nj, ni), dtype=np.float32)
    for k in range(nk):
        plane = array[k * fk : (k + 1) * fk, : nj * fj, : ni * fi].mean(axis=0)
        means[k] = plane.reshape(nj, fj, ni, fi).mean(axis=(1, 3))
    return means


def _spread(mask: Mask, factors: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    """Return a coarse mask on the source grid of `shape`; the last voxels repeat where a block was left out."""
    of_k, of_j, of_i = (
        np.minimum(np.arange(n) // f, m - 1) for n, f, m in zip(shape, factors, mask.shape, strict=True)
    )
    spread = np.empty(shape, dtype=np.bool_)
    for k, plane in enumerate(mask):
        spread[of_k == k] = plane[of_j][:, of_i]
    return spread


def _lung_air(coarse: NDArray[np.float32], spacing: Spacing) -> tuple[Mask, float]:
    """Return the air of the lungs, and the index i of the body's middle."""
    solid = _body(coarse)
    middle = float(np.median(np.nonzero(solid)[2])) if solid.any() else coarse.shape[2] / 2
    enclosed = (coarse < AIR_HU) & ~solid & ~_reaching_border(~solid)
    enclosed &= ~_airways(enclosed, coarse, spacing, middle)
    return _largest_aerated(enclosed, coarse, spacing), middle


def _body(coarse: NDArray[np.float32]) -> Mask:
    """Return the tissue of the body, hollow where lungs are; table and blankets are thin, and left out."""
    solid = coarse > AIR_HU
    opened = ndimage.binary_opening(solid, _IN_SLICE)
    labels, n = ndimage.label(opened)
    if n == 0:
        return np.asarray(opened)
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    return np.asarray(ndimage.binary_dilation(largest, _IN_SLICE, iterations=2, mask=solid))


def _reaching_border(mask: Mask) -> Mask:
    """Return those patches of each slice that touch the slice's border."""
    labels, n = ndimage.label(mask, _IN_SLICE)
    touching = np.zeros(n + 1, dtype=np.bool_)
    for line in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        touching[line] = True
    touching[0] = False
    return np.asarray(touching[labels])


def _airways(enclosed: Mask, coarse: NDArray[np.float32], spacing: Spacing, middle: float) -> Mask:
    """Return trachea and main bronchi: in a slice, small dark patches of air near the middle of the body."""
    labels, n = ndimage.label(enclosed & (coarse < -600.0), _IN_SLICE)
    if n == 0:
        return np.zeros_like(enclosed)
    flat = labels.ravel()
    columns = np.broadcast_to(np.arange(labels.shape[2], dtype=np.float64), labels.shape).ravel()
    counts = np.maximum(np.bincount(flat), 1)
    areas = counts * spacing[1] * spacing[2]
    dark = np.bincount(flat, weights=coarse.ravel() < GAS_HU) > 0
    central = np.abs(np.bincount(flat, weights=columns) / counts - middle) * spacing[2] < AIRWAY_REACH_MM
    airway = dark & central & (areas > AIRWAY_AREA_MM2[0]) & (areas < AIRWAY_AREA_MM2[1])
    airway[0] = False
    found = airway[labels]
    return np.asarray(ndimage.binary_dilation(found, _IN_SLICE))


def _largest_aerated(enclosed: Mask, coarse: NDArray[np.float32], spacing: Spacing) -> Mask:
    """Return the large parts of `enclosed` that are not gas; nothing where even their largest slice is small."""
    opened = ndimage.binary_opening(enclosed)
    labels, n = ndimage.label(opened)
    empty = np.zeros_like(enclosed)
    if n == 0:
        return empty
    sizes = np.bincount(labels.ravel())
    core = np.where(ndimage.binary_erosion(opened), labels, 0).ravel()
    dark = np.bincount(core, weights=coarse.ravel() < GAS_HU, minlength=n + 1)
    gas = dark > MAX_GAS_SHARE * np.maximum(np.bincount(core, minlength=n + 1), 1)
    sizes[gas] = sizes[0] = 0
    kept = ((sizes > MIN_PART * sizes.max()) & (sizes > 0))[labels]
    if kept.sum(axis=(1, 2)).max() * spacing[1] * spacing[2] < MIN_LUNG_AREA_MM2:
        return empty
    return np.asarray(ndimage.binary_dilation(kept, iterations=2, mask=enclosed))


def _sides(air: Mask, spacing: Spacing, middle: float) -> tuple[Mask, Mask]:
    """Return the air of the left and of the right lung, parted where they are joined."""
    if not air.any():
        return air, air
    depth = None
    for radius_mm in (0.0, 3.0, 6.0, 10.0):
        if radius_mm and depth is None:
            depth = ndimage.distance_transform_edt(air, sampling=spacing)
        seeds = air if depth is None else depth > radius_mm
        left, right, joined = _seeds(seeds, spacing, middle)
        if not joined:
            return _nearest(air, left, right, spacing)
    plane = np.arange(air.shape[2]) >= middle
    return air & plane, air & ~plane


def _seeds(air: Mask, spacing: Spacing, middle: float) -> tuple[Mask, Mask, bool]:
    """Return the large parts of `air` on the left and on the right, and whether one of them reaches far into both."""
    labels, n = ndimage.label(air)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    offset_mm = (np.arange(air.shape[2]) - middle) * spacing[2]
    left: list[int] = []
    right: list[int] = []
    for number in np.flatnonzero(sizes > 0.05 * sizes.sum()) + 1:
        profile = (labels == number).sum(axis=(0, 1)) / sizes[number - 1]
        if min(profile[offset_mm > 20].sum(), profile[offset_mm < -20].sum()) > 0.2:
            return air, air, True
        (left if profile @ offset_mm > 0 else right).append(int(number))
    return np.isin(labels, left), np.isin(labels, right), False


def _nearest(air: Mask, left: Mask, right: Mask, spacing: Spacing) -> tuple[Mask, Mask]:
    """Return `air` parted by whether the left or the right seeds are nearer."""
    if not (left.any() and right.any()):
        return (air, right & False) if left.any() else (left & False, air)
    to_left, to_right = (ndimage.distance_transform_edt(~seeds, sampling=spacing) for seeds in (left, right))
    nearer = to_left <= to_right
    return air & nearer, air & ~nearer


def _search_region(lung: Mask, spacing: Spacing) -> Mask:
    """Return one lung with its holes filled, closed by `CLOSING_MM` and widened by `MARGIN_MM`."""
    region = np.zeros_like(lung)
    if not lung.any():
        return region
    box = _box(lung, CLOSING_MM + MARGIN_MM, spacing)
    filled = _holes_filled(lung[box], spacing)
    near = ndimage.distance_transform_edt(~filled, sampling=spacing) <= CLOSING_MM
    closed = _holes_filled(ndimage.distance_transform_edt(near, sampling=spacing) > CLOSING_MM, spacing) | filled
    region[box] = ndimage.distance_transform_edt(~closed, sampling=spacing) <= MARGIN_MM
    return region


def _box(mask: Mask, margin_mm: float, spacing: Spacing) -> tuple[slice, slice, slice]:
    """Return the bounds of a mask, `margin_mm` and a voxel wider."""
    bounds = ndimage.find_objects(mask.astype(np.uint8))[0]
    margins = [int(margin_mm / s) + 2 for s in spacing]
    k, j, i = (slice(max(0, b.start - m), b.stop + m) for b, m in zip(bounds, margins, strict=True))
    return k, j, i


def _holes_filled(mask: Mask, spacing: Spacing) -> Mask:
    """Return a mask with its enclosed holes filled, and those of a slice up to `HOLE_MM2`."""
    holes = ~mask & ~_reaching_border(~mask)
    labels, _ = ndimage.label(holes, _IN_SLICE)
    small = np.bincount(labels.ravel()) * spacing[1] * spacing[2] < HOLE_MM2
    small[0] = False
    return np.asarray(ndimage.binary_fill_holes(mask | small[labels]))
