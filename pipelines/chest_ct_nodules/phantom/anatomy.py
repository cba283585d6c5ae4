"""A generated chest without nodules or noise: the shapes that lungs, vessels and their neighbours have on CT.

All lengths are millimetres; z runs to the head, y to the back, x to the left. What fools nodule detectors on real
scans is put in on purpose: hila, azygos arch, heart border, lumpy domes, recesses, bowel gas, rib bulges, scars.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.fields import smooth_noise
from pipelines.chest_ct_nodules.phantom.vessels import Tubes, draw, joined, path, tree

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A chest on an isotropic grid.

    Attributes
    ----------
    hu : float32 [k, j, i]
        Density without noise or blur.
    depth_mm : float32 [k, j, i]
        How deep in a lung a voxel lies: about the distance to its wall, negative outside; vessels count as lung.
    vessels : float32 [k, j, i]
        Share of the voxel filled by vessel.
    spacing_mm : float
        Voxel size.
    """

    hu: Array
    depth_mm: Array
    vessels: Array
    spacing_mm: float


@dataclass(frozen=True, slots=True)
class _Body:
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
        return self.apex - self.base


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Coordinates of a grid, ready to broadcast: z (k,1,1), y (1,j,1), x (1,1,i)."""

    shape: tuple[int, int, int]
    step: float
    z: Array
    y: Array
    x: Array

    def noise(self, rng: np.random.Generator, scale_mm: float) -> Array:
        return smooth_noise(rng, self.shape, scale_mm / self.step)


def build_anatomy(
    rng: np.random.Generator, extent_mm: tuple[float, float, float], spacing_mm: float, *, tight: bool = False
) -> Anatomy:
    """Return a random chest that fits a box of `extent_mm` (z, y, x), on voxels of `spacing_mm`.

    With `tight` the grid holds the lungs and 12 mm around them only, which is what training looks at.
    """
    body = _person(rng, extent_mm)
    if tight:
        extent_mm = (body.apex + 8, 2 * body.half_depth + 24, 2 * body.half_width + 24)
    grid = _grid(extent_mm, spacing_mm)
    wall, dome = _wall_depth(rng, grid, body), _dome_height(rng, grid, body)
    middle = _mediastinum_distance(rng, grid, body)
    depth = np.minimum(np.minimum(wall, middle), (grid.z - dome) * np.float32(0.75))
    hu = _soft_tissue(rng, grid, body, wall, middle, dome)
    _add_lung(rng, grid, hu, depth)
    vessels = _add_vessels(rng, grid, body, hu, depth)
    return Anatomy(hu, depth, vessels, spacing_mm)


def _grid(extent: tuple[float, float, float], step: float) -> _Grid:
    nz, ny, nx = (max(8, round(e / step)) for e in extent)
    z = (np.arange(nz, dtype=np.float32) * np.float32(step))[:, None, None]
    y = ((np.arange(ny, dtype=np.float32) - np.float32((ny - 1) / 2)) * np.float32(step))[None, :, None]
    x = ((np.arange(nx, dtype=np.float32) - np.float32((nx - 1) / 2)) * np.float32(step))[None, None, :]
    return _Grid((nz, ny, nx), step, z, y, x)


def _person(rng: np.random.Generator, extent: tuple[float, float, float]) -> _Body:
    ez, ey, ex = extent
    base = min(float(rng.uniform(8, 30)), 0.12 * ez)
    height = min(float(rng.uniform(215, 275)), ez - base - 4.0)
    wall = float(rng.uniform(16, 34)) * min(1.0, ex / 330)
    half_width = min(float(rng.uniform(122, 148)), 0.47 * ex - wall)
    half_depth = min(half_width * float(rng.uniform(0.66, 0.8)), 0.46 * ey - wall)
    return _Body(
        half_width=half_width,
        half_depth=half_depth,
        base=base,
        apex=base + height,
        wall=wall,
        fat=wall * float(rng.uniform(0.25, 0.6)),
        contrast=float(rng.choice((0.0, rng.uniform(60, 260)))),
        hilum=base + height * float(rng.uniform(0.5, 0.58)),
    )


def _profile(grid: _Grid, body: _Body) -> Array:
    """Return how wide the chest is at each level, 0 to 1."""
    t = np.clip((grid.z - body.base) / body.height, 0, 1)
    upper = np.sqrt(np.clip(1 - (np.maximum(t - 0.3, 0) / 0.71) ** 2.3, 0, 1))
    return np.asarray(upper * (1 - 0.06 * np.maximum(0.3 - t, 0)), dtype=np.float32)


def _rib_phase(grid: _Grid) -> Array:
    """Return the distance, along z, to the nearest rib's middle; ribs slope down to the front."""
    level = grid.z - 0.38 * grid.y + 0.0 * grid.x
    return np.asarray(np.abs((level / 25.0) % 1.0 - 0.5) * 25.0, dtype=np.float32)


