"""Parenchyma of a generated breast: glands, fat lobules, ligaments, ducts, vessels, muscle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from pipelines.mammography_cad.phantom.grids import TILE_STEP_MM, Array, Grid, band_tile, isotropic, power_tile, sampled
from pipelines.mammography_cad.phantom.lines import Line, draw
from pipelines.mammography_cad.phantom.nets import CELL, lobules, net
from pipelines.mammography_cad.phantom.outline import Outline
from pipelines.mammography_cad.phantom.strands import ducts, folds, ligaments, vessels

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
    strands, lumps, lobules : float
        How marked strands and glandular clouds are (1 is usual), and fat lobules in the clouds (0.4 is usual).
    web_in_fat : float
        How marked the net of strands is where no gland lies, against 1 within it.
    fat_rim_mm : float
        How thick the fat under the skin is.
    behind_mm : float
        Where the gland ends before the chest wall; below 0 it goes on out of the image.
    """

    density_class: str
    share: float
    reach_mm: float
    strands: float
    lumps: float
    lobules: float
    web_in_fat: float
    fat_rim_mm: float
    behind_mm: float


def random_parenchyma(rng: np.random.Generator, depth_mm: float, density_class: str | None) -> Parenchyma:
    """Return a random breast tissue, of a density class when one is given."""
    name = density_class or str(rng.choice(DENSITY_CLASSES, p=(0.2, 0.3, 0.3, 0.2)))
    return Parenchyma(
        density_class=name,
        share=float(rng.uniform(*_SHARES[name])),
        reach_mm=float(depth_mm * rng.uniform(0.6, 1.5)),
        strands=float(rng.uniform(0.6, 1.5)),
        lumps=float(rng.uniform(0.6, 1.4)),
        lobules=float(rng.uniform(0.15, 0.8)),
        web_in_fat=float(rng.uniform(0.45, 1.1)),
        fat_rim_mm=float(rng.uniform(2.5, 11) * (0.6 if name == "D" else 1.0)),
        behind_mm=float(rng.uniform(-25, 20)),
    )


def gland_region(outline: Outline, tissue: Parenchyma, grid: Grid, inside: Array, rng: np.random.Generator) -> Array:
    """Return 0..1 over the grid: how much of the region where glands lie a place belongs to."""
    v, u = outline.nipple
    far = np.hypot(grid.v - v + 0.1 * (u - grid.u), grid.u - u)
    wave = isotropic(rng, grid, 3.6, 2.5)
    reach = expit((tissue.reach_mm * (0.85 + 0.2 * wave) - far) / (0.18 * tissue.reach_mm))
    rim = expit((inside - tissue.fat_rim_mm * (1.3 + 0.45 * wave)) / 2.2)
    behind = expit((grid.u - tissue.behind_mm - 5 * wave) / 5)
    muscle = expit(-(outline.in_muscle(grid) + 8) / 3)
    return np.asarray(reach * rim * behind * muscle, dtype=np.float32)


def dense_tissue(seed: int, outline: Outline, tissue: Parenchyma, grid: Grid, inside: Array, thickness: Array) -> Array:
    """Return what lies on the ray beyond fat, in mm of gland, over the grid, without lesions."""
    rng = np.random.default_rng([seed, 61])
    region = gland_region(outline, tissue, grid, inside, rng)
    radial = _radial(rng, outline, grid)
    deep = np.minimum(1, thickness / 25)
    dense = thickness * _glands(rng, grid, radial, region, tissue)
    dense += _web(rng, grid, radial, region, tissue) * deep
    dense += 1.1 * isotropic(rng, grid, 3.6, 1.0) * (0.35 + region) * deep
    dense += _muscle(rng, outline, grid, thickness)
    draw(dense, grid, _lines(seed, outline, tissue))
    v, u = outline.nipple
    near = np.exp(-((np.hypot(grid.v - v, grid.u - u) / (1.3 * outline.body.nipple_radius_mm)) ** 2))
    dense += rng.uniform(0.5, 4) * near + outline.body.skin_shade * outline.skin(inside)
    return np.asarray(np.clip(dense, 0, 0.97 * thickness + 1e-3), dtype=np.float32)


