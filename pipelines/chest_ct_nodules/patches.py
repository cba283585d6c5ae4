"""Training patches: backgrounds, generated or real, with generated nodules set in and the scanner's marks put on.

A patch depends on its seed alone, so worker processes may draw patches in any order and training stays repeatable.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom import nodules as nodule
from pipelines.chest_ct_nodules.phantom.fields import Array, along_slices, blurred_in_plane
from pipelines.chest_ct_nodules.phantom.placing import Sites, draw_site
from pipelines.chest_ct_nodules.phantom.scanner import (
    Scan,
    in_plane_matrix,
    linear_matrix,
    noise,
    random_scan,
    slice_matrix,
)

SEARCH_MM = -4.0
"""Voxels down to this depth (4 mm outside the closed lungs) are searched for nodules."""
AIR_HU = -1000


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A chest without (known) nodules, on 1 mm voxels.

    Attributes
    ----------
    hu : int16 [k, j, i]
        Clean for a phantom; as scanned for a real chest.
    depth_mm : int8 [k, j, i]
        Depth in the closed lungs, negative outside.
    sites : Sites
        Where nodules may go.
    scan : Scan or None
        A real chest's own slice distance and noise; None for a phantom, which gets random ones.
    ignored : list of (low, high) index triples
        Boxes round real lesions: never trained on.
    hard : float (n, 3)
        Places that fooled a detector (index), filled by mining.
    """

    hu: NDArray[np.int16]
    depth_mm: NDArray[np.int8]
    sites: Sites
    scan: Scan | None = None
    ignored: list[tuple[tuple[int, int, int], tuple[int, int, int]]] = field(default_factory=list)
    hard: list[tuple[float, float, float]] = field(default_factory=list)

    def is_ignored(self, place: NDArray[np.float64], reach: float = 0.0) -> bool:
        """Return whether a place lies in, or within `reach` voxels of, an ignored box."""
        return any(
            bool(np.all(place > np.array(low) - reach) and np.all(place < np.array(high) + reach))
            for low, high in self.ignored
        )


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One training example, all float32 or bool [k, j, i] of one shape.

    Attributes
    ----------
    hu : float32
        What the network sees, before scaling.
    heat : float32
        Gaussian of 1 at each nodule's centre, a quarter of its diameter wide.
    mask : bool
        Voxels of nodules.
    weight : bool
        Where the loss counts.
    """

    hu: Array
    heat: Array
    mask: NDArray[np.bool_]
    weight: NDArray[np.bool_]


Drawn = tuple[nodule.NoduleShape, NDArray[np.float64]]


def draw_nodule(rng: np.random.Generator, background: Background) -> Drawn | None:
    """Return a random nodule and its place in `background`, or None where it does not fit."""
    shape = nodule.random_shape(rng, nodule.random_diameter(rng))
    attachment = str(rng.choice(nodule.ATTACHMENTS, p=nodule.ATTACHMENT_SHARES))
    at = draw_site(rng, background.sites, attachment, shape.diameter_mm / 2, 1.0)
    if at is None or background.is_ignored(at, reach=shape.diameter_mm / 2):
        return None
    return shape, at


def draw_negative(rng: np.random.Generator, background: Background, hard_share: float = 0.75) -> NDArray[np.float64]:
    """Return a place without nodule: one that fooled a detector, or a random vessel or wall."""
    if background.hard and rng.random() < hard_share:
        return np.array(background.hard[rng.integers(len(background.hard))])
    sites = background.sites
    places = (sites.vessel, sites.wall, sites.free)[int(rng.choice(3, p=(0.45, 0.4, 0.15)))]
    if len(places) == 0:
        places = sites.wall
    return np.asarray(places[rng.integers(len(places))], dtype=np.float64)


def make_patch(
    rng: np.random.Generator,
    background: Background,
    middle: NDArray[np.float64],
    drawn: list[Drawn],
    size: int,
    step_mm: float = 1.0,
) -> Patch:
    """Return `size` voxels of `step_mm` round `middle` with the `drawn` nodules set in, turned at random."""
    hu, depth = (
        _crop(background.hu, middle, size, step_mm, AIR_HU),
        _crop(background.depth_mm, middle, size, step_mm, -30),
    )
    low = middle - (size - 1) / 2 * step_mm
    scan = background.scan or random_scan(rng)
    rendered = [
        (shape, nodule.render(shape, tuple((at - low) / step_mm), (step_mm,) * 3, (size,) * 3)) for shape, at in drawn
    ]
    heat, mask = _truth(rendered, depth, step_mm)
    image = _imaged(rng, background, hu, [r for _, r in rendered], scan, step_mm)
    weight = (depth > -10) & ~_ignored(background, low, size, step_mm)
    patch = Patch(image, heat, mask, weight)
    return _turned(rng, _cut(rng, patch))


def _crop(
    array: NDArray[np.int16] | NDArray[np.int8], middle: NDArray[np.float64], size: int, step: float, fill: int
) -> Array:
    """Return a cube of `size` voxels of `step` round `middle`, linear between voxels when step is not 1."""
    if step == 1.0:
        start = np.rint(middle - (size - 1) / 2).astype(int)
        return _cube(array, start, size, fill)
    reach = (size - 1) / 2 * step
    start = np.floor(middle - reach).astype(int)
    wide = int(np.ceil(2 * reach)) + 3
    cube = _cube(array, start, wide, fill)
    k, j, i = (linear_matrix(wide, m - reach - s + np.arange(size) * step) for m, s in zip(middle, start, strict=True))
    return along_slices(k, blurred_in_plane(cube, j, i))


def _cube(array: NDArray[np.int16] | NDArray[np.int8], start: NDArray[np.int_], size: int, fill: int) -> Array:
    cube = np.full((size,) * 3, fill, dtype=np.float32)
    low, high = np.maximum(start, 0), np.minimum(start + size, array.shape)
    if (high > low).all():
        to, (k, j, i) = low - start, (slice(a, b) for a, b in zip(low, high, strict=True))
        part = array[k, j, i]
        cube[to[0] : to[0] + part.shape[0], to[1] : to[1] + part.shape[1], to[2] : to[2] + part.shape[2]] = part
    return cube


def _truth(
    rendered: list[tuple[nodule.NoduleShape, nodule.Rendered]], depth: Array, step: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the heat map of centres and the mask of what the lungs' wall leaves visible."""
    heat, mask = np.zeros(depth.shape, dtype=np.float32), np.zeros(depth.shape, dtype=np.bool_)
    axis = np.arange(depth.shape[0], dtype=np.float32)
    for shape, drawn in rendered:
        seen = drawn.mask & (depth[drawn.box] > -0.5)
        if not seen.any():
            continue
        mask[drawn.box] |= seen
        c = np.argwhere(seen).mean(axis=0) + [b.start for b in drawn.box]
        sigma = float(np.clip(shape.diameter_mm / 4, 1.2, 5.0)) / step
        k, j, i = (np.exp(-0.5 * ((axis - m) / sigma) ** 2).astype(np.float32) for m in c)
        np.maximum(heat, k[:, None, None] * j[None, :, None] * i, out=heat)
    return heat, mask


