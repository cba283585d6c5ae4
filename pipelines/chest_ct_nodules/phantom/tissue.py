"""Everything round the lungs: wall, fat, bones, mediastinum, the organs below the domes, the table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.body import Body, Grid, ellipsoid, profile, rib_phase

Array = NDArray[np.float32]


def soft_tissue(rng: np.random.Generator, grid: Grid, body: Body, wall: Array, middle: Array, dome: Array) -> Array:
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


def _skin_depth(grid: Grid, body: Body) -> Array:
    """Return the depth below the skin; the shoulders stay broad where the lungs' apices narrow."""
    broad = np.maximum(profile(grid, body), 0.93)
    a, b = body.half_width * broad + body.wall, body.half_depth * (0.3 + 0.7 * broad) + body.wall
    ratio = np.sqrt((grid.x / a) ** 2 + (grid.y / b) ** 2)
    return np.asarray((1 - ratio) * np.minimum(a, b) + np.float32(0.12 * body.wall), dtype=np.float32)


def _add_bowel_gas(rng: np.random.Generator, grid: Grid, body: Body, hu: Array, below: NDArray[np.bool_]) -> None:
    for _ in range(int(rng.integers(1, 5))):
        centre = (
            body.base + body.height * rng.uniform(0.02, 0.2),
            rng.uniform(-0.6, 0.3) * body.half_depth,
            rng.uniform(-0.2, 0.7) * body.half_width,
        )
        radii = (rng.uniform(6, 24), rng.uniform(6, 22), rng.uniform(8, 34))
        gas = (ellipsoid(grid, centre, radii) + 2.0 * grid.noise(rng, 12) < 0) & below
        np.copyto(hu, np.float32(-950), where=gas & (grid.y < centre[1] + radii[1] * rng.uniform(0.1, 1)))


def _add_bones(rng: np.random.Generator, grid: Grid, body: Body, hu: Array, wall: Array) -> None:
    rib = (rib_phase(grid) < rng.uniform(4, 6)) & (wall < -2) & (wall > -rng.uniform(8, 11))
    rib &= np.abs(grid.x) > 22
    np.copyto(hu, np.where(np.abs(wall + 6) > 2.5, np.float32(550), np.float32(180)), where=rib)
    r = np.sqrt(grid.x**2 + (grid.y - body.half_depth * 0.86) ** 2) + 0 * grid.z
    np.copyto(hu, np.float32(200), where=r < 17)
    np.copyto(hu, np.float32(500), where=(r >= 15) & (r < 18))
    np.copyto(hu, np.float32(-20), where=(r < 17) & (np.cos(grid.z * np.float32(2 * np.pi / 27)) > 0.93))
    sternum = (np.abs(grid.x) < 16) & (wall < -2) & (wall > -12) & (grid.y < 0)
    np.copyto(hu, np.float32(280), where=sternum & (grid.z > body.base + 0.3 * body.height))
