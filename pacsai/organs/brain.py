"""Brain extraction: where the brain is in a head of any MR contrast, or why there is none to be found.

Takes heads with skull, with or without face, and images that came stripped, from 1 mm isotropic to thick slices. The
work is done at 2 mm along the world; the answer lies on the image's own grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.organs.surface import Surface, filled, grown
from pacsai.volume import Grid
from pacsai.volume.itk import onto, upright

Mask = NDArray[np.bool_]
Image = NDArray[np.float32]

COARSE_MM = 2.0
VOLUME_ML = (450.0, 2400.0)
EXTENT_MM = ((70.0, 180.0), (100.0, 220.0), (85.0, 185.0))
"""Least and largest size of a brain along z, y, x."""
BACKGROUND_SHARE = 0.3
"""Part of the voxels that share one value outside of a stripped brain."""
HEAD_MM = 150.0
"""A brain lies within this below the top of the head."""
MIN_WALL = 0.45
"""Least darkness of the skull around the upper half of a brain, on average; of no use in stripped images."""
FAT = {"T1": (1.3, 1.7), "T1C": (1.15, 1.5), "FLAIR": (1.6, 2.1)}
"""Brightness, in parts of the brain's, from where on it is fat or marrow and where surely so; in T2 it may be fluid."""
FAT_DEPTH_MM = 22.0
"""Deeper below the skin than this, what is bright is a lesion, not scalp, and what is dark and thin no bone."""
LARGEST_FIELD_MM = 520.0
"""Longest side of a field of view that is looked through: bounds time and memory."""
SKIN_MM = (4.0, 32.0)
"""How deep below the skin the upper half of a brain lies, median: under bone and scalp, but not inside a trunk."""
GOES_ON = 0.75
"""Part of a body's largest cross-section that its topmost one may have in the images, if it is to end in a head."""
START_MM = 60.0
"""Radius of the ball that the surface begins as: inside the skull, but beyond the tentorium's cleft."""
DARK = {"T2": 0.75}
"""What counts as bone, in parts of the brain's brightness; thin bone beside bright fluid and scalp is less dark."""
DARK_ELSEWHERE = 0.5
FLUID = 1.2
"""Brightest that T2 is taken for, in parts of the brain's."""
MAX_CUT = 0.08
"""Most of the brain's surface that may lie on the edge of the field of view, above its lowest quarter."""
MARGIN_MM = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Brain:
    """The brain of an image.

    Attributes
    ----------
    mask : bool [k, j, i]
        On the image's grid: brain with its ventricles; empty where there is none.
    quality : float
        0 (none) to 1: how closed the dark wall around it is; 1 for stripped images.
    reason : str
        Why there is none; empty where there is one.
    stripped : bool
        Whether the image came without a skull; then the mask is what is not background.
    """

    mask: Mask
    quality: float
    reason: str
    stripped: bool = False


def extract_brain(grid: Grid, contrast: str) -> Brain:
    """Return the brain of an MR image of the head.

    Parameters
    ----------
    grid : Grid
        Any orientation, spacing and intensity.
    contrast : str
        "FLAIR", "T1", "T1C" or "T2".
    """
    if not np.isfinite(grid.array).all() or np.ptp(grid.array) == 0:
        return _none(grid, "the image is empty")
    if min(grid.shape_kji) * min(grid.spacing_mm) < 1 or min(_extent_mm(grid)) < EXTENT_MM[0][0]:
        return _none(grid, "the field of view is smaller than a brain")
    if max(np.ptp(_corners_mm(grid), axis=0)) > LARGEST_FIELD_MM:
        return _none(grid, f"the field of view is longer than {LARGEST_FIELD_MM:.0f} mm")
    bare = _stripped(grid)
    if bare is not None:
        return bare
    coarse = upright(grid, COARSE_MM, margin_mm=MARGIN_MM)
    if contrast not in FAT:
        coarse = upright(_clamped(grid, coarse), COARSE_MM, margin_mm=MARGIN_MM)
    surface, mask = _surface(coarse.array, contrast)
    objection = _objection(mask, surface, coarse, grid)
    if objection:
        return _none(grid, objection)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    fine = onto(Grid(soft, coarse.affine), grid.affine, grid.shape_kji).array > 0.5
    return Brain(fine, _wall(surface), "")


def _none(grid: Grid, reason: str) -> Brain:
    return Brain(np.zeros(grid.shape_kji, np.bool_), 0.0, reason)


def _extent_mm(grid: Grid) -> tuple[float, ...]:
    return tuple(n * step for n, step in zip(grid.shape_kji, grid.spacing_mm, strict=True))


