"""Grids over a view and the random fields sampled on them.

Everything in a generated breast is a function of a place in mm, so that any window at any pixel size can be drawn by
itself and agrees with the whole. A place is (v, u): v down the image from its top edge, u away from the chest wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
TILE = 1024
"""Points of a tile along each axis."""
TILE_STEP_MM = 0.2
_TILES = 6


@dataclass(frozen=True, slots=True)
class Grid:
    """Points of a window: point (j, i) lies at v = v_mm + j step_mm, u = u_mm + i step_mm."""

    step_mm: float
    v_mm: float
    u_mm: float
    shape: tuple[int, int]

    @property
    def v(self) -> Array:
        """Return v of every row, [j, 1]."""
        return (self.v_mm + self.step_mm * np.arange(self.shape[0], dtype=np.float32))[:, None]

    @property
    def u(self) -> Array:
        """Return u of every column, [1, i]."""
        return (self.u_mm + self.step_mm * np.arange(self.shape[1], dtype=np.float32))[None, :]

    def around(self, at: tuple[float, float], reach_mm: float) -> tuple[slice, slice] | None:
        """Return the part within `reach_mm` of the place `at` (v, u), or None where that lies outside."""
        spans = []
        for n, origin, middle in zip(self.shape, (self.v_mm, self.u_mm), at, strict=True):
            low = max(0, int(np.floor((middle - reach_mm - origin) / self.step_mm)))
            high = min(n, int(np.ceil((middle + reach_mm - origin) / self.step_mm)) + 1)
            if low >= high:
                return None
            spans.append(slice(low, high))
        return spans[0], spans[1]

    def part(self, box: tuple[slice, slice]) -> Grid:
        """Return the grid of a part of this one."""
        j, i = box[0].start, box[1].start
        shape = (box[0].stop - j, box[1].stop - i)
        return Grid(self.step_mm, self.v_mm + j * self.step_mm, self.u_mm + i * self.step_mm, shape)


@lru_cache(maxsize=48)
def power_tile(index: int, beta: float) -> Array:
    """Return a periodic Gaussian field of power spectrum 1/f^beta, mean 0 and deviation 1, [TILE, TILE]."""
    f = _frequencies()
    f[0, 0] = 1
    amplitude = np.maximum(f, 4 / TILE) ** (-beta / 2)
    amplitude[0, 0] = 0
    return _field(np.random.default_rng([index % _TILES, 51]), amplitude)


@lru_cache(maxsize=32)
def band_tile(index: int) -> Array:
    """Return a periodic Gaussian field whose waves are all about 32 points long, mean 0 and deviation 1."""
    octaves = np.log2(np.maximum(_frequencies(), 1e-6) * 32)
    return _field(np.random.default_rng([index % _TILES, 52]), np.exp(-0.5 * (octaves / 0.45) ** 2))


def _frequencies() -> NDArray[np.float64]:
    return np.asarray(np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :]))


def _field(rng: np.random.Generator, amplitude: NDArray[np.float64]) -> Array:
    white = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    field = np.fft.irfft2(white * amplitude, s=(TILE, TILE))
    return np.asarray(field / field.std(), dtype=np.float32)


def sampled(tile: Array, rng: np.random.Generator, a: Array, b: Array, points_per_unit: float) -> Array:
    """Return the tile at coordinates (a, b), from a random offset that `rng` draws; the tile repeats for ever."""
    shift = rng.uniform(0, TILE, 2)
    where = np.stack(np.broadcast_arrays(a * points_per_unit + shift[0], b * points_per_unit + shift[1]))
    wrapped = np.mod(where.astype(np.float32), np.float32(TILE))
    out = ndimage.map_coordinates(tile, wrapped, order=1, mode="grid-wrap", output=np.float32)
    return np.asarray(out, dtype=np.float32)


def turned(rng: np.random.Generator, grid: Grid) -> tuple[Array, Array]:
    """Return the grid's coordinates in mm along two axes turned by a random angle."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * grid.v + s * grid.u, c * grid.u - s * grid.v


def isotropic(rng: np.random.Generator, grid: Grid, beta: float, scale: float = 1.0) -> Array:
    """Return a 1/f^beta field over the grid, deviation about 1; `scale` above 1 stretches it."""
    tile = power_tile(int(rng.integers(_TILES)), beta)
    return sampled(tile, rng, *turned(rng, grid), 1 / (TILE_STEP_MM * scale))


def resampled(array: Array, source: Grid, target: Grid) -> Array:
    """Return `array`, given on `source`, at the points of `target`, by linear interpolation along each axis."""
    rows = _along(array, source.v_mm, source.step_mm, target.v[:, 0])
    return _along(rows.T, source.u_mm, source.step_mm, target.u[0]).T


def _along(array: Array, origin: float, step: float, at: Array) -> Array:
    where = np.clip((at - origin) / step, 0, array.shape[0] - 1)
    low = np.minimum(where.astype(np.intp), max(0, array.shape[0] - 2))
    high = np.minimum(low + 1, array.shape[0] - 1)
    weight = (where - low).astype(np.float32)[:, None]
    return np.asarray(array[low] * (1 - weight) + array[high] * weight, dtype=np.float32)