def _wall_depth(rng: np.random.Generator, grid: _Grid, body: _Body) -> Array:
    """Return the depth below the chest wall's inner face; negative in the wall."""
    f = _profile(grid, body)
    a, b = body.half_width * f + 1.0, body.half_depth * (0.25 + 0.75 * f) + 1.0
    ratio = ((np.abs(grid.x) / a) ** 2.4 + (np.abs(grid.y) / b) ** 2.4) ** np.float32(1 / 2.4)
    depth = (1 - ratio) * np.minimum(a, b) * np.float32(1.1)
    depth += rng.uniform(0.5, 1.5) * grid.noise(rng, 35) + rng.uniform(0.2, 0.6) * grid.noise(rng, 9)
    depth -= np.float32(rng.uniform(0.5, 2.5)) * np.exp(-((_rib_phase(grid) / 6) ** 2))
    apical = np.clip((grid.z - body.apex + 0.12 * body.height) / (0.12 * body.height), 0, 1)
    depth -= apical * np.maximum(grid.noise(rng, 14), 0) * np.float32(rng.uniform(0, 3))
    spine_y = body.half_depth * 0.84
    spine = np.sqrt(grid.x**2 + (grid.y - spine_y) ** 2) - rng.uniform(19, 24)
    spur = np.float32(rng.uniform(0, 3)) * np.maximum(np.cos(grid.z * np.float32(2 * np.pi / 27)), 0) ** 4
    return np.asarray(np.minimum(depth, spine - spur), dtype=np.float32)


def _dome_height(rng: np.random.Generator, grid: _Grid, body: _Body) -> Array:
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


def _mediastinum_distance(rng: np.random.Generator, grid: _Grid, body: _Body) -> Array:
    """Return the distance to the mediastinum's surface; negative inside it."""
    t = (grid.z - body.base) / body.height
    y0 = 0.1 * body.half_depth
    half = 9 + 17 * np.exp(-(((grid.y - y0) / 34) ** 2)) + 10 * np.clip(t - 0.72, 0, 0.3) / 0.3
    narrow = 9 * np.exp(-(((t - 0.62) / 0.1) ** 2)) * np.exp(-(((grid.y + 0.7 * body.half_depth) / 25) ** 2))
    scale = body.half_width / 135
    gap = np.abs(grid.x) - (half - narrow) * scale
    heart_y, heart_x = -rng.uniform(0.18, 0.32) * body.half_depth, rng.uniform(12, 26) * scale
    heart_z = body.base + body.height * rng.uniform(0.3, 0.36)
    heart = _ellipsoid(
        grid, (heart_z, heart_y, heart_x), (body.height * 0.21, body.half_depth * 0.52, rng.uniform(48, 62) * scale)
    )
    pipes = np.full(grid.shape, 60.0, dtype=np.float32)
    for line, radius in _great_vessels(rng, body):
        _lower_to_tube(grid, pipes, line, radius)
    gap = _soft_min(np.minimum(gap, heart), pipes)
    return np.asarray(gap + 1.6 * grid.noise(rng, 28) + rng.uniform(0.3, 1.0) * grid.noise(rng, 10), dtype=np.float32)