def _corners_mm(grid: Grid) -> NDArray[np.float64]:
    ends = [(0, n - 1) for n in grid.shape_kji]
    return grid.world_mm(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)


def _stripped(grid: Grid) -> Brain | None:
    """Return the brain of an image without skull; None where there is a skull, or too much or too little of it."""
    background = float(grid.array.flat[0])
    foreground = grid.array != background
    if foreground.mean() > 1 - BACKGROUND_SHARE:
        return None
    whole = _holes_filled(_largest(foreground))
    volume_ml = whole.sum() * float(np.prod(grid.spacing_mm)) / 1000
    coarse = upright(Grid(np.where(whole, grid.array, background), grid.affine), COARSE_MM)
    inside = onto(Grid(whole.astype(np.float32), grid.affine), coarse.affine, coarse.shape_kji).array > 0.5
    if not VOLUME_ML[0] <= volume_ml <= VOLUME_ML[1] or _size_objection(inside) or _has_scalp(coarse.array, inside):
        return None
    return Brain(whole, 1.0, "", stripped=True)


def _has_scalp(image: Image, inside: Mask) -> bool:
    """Tell whether a bright layer, scalp, lies over a dark one, bone, in the upper half of what is not background."""
    depth = ndimage.distance_transform_edt(inside) * COARSE_MM
    upper = np.arange(inside.shape[0])[:, None, None] > np.nonzero(inside)[0].mean()
    values = [float(np.median(image[upper & (depth > a) & (depth <= a + 3)])) for a in range(0, 18, 3)]
    base = float(image.min())
    scalp, bone = max(values[:3]) - base, min(values[1:]) - base
    return scalp > 1.3 * bone and values.index(max(values[:3])) < values.index(min(values[1:]))


def _surface(image: Image, contrast: str) -> tuple[Surface, Mask]:
    """Return the brain's surface and its inside on the upright grid."""
    air, _ = _levels(image)
    head, centre, lowest = _head(image)
    brain = _brain_level(image, head, centre)
    cut = np.where(np.arange(image.shape[0])[:, None, None] < lowest, np.float32(air), image)
    brain = max(brain, air + 1e-6)
    deep = ndimage.distance_transform_edt(head) * COARSE_MM > FAT_DEPTH_MM
    if contrast in FAT:
        cut = np.where(deep, cut, _fat_as_bone(cut, air, brain, *FAT[contrast]))
    behind = deep & (np.arange(image.shape[1])[:, None] > centre[1])
    cut = np.where(behind, ndimage.grey_closing(cut, (3, 3, 3)), cut)  # the cleft between cerebrum and cerebellum
    dark = DARK.get(contrast, DARK_ELSEWHERE)
    surface = grown(cut, COARSE_MM, centre, START_MM, (air, brain), dark)
    return surface, _tidied(filled(surface, image.shape, COARSE_MM), cut, air + 0.3 * (brain - air))


def _clamped(grid: Grid, coarse: Grid) -> Grid:
    """Return an image whose fluid is no brighter than its brain, so that thin bone beside it stays dark."""
    air, _ = _levels(coarse.array)
    head, centre, _ = _head(coarse.array)
    brain = _brain_level(coarse.array, head, centre)
    return Grid(np.minimum(grid.array, np.float32(air + FLUID * (brain - air))), grid.affine)


def _fat_as_bone(image: Image, air: float, brain: float, low: float, high: float) -> Image:
    """Return an image in which what is brighter than brain gets dark: scalp whose bone is too thin to be seen."""
    above = (image - air) / (brain - air) - low
    folded = air + (brain - air) * np.clip(1 - above / (high - low), 0, 1)
    return np.where(above > 0, np.minimum(image, folded), image).astype(np.float32)


def _levels(image: Image) -> tuple[float, float]:
    """Return how bright air and the brightest tissues are."""
    air, bright = (float(v) for v in np.percentile(image, (2, 98)))
    return air, bright


def _head(image: Image) -> tuple[Mask, NDArray[np.float64], int]:
    """Return the head, the point (k, j, i) within its upper part that a brain surrounds, and its lowest slice."""
    air, bright = _levels(image)
    head = _holes_filled(_largest(image > air + 0.1 * (bright - air)))
    top = _top(head)
    lowest = max(0, top - round(HEAD_MM / COARSE_MM))
    shown = head.copy()
    shown[: max(0, top - round(0.7 * HEAD_MM / COARSE_MM))] = False
    centre = np.array([float(axis.mean()) for axis in np.nonzero(shown)])
    return head, centre, lowest


def _brain_level(image: Image, head: Mask, centre: NDArray[np.float64]) -> float:
    """Return how bright the middle of the head is."""
    middle = _ball(image.shape, centre, 30 / COARSE_MM) & head
    return float(np.median(image[middle])) if middle.any() else _levels(image)[1]


