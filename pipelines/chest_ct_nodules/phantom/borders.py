"""Where lung ends: chest wall, domes of the diaphragm, mediastinum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.body import Body, Grid, ellipsoid, profile, rib_phase
from pipelines.chest_ct_nodules.phantom.fields import smooth_noise

Array = NDArray[np.float32]
Line = list[tuple[float, float, float]]


def wall_depth(rng: np.random.Generator, grid: Grid, body: Body) -> Array:
    """Return the depth below the chest wall's inner face; negative in the wall."""
    f = profile(grid, body)
    a, b = body.half_width * f + 1.0, body.half_depth * (0.25 + 0.75 * f) + 1.0
    ratio = ((np.abs(grid.x) / a) ** 2.4 + (np.abs(grid.y) / b) ** 2.4) ** np.float32(1 / 2.4)
    depth = (1 - ratio) * np.minimum(a, b) * np.float32(1.1)
    depth += rng.uniform(0.5, 1.5) * grid.noise(rng, 35) + rng.uniform(0.2, 0.6) * grid.noise(rng, 9)
    depth -= np.float32(rng.uniform(0.5, 2.5)) * np.exp(-((rib_phase(grid) / 6) ** 2))
    apical = np.clip((grid.z - body.apex + 0.12 * body.height) / (0.12 * body.height), 0, 1)
    depth -= apical * np.maximum(grid.noise(rng, 14), 0) * np.float32(rng.uniform(0, 3))
    spine_y = body.half_depth * 0.84
    spine = np.sqrt(grid.x**2 + (grid.y - spine_y) ** 2) - rng.uniform(19, 24)
    spur = np.float32(rng.uniform(0, 3)) * np.maximum(np.cos(grid.z * np.float32(2 * np.pi / 27)), 0) ** 4
    return np.asarray(np.minimum(depth, spine - spur), dtype=np.float32)


def dome_height(rng: np.random.Generator, grid: Grid, body: Body) -> Array:
    """Return the height of the diaphragm over each (j, i), with lumps and low recesses at the rim, shape (1, j, i)."""
    y, x = grid.y[0], grid.x[0]
    height = np.full(grid.shape[1:], -1e3, dtype=np.float32)
    for side in (-1.0, 1.0):
        top = body.base + body.height * (rng.uniform(0.2, 0.3) + (0.04 if side < 0 else 0.0))
        rx, ry = body.half_width * rng.uniform(0.42, 0.52), body.half_depth * rng.uniform(0.75, 0.95)
        away = ((x - side * body.half_width * 0.52) / rx) ** 2 + ((y + 0.12 * body.half_depth) / ry) ** 2
        height = np.maximum(height, top - rng.uniform(0.14, 0.22) * body.height * away**0.9)
    lumps = rng.uniform(1, 5) * smooth_noise(rng, grid.shape[1:], 30 / grid.step)
    lumps += rng.uniform(0.5, 2.5) * np.maximum(smooth_noise(rng, grid.shape[1:], 13 / grid.step), 0)
    return np.asarray(np.maximum(height, body.base) + lumps, dtype=np.float32)[None]


def mediastinum_distance(rng: np.random.Generator, grid: Grid, body: Body) -> Array:
    """Return the distance to the mediastinum's surface; negative inside it."""
    t = (grid.z - body.base) / body.height
    y0 = 0.1 * body.half_depth
    half = 9 + 17 * np.exp(-(((grid.y - y0) / 34) ** 2)) + 10 * np.clip(t - 0.72, 0, 0.3) / 0.3
    narrow = 9 * np.exp(-(((t - 0.62) / 0.1) ** 2)) * np.exp(-(((grid.y + 0.7 * body.half_depth) / 25) ** 2))
    scale = body.half_width / 135
    gap = np.abs(grid.x) - (half - narrow) * scale
    heart_y, heart_x = -rng.uniform(0.18, 0.32) * body.half_depth, rng.uniform(12, 26) * scale
    heart_z = body.base + body.height * rng.uniform(0.3, 0.36)
    heart = ellipsoid(
        grid, (heart_z, heart_y, heart_x), (body.height * 0.21, body.half_depth * 0.52, rng.uniform(48, 62) * scale)
    )
    pipes = np.full(grid.shape, 60.0, dtype=np.float32)
    for line, radius in _great_vessels(rng, body):
        _lower_to_tube(grid, pipes, line, radius)
    gap = _soft_min(np.minimum(gap, heart), pipes)
    return np.asarray(gap + 1.6 * grid.noise(rng, 28) + rng.uniform(0.3, 1.0) * grid.noise(rng, 10), dtype=np.float32)


