"""Parenchyma of a generated breast: glands, fat lobules, ligaments, ducts, vessels, muscle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from pipelines.mammography_cad.phantom.grids import TILE_STEP_MM, Array, Grid, band_tile, isotropic, power_tile, sampled
from pipelines.mammography_cad.phantom.lines import Line, draw, wandering
from pipelines.mammography_cad.phantom.outline import Outline

DENSITY_CLASSES = ("A", "B", "C", "D")
_SHARES = {"A": (0.02, 0.12), "B": (0.12, 0.35), "C": (0.4, 0.65), "D": (0.7, 0.92)}


@dataclass(frozen=True, slots=True)
class Parenchyma:
    """How dense a woman's breasts are and how they look; drawn once per exam.

    Attributes
    ----------
    density_class : str
        BI-RADS A to D.
    share : float
        Part of the gland's region that is gland.
    reach_mm : float
        How far the gland reaches from the nipple.
    strands, lumps : float
        How marked ligaments and glandular lumps are; 1 is usual.
    """

    density_class: str
    share: float
    reach_mm: float
    strands: float
    lumps: float
    fat_rim_mm: float


def random_parenchyma(rng: np.random.Generator, depth_mm: float, density_class: str | None) -> Parenchyma:
    """Return a random breast tissue, of a density class when one is given."""
    name = density_class or str(rng.choice(DENSITY_CLASSES, p=(0.12, 0.4, 0.36, 0.12)))
    return Parenchyma(
        density_class=name,
        share=float(rng.uniform(*_SHARES[name])),
        reach_mm=float(depth_mm * rng.uniform(0.7, 1.1)),
        strands=float(rng.uniform(0.6, 1.5)),
        lumps=float(rng.uniform(0.7, 1.3)),
        fat_rim_mm=float(rng.uniform(5, 12) * (0.6 if name == "D" else 1.0)),
    )


def gland_region(outline: Outline, tissue: Parenchyma, grid: Grid, inside: Array, rng: np.random.Generator) -> Array:
    """Return 0..1 over the grid: how much of the region where glands lie a place belongs to."""
    v, u = outline.nipple
    far = np.hypot(grid.v - v + 0.1 * (u - grid.u), grid.u - u)
    wave = isotropic(rng, grid, 3.5, 2.5)
    reach = expit((tissue.reach_mm * (0.85 + 0.15 * wave) - far) / (0.12 * tissue.reach_mm))
    rim = expit((inside - tissue.fat_rim_mm * (1.3 + 0.35 * wave)) / 1.8)
    behind = expit((grid.u - 8 - 5 * wave) / 4)
    muscle = expit(-(outline.in_muscle(grid) + 8) / 3)
    return np.asarray(reach * rim * behind * muscle, dtype=np.float32)


def dense_tissue(seed: int, outline: Outline, tissue: Parenchyma, grid: Grid, inside: Array, thickness: Array) -> Array:
    """Return what lies on the ray beyond fat, in mm of gland, over the grid, without lesions."""
    rng = np.random.default_rng([seed, 61])
    region = gland_region(outline, tissue, grid, inside, rng)
    radial = _radial(rng, outline, grid)
    dense = thickness * _glands(rng, grid, radial, region, tissue)
    dense += _strands(rng, radial, region, tissue) * np.minimum(1, thickness / 20)
    dense += 0.9 * isotropic(rng, grid, 2.8, 1.0) * (0.35 + region) * np.minimum(1, thickness / 30)
    dense += _muscle(rng, outline, grid, thickness)
    draw(dense, grid, vessels(seed, outline) + _ducts(rng, outline, tissue) + _ligaments(rng, outline, tissue))
    v, u = outline.nipple
    near = np.exp(-((np.hypot(grid.v - v, grid.u - u) / (1.3 * outline.body.nipple_radius_mm)) ** 2))
    dense += 5 * near + 0.5 * outline.skin(inside)
    return np.asarray(np.clip(dense, 0, 0.97 * thickness + 1e-3), dtype=np.float32)


def _radial(rng: np.random.Generator, outline: Outline, grid: Grid) -> tuple[Array, Array]:
    """Return (along, across) in mm: coordinates that follow the lines from the nipple back to the chest wall."""
    v, u = outline.nipple
    beyond = u + 25.0
    dv, du = grid.v - v, beyond - grid.u
    bend = 4 * isotropic(rng, grid, 3.5, 1.5)
    along = np.hypot(dv, du) + bend
    across = np.arctan2(dv, du) * (0.5 * beyond + 0.5 * along) + bend
    return np.asarray(along, dtype=np.float32), np.asarray(across, dtype=np.float32)


def _glands(
    rng: np.random.Generator, grid: Grid, radial: tuple[Array, Array], region: Array, tissue: Parenchyma
) -> Array:
    """Return the part of the ray that is gland, 0..1: three layers of lumps, each with fat lobules in it."""
    share = np.clip(region * (0.15 + 0.85 * tissue.share), 1e-4, 0.97)
    level = ndtri(1 - share).astype(np.float32)
    total = np.zeros(grid.shape, dtype=np.float32)
    for _ in range(3):
        large = isotropic(rng, grid, 3.2, 0.8)
        lobules = sampled(
            power_tile(int(rng.integers(6)), 3.2), rng, radial[0] * 0.7, radial[1], 1 / (0.6 * TILE_STEP_MM)
        )
        field = 0.72 * large + 0.7 * lobules
        total += np.asarray(expit((field - level) / 0.55), dtype=np.float32)
    return np.asarray(total * (0.11 * tissue.lumps * (0.7 + 0.3 * tissue.share)), dtype=np.float32)


def _strands(rng: np.random.Generator, radial: tuple[Array, Array], region: Array, tissue: Parenchyma) -> Array:
    """Return a net of thin sheets seen on edge, drawn out along the lines to the nipple, in mm of gland."""
    out = np.zeros(region.shape, dtype=np.float32)
    for wave_mm, stretch, width, mm in (
        (14, 0.45, 0.14, 2.6),
        (9, 0.5, 0.17, 2.0),
        (6, 0.4, 0.24, 1.1),
        (4, 0.5, 0.35, 0.4),
    ):
        per_mm = 32 / wave_mm
        tile = band_tile(int(rng.integers(6)))
        net = sampled(tile, rng, radial[0] * stretch, radial[1], per_mm)
        strength = sampled(power_tile(int(rng.integers(6)), 3.0), rng, radial[0], radial[1], 2.0)
        out += mm * np.exp(-((net / width) ** 2)) * np.clip(0.6 + 0.6 * strength, 0, 2)
    return np.asarray(out * tissue.strands * (0.4 + 1.0 * region), dtype=np.float32)


def _muscle(rng: np.random.Generator, outline: Outline, grid: Grid, thickness: Array) -> Array:
    depth = outline.in_muscle(grid)
    if outline.pectoral is None:
        return np.zeros(grid.shape, dtype=np.float32)
    length, width = outline.pectoral
    angle = np.arctan2(width, length)
    along = np.cos(angle) * grid.v - np.sin(angle) * grid.u
    fibres = sampled(band_tile(int(rng.integers(6))), rng, along * 0.06, depth, 32 / 6.0)
    amount = np.minimum(rng.uniform(6, 14) + 0.35 * np.maximum(depth, 0), 0.7 * thickness)
    border = expit(depth / 0.8)
    return np.asarray((amount + 0.6 * fibres) * border, dtype=np.float32)


def vessels(seed: int, outline: Outline) -> list[Line]:
    """Return the view's vessels, from the chest wall towards the nipple."""
    rng = np.random.default_rng([seed, 62])
    v, u = outline.nipple
    found = []
    for _ in range(int(rng.integers(3, 8))):
        start = (v + rng.uniform(-0.8, 0.7) * outline.body.half_height_mm, rng.uniform(-10, 0.4 * u))
        angle = np.arctan2(v - start[0], u - start[1]) * 0.6 + rng.normal(0, 0.3)
        points = wandering(rng, start, angle, rng.uniform(0.5, 1.0) * u, 0.25)
        width = float(rng.uniform(0.6, 2.2))
        found.append(Line(points, width, np.linspace(1, 0.4, len(points)) * width * rng.uniform(0.7, 1.4)))
    return found