def _holes_filled(mask: Mask) -> Mask:
    """Return a mask with its holes, in one pass however maze-like it is (scipy's own takes a maze step by step)."""
    labels, _ = ndimage.label(~mask)
    rim = np.unique(np.concatenate([labels.take(n, axis).ravel() for axis in range(3) for n in (0, -1)]))
    return np.asarray(mask | ~np.isin(labels, rim))


def _top(head: Mask) -> int:
    """Return the uppermost slice that shows 10 square centimetres of head."""
    large = np.flatnonzero(head.sum(axis=(1, 2)) * COARSE_MM**2 > 1000)
    return int(large[-1]) if large.size else head.shape[0] - 1


def _ball(shape: tuple[int, ...], centre: NDArray[np.float64], radius: float) -> Mask:
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return np.asarray((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 < radius**2)


def _tidied(mask: Mask, image: Image, dark: float) -> Mask:
    """Return a mask without bone and air at its rim, in one piece, its sulci closed."""
    rim = mask & ~ndimage.binary_erosion(mask, iterations=round(7 / COARSE_MM))
    kept = mask & ~(rim & (image < dark))
    kept = _largest(ndimage.binary_opening(kept))
    closed = ndimage.binary_closing(np.pad(kept, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    return _holes_filled(closed)


def _largest(mask: Mask) -> Mask:
    labels, n = ndimage.label(mask)
    if n == 0:
        return np.asarray(mask)
    return np.asarray(labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1)


def _wall(surface: Surface) -> float:
    """Return how dark the wall around the upper half is, on average."""
    return float(surface.walls[surface.directions[:, 0] > 0].mean())


def _size_objection(mask: Mask) -> str:
    """Return what speaks against the size and proportions of a mask on the upright grid."""
    if not mask.any():
        return "no brain was found"
    for name, (low, high), axis in zip(("high", "long", "wide"), EXTENT_MM, np.nonzero(mask), strict=True):
        extent = float(np.ptp(axis) + 1) * COARSE_MM
        if not low <= extent <= high:
            return f"what was found is {extent:.0f} mm {name}, a brain is {low:.0f} to {high:.0f} mm"
    return ""


def _objection(mask: Mask, surface: Surface, coarse: Grid, grid: Grid) -> str:
    """Return why a mask is no brain, or nothing."""
    volume_ml = mask.sum() * COARSE_MM**3 / 1000
    if mask.any() and not VOLUME_ML[0] <= volume_ml <= VOLUME_ML[1]:
        return f"what was found measures {volume_ml:.0f} mL, a brain {VOLUME_ML[0]:.0f} to {VOLUME_ML[1]:.0f} mL"
    if objection := _size_objection(mask):
        return objection
    if _wall(surface) < MIN_WALL:
        return "no skull was found around what might be a brain"
    if _cut(mask, coarse, grid) > MAX_CUT:
        return "the brain is cut off by the edge of the images"
    return _place_objection(mask, coarse.array)


def _place_objection(mask: Mask, image: Image) -> str:
    """Return what speaks against where a mask lies in the body: a head ends above its brain, close below the skin."""
    head, _, _ = _head(image)
    areas = head.sum(axis=(1, 2))
    top = int(np.flatnonzero(areas)[-1])
    if areas[max(0, top - 2)] > GOES_ON * areas.max():
        return "the body goes on above what might be a brain, as in a trunk or a limb"
    rim = mask & ~ndimage.binary_erosion(mask) & (np.arange(len(mask))[:, None, None] > np.nonzero(mask)[0].mean())
    depth_mm = float(np.median(ndimage.distance_transform_edt(head, sampling=COARSE_MM)[rim]))
    if not SKIN_MM[0] <= depth_mm <= SKIN_MM[1]:
        return f"what was found lies {depth_mm:.0f} mm below the skin, a brain {SKIN_MM[0]:.0f} to {SKIN_MM[1]:.0f} mm"
    return ""


def _cut(mask: Mask, coarse: Grid, grid: Grid) -> float:
    """Return the part of the mask's surface, above its lowest quarter, that lies on the edge of the field of view."""
    surface = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    low, high = surface[:, 0].min(), surface[:, 0].max()
    upper = surface[surface[:, 0] > low + 0.25 * (high - low)]
    index = grid.index_kji(coarse.world_mm(upper))
    margin = 1.5 * COARSE_MM / np.array(grid.spacing_mm)
    outside = (index < margin - 0.5) | (index > np.array(grid.shape_kji) - 0.5 - margin)
    return float(outside.any(axis=1).mean())
