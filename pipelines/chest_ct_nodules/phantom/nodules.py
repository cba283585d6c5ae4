"""Generated lung nodules: shapes and densities drawn first, then rendered on any grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

KINDS = ("solid", "part-solid", "ground glass", "calcified")
KIND_SHARES = (0.52, 0.16, 0.18, 0.14)
ATTACHMENTS = ("isolated", "vessel", "wall")
ATTACHMENT_SHARES = (0.4, 0.25, 0.35)


@dataclass(frozen=True, slots=True, eq=False)
class NoduleShape:
    """One nodule before it is placed.

    Attributes
    ----------
    diameter_mm : float
        Diameter of the ball of equal size; spicules come on top.
    kind, margin : str
        One of KINDS; smooth, lobulated or spiculated.
    axes : float (3, 3)
        Rows are the unit axes (z, y, x) divided by their relative lengths.
    lobes : float (m, 4)
        Direction (z, y, x) and height, as a share of the radius, of each bump.
    spicules : float (s, 4)
        Direction (z, y, x) and length beyond the surface, millimetres.
    hu, core_hu : float
        Density of the whole, and of the core where there is one.
    core : float (4,)
        Centre (z, y, x) and radius of the core, as shares of the radius; radius 0: none.
    softness_mm : float
        Width of the margin over which the density falls.
    """

    diameter_mm: float
    kind: str
    margin: str
    axes: NDArray[np.float64]
    lobes: NDArray[np.float64]
    spicules: NDArray[np.float64]
    hu: float
    core_hu: float
    core: NDArray[np.float64]
    softness_mm: float

    @property
    def reach_mm(self) -> float:
        """Return a radius beyond which nothing of the nodule lies."""
        bumps = 1.0 + float(np.abs(self.lobes[:, 3]).sum()) if len(self.lobes) else 1.0
        spikes = float(self.spicules[:, 3].max()) if len(self.spicules) else 0.0
        return self.diameter_mm / 2 * min(bumps, 1.5) * 1.25 + spikes + 2.0


def random_diameter(rng: np.random.Generator, low_mm: float = 3.0, high_mm: float = 30.0) -> float:
    """Return a diameter, 60 % of them 4-10 mm."""
    bands, shares = ((3.0, 4.0), (4.0, 10.0), (10.0, 20.0), (20.0, 30.0)), (0.07, 0.60, 0.21, 0.12)
    while True:
        band = bands[rng.choice(4, p=shares)]
        diameter = float(rng.uniform(*band))
        if low_mm <= diameter <= high_mm:
            return diameter


def random_shape(rng: np.random.Generator, diameter_mm: float, kind: str | None = None) -> NoduleShape:
    """Return a nodule of `diameter_mm`; its kind drawn by KIND_SHARES where not given."""
    kind = kind or str(rng.choice(KINDS, p=KIND_SHARES))
    if kind == "part-solid" and diameter_mm < 6:
        kind = "solid"
    margin = str(rng.choice(("smooth", "lobulated", "spiculated"), p=(0.4, 0.35, 0.25)))
    if margin == "spiculated" and (diameter_mm < 7 or kind == "calcified"):
        margin = "smooth"
    hu, core_hu, core = _densities(rng, kind)
    return NoduleShape(
        diameter_mm=diameter_mm,
        kind=kind,
        margin=margin,
        axes=_axes(rng),
        lobes=_lobes(rng, 0.38 if margin == "lobulated" else 0.14),
        spicules=_spicules(rng, diameter_mm) if margin == "spiculated" else np.zeros((0, 4)),
        hu=hu,
        core_hu=core_hu,
        core=core,
        softness_mm=float(rng.uniform(1.2, 3.0) if "ground" in kind or "part" in kind else rng.uniform(0.8, 1.3)),
    )


def _densities(rng: np.random.Generator, kind: str) -> tuple[float, float, NDArray[np.float64]]:
    """Return the density of the nodule, that of its core, and the core's place and size."""
    core = np.append(rng.uniform(-0.3, 0.3, 3), rng.uniform(0.3, 0.65))
    none = np.zeros(4)
    if kind == "solid":
        return float(rng.uniform(-60, 90)), 0.0, none
    if kind == "ground glass":
        return float(rng.uniform(-680, -400)), 0.0, none
    if kind == "part-solid":
        return float(rng.uniform(-650, -420)), float(rng.uniform(-80, 60)), core
    if rng.random() < 0.5:
        return float(rng.uniform(250, 900)), 0.0, none
    core[:3] *= 0.3
    return float(rng.uniform(0, 90)), float(rng.uniform(400, 1000)), core


