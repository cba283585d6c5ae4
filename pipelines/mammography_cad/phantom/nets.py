"""Nets of walls around fat lobules: what gives a breast its web of branching strands."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from pipelines.mammography_cad.phantom.grids import TILE, Array, power_tile

CELL = 48
"""Mean distance of cells' middles in a tile, points."""
_NETS = 3
_HALF = TILE // 2


@lru_cache(maxsize=_NETS)
def walls_tile(index: int) -> tuple[Array, Array]:
    """Return (walls, shade), periodic, [TILE, TILE]: a net of walls between cells, and how near a wall is.

    Walls branch, are thin and of uneven strength, about 1 at a usual one and 0 within the cells; shade is of mean 0
    and deviation 1, high towards walls and low within cells.
    """
    rng = np.random.default_rng([index % _NETS, 54])
    middles = _middles(rng)
    gap, strength = _nearest_wall(middles, rng, index)
    wide = np.asarray(strength * (0.6 * np.exp(-((gap / 1.7) ** 2)) + 0.4 * np.exp(-gap / 5)), dtype=np.float32)
    shade = ndimage.gaussian_filter(np.exp(-gap / 7), 3, mode="wrap")
    return ndimage.gaussian_filter(wide, 1.4, mode="wrap"), _standard(shade)


def net(index: int) -> Array:
    """Return the walls of a tile."""
    return walls_tile(index % _NETS)[0]


def lobules(index: int) -> Array:
    """Return the shade of a tile: fat lobules are its low places."""
    return walls_tile(index % _NETS)[1]


def _middles(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the cells' middles, points of the half-size tile, crowded in some places."""
    n = (TILE // CELL) ** 2
    crowd = power_tile(int(rng.integers(6)), 3.2)
    places = rng.uniform(0, TILE, (6 * n, 2))
    value = crowd[places[:, 0].astype(int), places[:, 1].astype(int)] + rng.normal(0, 1.5, 6 * n)
    return np.asarray(places[np.argsort(-value)[:n]] / 2)


def _nearest_wall(middles: NDArray[np.float64], rng: np.random.Generator, index: int) -> tuple[Array, Array]:
    """Return the distance in points to the nearest wall and that wall's strength, [TILE, TILE]."""
    axis = np.arange(_HALF, dtype=np.float64)
    bend = [7 * ndimage.gaussian_filter(power_tile((index + k) % 6, 3.2)[::2, ::2], 6, mode="wrap") for k in (1, 2)]
    where = np.stack([axis[:, None] + bend[0], axis[None, :] + bend[1]], axis=-1).reshape(-1, 2) % _HALF
    far, which = cKDTree(middles, boxsize=_HALF).query(where, k=2)
    between = middles[which[:, 0]] - middles[which[:, 1]]
    between -= _HALF * np.rint(between / _HALF)
    gap = (far[:, 1] ** 2 - far[:, 0] ** 2) / (2 * np.maximum(np.hypot(between[:, 0], between[:, 1]), 1))
    pair = np.sort(which, axis=1).astype(np.int64)
    odds = rng.lognormal(-0.1, 0.5, 4096)
    strength = odds[(pair[:, 0] * 7919 + pair[:, 1] * 104729) % 4096]
    return _double(2 * gap), _double(np.minimum(strength, 2.8))


def _double(values: NDArray[np.float64]) -> Array:
    """Return a half-size field at full size."""
    half = values.reshape(_HALF, _HALF).astype(np.float32)
    wrapped = np.pad(half, ((0, 1), (0, 1)), mode="wrap")
    rows = np.stack([wrapped[:-1], (wrapped[:-1] + wrapped[1:]) / 2], axis=1).reshape(TILE, _HALF + 1)
    both = np.stack([rows[:, :-1], (rows[:, :-1] + rows[:, 1:]) / 2], axis=2)
    return np.ascontiguousarray(both.reshape(TILE, TILE))


def _standard(field: Array) -> Array:
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)