def _soft_min(a: Array, b: Array) -> Array:
    """Return the smaller of two distances with the corner filled, as fat fills it."""
    blend = np.clip(0.5 + (b - a) / 16, 0, 1)
    return np.asarray(b + (a - b) * blend - 8 * blend * (1 - blend), dtype=np.float32)


def _great_vessels(rng: np.random.Generator, body: Body) -> list[tuple[Line, float]]:
    """Return the vessels that shape the mediastinum's border: (axis points as (z, y, x), radius)."""
    s, depth, hilum = body.half_width / 135, body.half_depth, body.hilum
    arch, back = body.base + body.height * rng.uniform(0.7, 0.76), depth * 0.5
    aorta = [(body.base, back + 4, 10 * s), (hilum, back, 20 * s), (arch - 12, back - 4, 20 * s)]
    aorta += [(arch, back - 22, 14 * s), (arch - 4, back - 48, -4 * s), (hilum, -0.28 * depth, -6 * s)]
    cava = [(body.apex, -0.1 * depth, -26 * s), (hilum - 10, -0.15 * depth, -25 * s)]
    spine_x = -rng.uniform(6, 11) * s
    arch_z = hilum + rng.uniform(16, 28)
    azygos = [(body.base, back + 14, spine_x), (arch_z - 8, back + 10, spine_x - 2)]
    azygos += [(arch_z, back - 4, -22 * s), (arch_z - 2, 0.05 * depth, -27 * s), (arch_z - 4, -0.1 * depth, -25 * s)]
    oesophagus = [(body.base, back - 10, 4.0), (hilum, back - 14, 2.0), (body.apex, back - 20, 2.0)]
    root_left = [(hilum + 6, -0.05 * depth, 8 * s), (hilum + 8, 0.1 * depth, 32 * s), (hilum - 4, 0.2 * depth, 40 * s)]
    root_right = [(hilum, -0.05 * depth, 4 * s), (hilum, 0.05 * depth, -34 * s), (hilum - 16, 0.12 * depth, -40 * s)]
    return [
        (aorta, rng.uniform(11, 16) * s),
        (cava, rng.uniform(7, 10) * s),
        (azygos, rng.uniform(3.5, 6.5) * s),
        (oesophagus, rng.uniform(6, 10) * s),
        (root_left, rng.uniform(9, 13) * s),
        (root_right, rng.uniform(9, 13) * s),
    ]


def _lower_to_tube(grid: Grid, gap: Array, line: Line, radius: float) -> None:
    """Lower `gap` to the distance to a thick tube's surface, near the tube."""
    for a, b in pairwise(line):
        start, axis = np.array(a, dtype=np.float32), np.array(b, dtype=np.float32) - np.array(a, dtype=np.float32)
        low, high = np.minimum(start, start + axis) - radius - 20, np.maximum(start, start + axis) + radius + 20
        box = tuple(
            slice(*np.searchsorted(g.ravel(), (lo, hi)))
            for g, lo, hi in zip((grid.z, grid.y, grid.x), low, high, strict=True)
        )
        z, y, x = grid.z[box[0]] - start[0], grid.y[:, box[1]] - start[1], grid.x[:, :, box[2]] - start[2]
        t = np.clip((z * axis[0] + y * axis[1] + x * axis[2]) / max(float(axis @ axis), 1e-6), 0, 1)
        near = np.sqrt((z - t * axis[0]) ** 2 + (y - t * axis[1]) ** 2 + (x - t * axis[2]) ** 2) - np.float32(radius)
        np.minimum(gap[box], near, out=gap[box])