def _axes(rng: np.random.Generator) -> NDArray[np.float64]:
    turned = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    lengths = np.exp(rng.normal(0.0, 0.17, 3)).clip(0.7, 1.4)
    lengths /= np.prod(lengths) ** (1 / 3)
    return np.asarray(turned / lengths[:, None])


def _directions(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    ways = rng.standard_normal((n, 3))
    return np.asarray(ways / np.linalg.norm(ways, axis=1, keepdims=True))


def _lobes(rng: np.random.Generator, height: float) -> NDArray[np.float64]:
    n = int(rng.integers(3, 7))
    return np.column_stack([_directions(rng, n), rng.uniform(-height, height, n)])


def _spicules(rng: np.random.Generator, diameter_mm: float) -> NDArray[np.float64]:
    n = int(rng.integers(6, 16))
    return np.column_stack([_directions(rng, n), rng.uniform(0.15, 0.5, n) * min(diameter_mm, 16.0)])


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A nodule on a grid: `share` (0 to 1) of each voxel it fills, its density there, its mask, the crop's place."""

    share: Array
    hu: Array
    mask: NDArray[np.bool_]
    box: tuple[slice, slice, slice]


def render(
    shape: NoduleShape,
    centre_kji: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    grid_kji: tuple[int, int, int],
) -> Rendered:
    """Return `shape` on a grid of `grid_kji` voxels with its middle at `centre_kji` (index)."""
    box = _box(shape.reach_mm, centre_kji, spacing_mm, grid_kji)
    z, y, x = (
        ((np.arange(b.start, b.stop) - c) * s).astype(np.float32)
        for b, c, s in zip(box, centre_kji, spacing_mm, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    depth = _depth(shape, z, y, x)
    share = np.clip(depth / np.float32(shape.softness_mm) + np.float32(0.5), 0, 1)
    hu = np.full(share.shape, shape.hu, dtype=np.float32)
    if shape.core[3] > 0:
        middle, radius = shape.core[:3] * shape.diameter_mm / 2, shape.core[3] * shape.diameter_mm / 2
        gap = radius - np.sqrt((z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2)
        hu += np.clip(gap + 0.5, 0, 1).astype(np.float32) * np.float32(shape.core_hu - shape.hu)
    mask = depth > 0
    if len(shape.spicules):
        share = np.maximum(share, _spikes(shape, z, y, x))
    return Rendered(share.astype(np.float32), hu, mask, box)


def _box(
    reach_mm: float, centre: tuple[float, float, float], spacing: tuple[float, float, float], grid: tuple[int, int, int]
) -> tuple[slice, slice, slice]:
    low = [min(max(int(np.floor(c - reach_mm / s)), 0), n - 1) for c, s, n in zip(centre, spacing, grid, strict=True)]
    high = [max(min(int(np.ceil(c + reach_mm / s)) + 1, n), 1) for c, s, n in zip(centre, spacing, grid, strict=True)]
    k, j, i = (slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _depth(shape: NoduleShape, z: Array, y: Array, x: Array) -> Array:
    """Return how deep below the nodule's surface each point lies, millimetres, spicules left out."""
    axes = shape.axes.astype(np.float32)
    p, q, r = (row[0] * z + row[1] * y + row[2] * x for row in axes)
    distance = np.sqrt(p * p + q * q + r * r) + np.float32(1e-3)
    surface = np.ones_like(distance)
    for dz, dy, dx, height in shape.lobes.astype(np.float32):
        cosine = (p * dz + q * dy + r * dx) / distance
        surface += height * np.maximum(cosine, 0) ** 3
    return np.asarray(shape.diameter_mm / 2 * surface - distance, dtype=np.float32)


def _spikes(shape: NoduleShape, z: Array, y: Array, x: Array) -> Array:
    """Return the share of each voxel that the spicules fill; they taper to nothing."""
    radius = shape.diameter_mm / 2
    filled = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), dtype=np.float32)
    for dz, dy, dx, length in shape.spicules.astype(np.float32):
        along = z * dz + y * dy + x * dx
        gap = np.sqrt(np.maximum(z * z + y * y + x * x - along * along, 0))
        width = 1.1 * np.clip((radius + length - along) / (length + 0.3 * radius), 0, 1)
        np.maximum(filled, np.clip(width + 0.3 - gap, 0, 1) * (along > 0) * (width > 0), out=filled)
    return filled


def add(volume: Array, nodule: Rendered) -> None:
    """Set a rendered nodule into `volume` (float32 [k, j, i], HU): it can only make a voxel denser."""
    box = volume[nodule.box]
    box += nodule.share * np.maximum(nodule.hu - box, 0)
