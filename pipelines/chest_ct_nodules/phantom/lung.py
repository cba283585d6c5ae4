"""What is in the lungs: air, fissures, vessels, bronchi, hila, scars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.body import Body, Grid
from pipelines.chest_ct_nodules.phantom.fields import smooth_noise
from pipelines.chest_ct_nodules.phantom.vessels import Tubes, draw, joined, path, tree

Array = NDArray[np.float32]


def add_lung(rng: np.random.Generator, grid: Grid, hu: Array, depth: Array) -> None:
    """Fill the lungs with aerated tissue: gradient, texture, fissures, emphysema, dependent density, scars."""
    air = np.full(grid.shape, rng.uniform(-890, -800), dtype=np.float32)
    air += np.float32(rng.uniform(0.1, 0.5)) * grid.y + rng.uniform(4, 16) * grid.noise(rng, 40)
    air += np.float32(rng.uniform(6, 22)) * grid.noise(rng, max(3.0, 2 * grid.step))
    if rng.random() < 0.4:
        spots = grid.noise(rng, rng.uniform(9, 22))
        air -= np.float32(rng.uniform(60, 130)) * np.clip(spots - rng.uniform(0.7, 1.3), 0, 1)
    if rng.random() < 0.6:
        low = np.clip((grid.y - rng.uniform(20, 50)) / 40, 0, 1) * np.clip(1 - depth / rng.uniform(3, 9), 0, 1)
        air += np.float32(rng.uniform(60, 330)) * low * np.clip(grid.noise(rng, 18) + 0.4, 0, 1.5)
    air += _fissures(rng, grid)
    share = np.clip(depth / grid.step + 0.5, 0, 1)
    hu += share * (np.maximum(air, -1000) - hu)


def _fissures(rng: np.random.Generator, grid: Grid) -> Array:
    """Return the density that the fissures add: thin curved sheets."""
    bend = 5 * smooth_noise(rng, grid.shape[1:], 50 / grid.step)[None]
    middle = float(grid.z[-1, 0, 0]) / 2
    total = np.zeros(grid.shape, dtype=np.float32)
    for side in (-1, 1):
        here = (grid.x * side > 0).astype(np.float32)
        sheet = (grid.z - middle + rng.uniform(-20, 20)) * 0.75 - grid.y * rng.uniform(0.55, 0.75) + bend
        total += here * np.float32(rng.uniform(60, 260)) * np.exp(-((sheet / max(0.7, 0.6 * grid.step)) ** 2))
    flat = grid.z - middle - rng.uniform(0, 25) + bend
    front = ((grid.x < 0) & (grid.y < 0)).astype(np.float32)
    total += front * np.float32(rng.uniform(0, 200)) * np.exp(-((flat / max(0.7, 0.6 * grid.step)) ** 2))
    return total


def add_vessels(rng: np.random.Generator, grid: Grid, body: Body, hu: Array, depth: Array) -> Array:
    """Draw arteries, veins, bronchi, hilar lumps and scars into `hu`; return the share filled by vessel."""
    vessels, walls, lumen = (np.zeros(grid.shape, dtype=np.float32) for _ in range(3))
    inside = np.argwhere(depth > 1.5)
    origin = np.array([0.0, float(grid.y[0, 0, 0]), float(grid.x[0, 0, 0])])
    for side in (-1, 1):
        own = inside[(origin[2] + inside[:, 2] * grid.step) * side > 0]
        if len(own) < 100:
            continue
        volume_l = len(own) * grid.step**3 / 1e6
        arteries, veins = _lung_trees(rng, body, own * grid.step + origin, side, volume_l)
        _draw_at(vessels, joined([arteries, veins, _lumps(rng, arteries)]), origin, grid.step)
        bronchi = arteries.thicker_than(max(0.9, 0.5 * grid.step))
        beside = np.array([0.3, 0.8, -0.5 * side]) * 1.55
        _draw_at(walls, bronchi.moved(beside, 0.75, 0.5), origin, grid.step)
        _draw_at(lumen, bronchi.moved(beside, 0.75, -0.1), origin, grid.step)
        _draw_at(walls, _scars(rng, own * grid.step + origin), origin, grid.step)
    trachea = _airway_trunk(rng, body)
    _draw_at(walls, trachea.moved(np.zeros(3), 1.0, 1.6), origin, grid.step)
    trunk = np.zeros(grid.shape, dtype=np.float32)
    _draw_at(trunk, trachea, origin, grid.step)
    blood = np.float32(rng.uniform(25, 60) + 0.8 * body.contrast)
    hu += walls * np.maximum(np.float32(-60) - hu, 0)
    hu += vessels * np.maximum(blood - hu, 0)
    hu += lumen * (np.float32(-980) - hu) * (vessels < 0.5)
    hu += trunk * (np.float32(-980) - hu)
    return vessels


def _draw_at(coverage: Array, tubes: Tubes, origin: NDArray[np.float64], step: float) -> None:
    draw(coverage, Tubes(tubes.start - origin, tubes.end - origin, tubes.radius), step)


def _lung_trees(
    rng: np.random.Generator, body: Body, points: NDArray[np.float64], side: int, volume_l: float
) -> tuple[Tubes, Tubes]:
    """Return the arteries and veins of one lung, from its hilum to leaves among `points` (n, 3), mm."""
    x = side * 36 * body.half_width / 135
    n = int(np.clip(rng.uniform(450, 800) * volume_l, 20, 2200))
    trees = []
    for root in ((body.hilum, 0.12 * body.half_depth, x), (body.hilum - 12, -0.05 * body.half_depth, 0.8 * x)):
        leaves = points[rng.choice(len(points), n)] + rng.uniform(-0.5, 0.5, (n, 3))
        trees.append(tree(rng, np.array(root), leaves, float(rng.uniform(0.36, 0.5))))
    return trees[0], trees[1]


def _lumps(rng: np.random.Generator, arteries: Tubes) -> Tubes:
    """Return the lymph nodes of one hilum: short thick tubes that lie against its large vessels.

    None floats free in the lung: that would be a nodule.
    """
    large = np.flatnonzero(arteries.radius > 0.7 * arteries.radius.max())
    chosen = rng.choice(large, int(rng.integers(2, 7)))
    radius = rng.uniform(2.5, 6.5, len(chosen))
    along = rng.uniform(0, 1, (len(chosen), 1))
    axis = arteries.start[chosen] * along + arteries.end[chosen] * (1 - along)
    way = rng.normal(0, 1, axis.shape)
    way *= ((arteries.radius[chosen] + 0.4 * radius) / np.linalg.norm(way, axis=1))[:, None]
    return Tubes(axis + way, axis + 0.3 * way, radius)


def _scars(rng: np.random.Generator, points: NDArray[np.float64]) -> Tubes:
    """Return a few thin straight bands, as old scars and small atelectases leave."""
    n = int(rng.integers(0, 6))
    start = points[rng.choice(len(points), n)].reshape(n, 3)
    way = rng.normal(0, 1, (n, 3)) * np.array([0.5, 1, 1])
    length = rng.uniform(10, 40, (n, 1))
    return Tubes(start, start + way / np.linalg.norm(way, axis=1, keepdims=True) * length, rng.uniform(0.4, 1.4, n))


def _airway_trunk(rng: np.random.Generator, body: Body) -> Tubes:
    """Return the trachea and both main bronchi."""
    s, carina = body.half_width / 135, body.hilum + 14
    top, fork = (body.apex + 20, 0.05 * body.half_depth, 0.0), (carina, 0.14 * body.half_depth, -3.0 * s)
    right = (body.hilum, 0.2 * body.half_depth, -38 * s)
    left = (body.hilum - 6, 0.22 * body.half_depth, 40 * s)
    radius = rng.uniform(7, 9.5) * s
    return joined([path([top, fork], radius), path([fork, right], radius * 0.75), path([fork, left], radius * 0.68)])