def _imaged(
    rng: np.random.Generator,
    background: Background,
    hu: Array,
    rendered: list[nodule.Rendered],
    scan: Scan,
    step: float,
) -> Array:
    """Return what the scanner makes of the patch: a phantom is scanned whole, in a real chest only what was added."""
    size = hu.shape[0]
    with_nodules = hu.copy()
    for drawn in rendered:
        nodule.add(with_nodules, drawn)
    n = int(np.ceil(size * step / scan.spacing_mm)) + 2
    z = (rng.uniform(-1, 0) + np.arange(n, dtype=np.float64)) * scan.spacing_mm
    slices = slice_matrix(size, step, z, scan.thickness_mm)
    back = linear_matrix(len(z), (np.arange(size) * step - z[0]) / scan.spacing_mm)
    plane = in_plane_matrix(size, step, np.arange(size, dtype=np.float64), scan)
    grain = noise(rng, (len(z), size, size), step, scan)
    if background.scan is None:
        seen = blurred_in_plane(along_slices(slices, with_nodules), plane, plane) + grain
        return along_slices(back, seen)
    if not rendered:
        return hu
    share = np.zeros_like(hu)
    for drawn in rendered:
        np.maximum(share[drawn.box], drawn.share, out=share[drawn.box])
    added = blurred_in_plane(along_slices(slices, with_nodules - hu), plane, plane)
    return hu + along_slices(back, added + grain * along_slices(slices, share))


def _ignored(background: Background, low: NDArray[np.float64], size: int, step: float) -> NDArray[np.bool_]:
    """Return the voxels of the patch that lie in ignored boxes."""
    out = np.zeros((size,) * 3, dtype=np.bool_)
    for first, last in background.ignored:
        k, j, i = (
            slice(max(0, int((a - m) / step)), max(0, int((b - m) / step)))
            for a, b, m in zip(first, last, low, strict=True)
        )
        out[k, j, i] = True
    return out


def _cut(rng: np.random.Generator, patch: Patch) -> Patch:
    """Return the patch with, now and then, the slices beyond one missing, as at the end of a scan."""
    if rng.random() > 0.08:
        return patch
    n = len(patch.hu)
    end = int(rng.integers(n // 8, n // 3))
    gone = np.zeros(n, dtype=np.bool_)
    gone[:end] = True
    hu, weight = patch.hu.copy(), patch.weight.copy()
    hu[gone], weight[gone] = AIR_HU, False
    return Patch(hu, patch.heat, patch.mask, weight)


def _turned(rng: np.random.Generator, patch: Patch) -> Patch:
    """Return the patch mirrored and with rows and columns swapped at random, its densities shifted a little."""
    flips = [slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3)]
    swap = rng.random() < 0.5

    def turn(array: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = array[flips[0], flips[1], flips[2]]
        return np.ascontiguousarray(turned.swapaxes(1, 2) if swap else turned)

    hu = turn(patch.hu) * np.float32(rng.uniform(0.97, 1.03)) + np.float32(rng.normal(0, 12))  # type: ignore[operator]
    return Patch(hu.astype(np.float32), *(turn(a) for a in (patch.heat, patch.mask, patch.weight)))  # type: ignore[arg-type]