def _ducts(rng: np.random.Generator, outline: Outline, tissue: Parenchyma) -> list[Line]:
    v, u = outline.nipple
    found = []
    for _ in range(int(rng.integers(5, 14))):
        angle = np.pi + rng.normal(0, 0.6)
        points = wandering(rng, (v + rng.normal(0, 1.5), u), angle, rng.uniform(12, 45), 0.2)
        fade = np.linspace(1, 0.1, len(points))
        found.append(Line(points, float(rng.choice((0.65, 1.0, 1.6))), fade * rng.uniform(0.6, 2.0) * tissue.strands))
    return found


def _ligaments(rng: np.random.Generator, outline: Outline, tissue: Parenchyma) -> list[Line]:
    """Return fine curved lines all over the breast, most towards the skin."""
    v, u = outline.nipple
    found = []
    for _ in range(int(150 * tissue.strands)):
        start = (v + rng.uniform(-1.2, 1.1) * outline.body.half_height_mm, rng.uniform(0, 1) * u)
        angle = np.arctan2(v - start[0], u + 20 - start[1]) + rng.normal(0, 0.6)
        points = wandering(rng, start, angle, rng.uniform(8, 40), 0.35)
        fade = np.sin(np.linspace(0.1, np.pi - 0.1, len(points)))
        found.append(Line(points, float(rng.choice((0.25, 0.4, 0.65))), fade * rng.uniform(0.4, 1.8)))
    return found