def _lines(seed: int, outline: Outline, tissue: Parenchyma) -> list[Line]:
    strength = tissue.strands
    return (
        vessels(seed, outline)
        + ducts(seed, outline, strength)
        + ligaments(seed, outline, strength)
        + folds(seed, outline)
    )


def _radial(rng: np.random.Generator, outline: Outline, grid: Grid) -> tuple[Array, Array]:
    """Return (along, across) in mm: coordinates that follow the lines from the nipple back to the chest wall."""
    v, u = outline.nipple
    beyond = u + 25.0
    dv, du = grid.v - v, beyond - grid.u
    bend = 4 * isotropic(rng, grid, 3.6, 1.5)
    along = np.hypot(dv, du) + bend
    across = np.arctan2(dv, du) * (0.5 * beyond + 0.5 * along) + bend
    return np.asarray(along, dtype=np.float32), np.asarray(across, dtype=np.float32)


def _glands(
    rng: np.random.Generator, grid: Grid, radial: tuple[Array, Array], region: Array, tissue: Parenchyma
) -> Array:
    """Return the part of the ray that is gland, 0..1: three layers of clouds, each with fat lobules in it."""
    share = np.clip(region * (0.15 + 0.85 * tissue.share), 1e-4, 0.97)
    level = ndtri(1 - share).astype(np.float32)
    total = np.zeros(grid.shape, dtype=np.float32)
    for _ in range(3):
        large = isotropic(rng, grid, 3.6, 0.8)
        drawn_out = sampled(
            power_tile(int(rng.integers(6)), 3.2), rng, radial[0] * 0.85, radial[1], 1 / (0.6 * TILE_STEP_MM)
        )
        cell_mm = rng.uniform(7, 16)
        fat = sampled(lobules(int(rng.integers(3))), rng, radial[0] * 0.85, radial[1], CELL / cell_mm)
        field = 0.66 * large + 0.5 * drawn_out + tissue.lobules * fat
        total += np.asarray(expit((field - level) / 0.75), dtype=np.float32)
    return np.asarray(total * (0.11 * tissue.lumps * (0.7 + 0.3 * tissue.share)), dtype=np.float32)


def _web(rng: np.random.Generator, grid: Grid, radial: tuple[Array, Array], region: Array, tissue: Parenchyma) -> Array:
    """Return the net of walls between fat lobules, drawn out along the lines to the nipple, in mm of gland."""
    out = np.zeros(region.shape, dtype=np.float32)
    for cell_mm, mm in ((18, 1.1), (14, 1.2), (11, 1.2), (9, 1.1), (7, 0.9), (5, 0.6)):
        size = cell_mm * rng.uniform(0.8, 1.25)
        walls = sampled(net(int(rng.integers(3))), rng, radial[0] * rng.uniform(0.6, 1.0), radial[1], CELL / size)
        uneven = isotropic(rng, grid, 3.2, 0.6)
        out += np.float32(mm) * walls * np.clip(0.9 + 0.4 * uneven, 0, 2.5)
    return np.asarray(out * tissue.strands * (tissue.web_in_fat + 0.8 * region), dtype=np.float32)


def _muscle(rng: np.random.Generator, outline: Outline, grid: Grid, thickness: Array) -> Array:
    depth = outline.in_muscle(grid)
    if outline.pectoral is None:
        return np.zeros(grid.shape, dtype=np.float32)
    length, width = outline.pectoral
    angle = np.arctan2(width, length)
    along = np.cos(angle) * grid.v - np.sin(angle) * grid.u
    fibres = sampled(band_tile(int(rng.integers(6))), rng, along * 0.06, depth, 32 / rng.uniform(4, 9))
    ends = np.clip(0.45 + 0.55 * (1 - grid.v / length), 0.3, 1)
    amount = np.minimum((rng.uniform(2.5, 9) + rng.uniform(0.1, 0.3) * np.maximum(depth, 0)) * ends, 0.6 * thickness)
    border = expit(depth / rng.uniform(0.6, 2.0))
    return np.asarray((amount + rng.uniform(0.1, 0.45) * fibres) * border, dtype=np.float32)