def _ellipsoid(grid: _Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    r = np.sqrt(sum((g - c) ** 2 / s**2 for g, c, s in zip((grid.z, grid.y, grid.x), centre, radii, strict=True)))
    return np.asarray((r - 1) * min(radii), dtype=np.float32)


def _soft_min(a: Array, b: Array) -> Array:
    """Return the smaller of two distances with the corner filled, as fat fills it."""
    blend = np.clip(0.5 + (b - a) / 16, 0, 1)
    return np.asarray(b + (a - b) * blend - 8 * blend * (1 - blend), dtype=np.float32)


Line = list[tuple[float, float, float]]


def _great_vessels(rng: np.random.Generator, body: _Body) -> list[tuple[Line, float]]:
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


def _lower_to_tube(grid: _Grid, gap: Array, line: Line, radius: float) -> None:
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


def _soft_tissue(rng: np.random.Generator, grid: _Grid, body: _Body, wall: Array, middle: Array, dome: Array) -> Array:
    """Return everything that is not lung: wall, bones, mediastinum, organs below the domes, table."""
    texture, coarse = grid.noise(rng, 8), grid.noise(rng, 22)
    hu = np.where(coarse > 0.7, np.float32(-90), np.float32(45)) + 12 * texture
    inner = middle < 0
    blood = np.float32(40 + body.contrast * rng.uniform(0.5, 1.0))
    hu[inner] = np.where(coarse > 0.5, np.float32(-85), np.where(coarse > -0.6, np.float32(45), blood))[inner]
    below = grid.z < dome - 3
    organ = np.where(
        grid.x < 15, np.float32(rng.uniform(50, 110)), np.where(coarse > 0.3, np.float32(-95), np.float32(50))
    )
    np.copyto(hu, organ + 6 * texture, where=below & (wall > 0))
    _add_bowel_gas(rng, grid, body, hu, below)
    _add_bones(rng, grid, body, hu, wall)
    skin = _skin_depth(grid, body) + 3 * grid.noise(rng, 60)
    np.copyto(hu, np.float32(-105), where=(skin < body.fat) & (wall < -2))
    np.copyto(hu, np.float32(-1000), where=skin < 0)
    table = np.abs(grid.y - (body.half_depth + body.wall + 12) + (grid.x / 60) ** 2 * 2) < 2
    np.copyto(hu, np.float32(-350), where=table & (skin < 0))
    return hu


def _skin_depth(grid: _Grid, body: _Body) -> Array:
    """Return the depth below the skin; the shoulders stay broad where the lungs' apices narrow."""
    broad = np.maximum(_profile(grid, body), 0.93)
    a, b = body.half_width * broad + body.wall, body.half_depth * (0.3 + 0.7 * broad) + body.wall
    ratio = np.sqrt((grid.x / a) ** 2 + (grid.y / b) ** 2)
    return np.asarray((1 - ratio) * np.minimum(a, b) + np.float32(0.12 * body.wall), dtype=np.float32)


def _add_bowel_gas(rng: np.random.Generator, grid: _Grid, body: _Body, hu: Array, below: NDArray[np.bool_]) -> None:
    for _ in range(int(rng.integers(1, 5))):
        centre = (
            body.base + body.height * rng.uniform(0.02, 0.2),
            rng.uniform(-0.6, 0.3) * body.half_depth,
            rng.uniform(-0.2, 0.7) * body.half_width,
        )
        radii = (rng.uniform(6, 24), rng.uniform(6, 22), rng.uniform(8, 34))
        gas = (_ellipsoid(grid, centre, radii) + 2.0 * grid.noise(rng, 12) < 0) & below
        np.copyto(hu, np.float32(-950), where=gas & (grid.y < centre[1] + radii[1] * rng.uniform(0.1, 1)))


def _add_bones(rng: np.random.Generator, grid: _Grid, body: _Body, hu: Array, wall: Array) -> None:
    rib = (_rib_phase(grid) < rng.uniform(4, 6)) & (wall < -2) & (wall > -rng.uniform(8, 11))
    rib &= np.abs(grid.x) > 22
    np.copyto(hu, np.where(np.abs(wall + 6) > 2.5, np.float32(550), np.float32(180)), where=rib)
    r = np.sqrt(grid.x**2 + (grid.y - body.half_depth * 0.86) ** 2) + 0 * grid.z
    np.copyto(hu, np.float32(200), where=r < 17)
    np.copyto(hu, np.float32(500), where=(r >= 15) & (r < 18))
    np.copyto(hu, np.float32(-20), where=(r < 17) & (np.cos(grid.z * np.float32(2 * np.pi / 27)) > 0.93))
    sternum = (np.abs(grid.x) < 16) & (wall < -2) & (wall > -12) & (grid.y < 0)
    np.copyto(hu, np.float32(280), where=sternum & (grid.z > body.base + 0.3 * body.height))


def _add_lung(rng: np.random.Generator, grid: _Grid, hu: Array, depth: Array) -> None:
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


def _fissures(rng: np.random.Generator, grid: _Grid) -> Array:
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


def _add_vessels(rng: np.random.Generator, grid: _Grid, body: _Body, hu: Array, depth: Array) -> Array:
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
        _draw_at(vessels, joined([arteries, veins, _lumps(rng, body, side)]), origin, grid.step)
        bronchi = arteries.thicker_than(max(0.9, 0.5 * grid.step))
        beside = np.array([0.3, 0.8, -0.5 * side]) * 1.55
        _draw_at(walls, bronchi.moved(beside, 0.75, 0.5), origin, grid.step)
        _draw_at(lumen, bronchi.moved(beside, 0.75, -0.1), origin, grid.step)
        _draw_at(walls, _scars(rng, own * grid.step + origin), origin, grid.step)
    trachea = _airway_trunk(rng, body)
    _draw_at(walls, trachea.moved(np.zeros(3), 1.0, 1.6), origin, grid.step)
    _draw_at(lumen, trachea, origin, grid.step)
    blood = np.float32(rng.uniform(25, 60) + 0.8 * body.contrast)
    hu += walls * np.maximum(np.float32(-60) - hu, 0)
    hu += vessels * np.maximum(blood - hu, 0)
    hu += lumen * (np.float32(-980) - hu) * (vessels < 0.5)
    return vessels


def _draw_at(coverage: Array, tubes: Tubes, origin: NDArray[np.float64], step: float) -> None:
    draw(coverage, Tubes(tubes.start - origin, tubes.end - origin, tubes.radius), step)


def _lung_trees(
    rng: np.random.Generator, body: _Body, points: NDArray[np.float64], side: int, volume_l: float
) -> tuple[Tubes, Tubes]:
    """Return the arteries and veins of one lung, from its hilum to leaves among `points` (n, 3), mm."""
    x = side * 36 * body.half_width / 135
    n = int(np.clip(rng.uniform(450, 800) * volume_l, 20, 2200))
    trees = []
    for root in ((body.hilum, 0.12 * body.half_depth, x), (body.hilum - 12, -0.05 * body.half_depth, 0.8 * x)):
        leaves = points[rng.choice(len(points), n)] + rng.uniform(-0.5, 0.5, (n, 3))
        trees.append(tree(rng, np.array(root), leaves, float(rng.uniform(0.36, 0.5))))
    return trees[0], trees[1]


def _lumps(rng: np.random.Generator, body: _Body, side: int) -> Tubes:
    """Return the lymph nodes and fat lumps of one hilum as short thick tubes."""
    n = int(rng.integers(3, 9))
    at = np.array([body.hilum, 0.08 * body.half_depth, side * 36 * body.half_width / 135])
    start = at + rng.normal(0, 1, (n, 3)) * np.array([16, 9, 4])
    return Tubes(start, start + rng.normal(0, 4, (n, 3)), rng.uniform(2.5, 7, n))


def _scars(rng: np.random.Generator, points: NDArray[np.float64]) -> Tubes:
    """Return a few thin straight bands, as old scars and small atelectases leave."""
    n = int(rng.integers(0, 6))
    start = points[rng.choice(len(points), n)].reshape(n, 3)
    way = rng.normal(0, 1, (n, 3)) * np.array([0.5, 1, 1])
    length = rng.uniform(10, 40, (n, 1))
    return Tubes(start, start + way / np.linalg.norm(way, axis=1, keepdims=True) * length, rng.uniform(0.4, 1.4, n))


def _airway_trunk(rng: np.random.Generator, body: _Body) -> Tubes:
    """Return the trachea and both main bronchi."""
    s, carina = body.half_width / 135, body.hilum + 14
    top, fork = (body.apex + 20, 0.05 * body.half_depth, 0.0), (carina, 0.14 * body.half_depth, -3.0 * s)
    right = (body.hilum, 0.2 * body.half_depth, -38 * s)
    left = (body.hilum - 6, 0.22 * body.half_depth, 40 * s)
    radius = rng.uniform(7, 9.5) * s
    return joined([path([top, fork], radius), path([fork, right], radius * 0.75), path([fork, left], radius * 0.68)])
