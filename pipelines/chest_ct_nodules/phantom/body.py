"""One person to generate: measures, the grid, and shapes that several parts of the chest follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.fields import smooth_noise

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Body:
    """Measures of one person: radii, levels and densities."""

    half_width: float
    half_depth: float
    base: float
    apex: float
    wall: float
    fat: float
    contrast: float
    hilum: float

    @property
    def height(self) -> float:
        """Return the height of the lungs."""
        return self.apex - self.base


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Coordinates of a grid, ready to broadcast: z (k,1,1), y (1,j,1), x (1,1,i)."""

    shape: tuple[int, int, int]
    step: float
    z: Array
    y: Array
    x: Array

    def noise(self, rng: np.random.Generator, scale_mm: float) -> Array:
        """Return smooth noise on this grid that varies over about `scale_mm`."""
        return smooth_noise(rng, self.shape, scale_mm / self.step)


def grid_of(extent: tuple[float, float, float], step: float) -> Grid:
    """Return the grid of `step` that fills a box of `extent` (z, y, x), millimetres; x and y from the middle."""
    nz, ny, nx = (max(8, round(e / step)) for e in extent)
    z = (np.arange(nz, dtype=np.float32) * np.float32(step))[:, None, None]
    y = ((np.arange(ny, dtype=np.float32) - np.float32((ny - 1) / 2)) * np.float32(step))[None, :, None]
    x = ((np.arange(nx, dtype=np.float32) - np.float32((nx - 1) / 2)) * np.float32(step))[None, None, :]
    return Grid((nz, ny, nx), step, z, y, x)


def random_body(rng: np.random.Generator, extent: tuple[float, float, float]) -> Body:
    """Return a random person that fits a box of `extent` (z, y, x), millimetres."""
    ez, ey, ex = extent
    base = min(float(rng.uniform(8, 30)), 0.12 * ez)
    height = min(float(rng.uniform(215, 275)), ez - base - 4.0)
    wall = float(rng.uniform(16, 34)) * min(1.0, ex / 330)
    half_width = min(float(rng.uniform(122, 148)), 0.47 * ex - wall)
    half_depth = min(half_width * float(rng.uniform(0.66, 0.8)), 0.46 * ey - wall)
    return Body(
        half_width=half_width,
        half_depth=half_depth,
        base=base,
        apex=base + height,
        wall=wall,
        fat=wall * float(rng.uniform(0.25, 0.6)),
        contrast=float(rng.choice((0.0, rng.uniform(60, 260)))),
        hilum=base + height * float(rng.uniform(0.5, 0.58)),
    )


def profile(grid: Grid, body: Body) -> Array:
    """Return how wide the chest is at each level, 0 to 1."""
    t = np.clip((grid.z - body.base) / body.height, 0, 1)
    upper = np.sqrt(np.clip(1 - (np.maximum(t - 0.3, 0) / 0.71) ** 2.3, 0, 1))
    return np.asarray(upper * (1 - 0.06 * np.maximum(0.3 - t, 0)), dtype=np.float32)


def rib_phase(grid: Grid) -> Array:
    """Return the distance, along z, to the nearest rib's middle; ribs slope down to the front."""
    level = grid.z - 0.38 * grid.y + 0.0 * grid.x
    return np.asarray(np.abs((level / 25.0) % 1.0 - 0.5) * 25.0, dtype=np.float32)


def ellipsoid(grid: Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Return about the distance to an ellipsoid's surface, negative inside; (z, y, x), millimetres."""
    r = np.sqrt(sum((g - c) ** 2 / s**2 for g, c, s in zip((grid.z, grid.y, grid.x), centre, radii, strict=True)))
    return np.asarray((r - 1) * min(radii), dtype=np.float32)
