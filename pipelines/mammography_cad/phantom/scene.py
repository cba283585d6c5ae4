"""One view before it is drawn: everything in it, in mm, and how to draw any window of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.mammography_cad.phantom import calcifications, lesions
from pipelines.mammography_cad.phantom.calcifications import Cluster, Grains
from pipelines.mammography_cad.phantom.detector import MU_FAT, MU_GLAND_MORE, Detector, Look, raw, shown
from pipelines.mammography_cad.phantom.grids import Array, Grid, isotropic, resampled
from pipelines.mammography_cad.phantom.lesions import Mass
from pipelines.mammography_cad.phantom.markers import Marker, cover
from pipelines.mammography_cad.phantom.outline import Outline
from pipelines.mammography_cad.phantom.tissue import Parenchyma, dense_tissue

_TISSUE_STEP_MM = 0.2
_SLOW_STEP_MM = 1.0
_MARGIN_MM = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A view: `name` as "L CC"; the breast, its tissue, what was put in, and how it is taken."""

    name: str
    seed: int
    field_mm: tuple[float, float]
    outline: Outline
    tissue: Parenchyma
    lesions: tuple[Mass | Cluster, ...]
    harmless: tuple[Mass, ...]
    spots: tuple[Grains, ...]
    detector: Detector
    look: Look
    marker: Marker | None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What windows of a scene share: the slow part of the image, on a coarse grid, and the grey scale's ends."""

    grid: Grid
    slow: Array
    scale: tuple[float, float]


@lru_cache(maxsize=32)
def frame(scene: Scene) -> Frame:
    """Return what windows of the scene share."""
    shape = tuple(int(np.ceil(f / _SLOW_STEP_MM)) + 1 for f in scene.field_mm)
    grid = Grid(_SLOW_STEP_MM, 0.0, 0.0, (shape[0], shape[1]))
    dense, thickness = _tissue(scene, grid)
    left = MU_FAT * (1 - scene.look.flatten) * thickness + MU_GLAND_MORE * dense
    breast = thickness > 0.9 * scene.outline.body.thickness_mm
    inner = left[breast] if breast.any() else left[thickness > 0]
    low, high = float(np.percentile(inner, 5)), float(np.percentile(inner, 99.5))
    slow = _slow(left, thickness > 0)
    return Frame(grid, slow, (low, max(high, low + 6 * MU_GLAND_MORE)))


def _slow(left: Array, breast: NDArray[np.bool_]) -> Array:
    """Return the local mean over some mm within the breast."""
    weight = ndimage.gaussian_filter(breast.astype(np.float32), 5.0)
    return np.asarray(ndimage.gaussian_filter(left * breast, 5.0) / np.maximum(weight, 0.05), dtype=np.float32)


def _tissue(scene: Scene, grid: Grid) -> tuple[Array, Array]:
    """Return mm of gland with masses, and the thickness, over the grid."""
    inside = scene.outline.inside(grid)
    thickness = scene.outline.thickness(inside)
    dense = np.zeros(grid.shape, dtype=np.float32)
    box = _breast_box(thickness)
    if box is None:
        return dense, thickness
    dense[box] = dense_tissue(scene.seed, scene.outline, scene.tissue, grid.part(box), inside[box], thickness[box])
    for item in (*scene.harmless, *scene.lesions):
        if isinstance(item, Mass):
            lesions.add(dense, grid, item, scene.outline.body.thickness_mm)
    return np.where(thickness > 0, dense, 0).astype(np.float32), thickness


def _breast_box(thickness: Array) -> tuple[slice, slice] | None:
    """Return the smallest part of the grid that holds all of the breast on it."""
    rows, columns = (np.flatnonzero((thickness > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def render(scene: Scene, grid: Grid, shared: Frame, *, for_processing: bool) -> Array:
    """Return the window `grid` of the scene: raw detector values, or the image for reading, 0..1."""
    dense, thickness = _fine(scene, grid)
    for item in scene.lesions:
        if isinstance(item, Cluster):
            calcifications.draw(dense, grid, calcifications.grains(item))
    for spots in scene.spots:
        calcifications.draw(dense, grid, spots)
    rng = np.random.default_rng([scene.seed, 91, int(grid.v_mm * 100) + 10**6, int(grid.u_mm * 100) + 10**6])
    values = raw(rng, dense, thickness, scene.detector, grid.step_mm)
    lead = cover(scene.marker, grid) if scene.marker else None
    if for_processing:
        return values if lead is None else values * (1 - np.float32(0.95) * lead)
    slow = resampled(shared.slow, shared.grid, grid)
    image = shown(values, scene.detector, scene.look, MU_FAT * thickness, slow, shared.scale)
    image = np.where(thickness > 0, image, scene.look.air).astype(np.float32)
    return image if lead is None else np.maximum(image, lead)


def _fine(scene: Scene, grid: Grid) -> tuple[Array, Array]:
    """Return tissue and thickness over the grid, drawn on a grid no finer than need be and stretched."""
    if grid.step_mm >= _TISSUE_STEP_MM:
        dense, thickness = _tissue(scene, grid)
        return dense, thickness
    size = tuple(int(np.ceil(n * grid.step_mm / _TISSUE_STEP_MM)) + 3 for n in grid.shape)
    coarse = Grid(_TISSUE_STEP_MM, grid.v_mm - _TISSUE_STEP_MM, grid.u_mm - _TISSUE_STEP_MM, (size[0], size[1]))
    dense, _ = _tissue(scene, coarse)
    thickness = scene.outline.thickness(resampled(scene.outline.inside(coarse), coarse, grid))
    fine = resampled(dense, coarse, grid)
    fine += 0.25 * isotropic(np.random.default_rng([scene.seed, 63]), grid, 2.4, 0.5) * np.minimum(1, thickness / 20)
    return np.where(thickness > 0, np.clip(fine, 0, None), 0).astype(np.float32), thickness


def at(item: Mass | Cluster, place: tuple[float, float], axis: float, seed: int) -> Mass | Cluster:
    """Return a lesion put at a place (v, u), with a contour of its own in this view."""
    if isinstance(item, Cluster):
        return replace(item, at=place, axis=axis, seed=seed)
    return replace(item, at=place, seed=seed)
