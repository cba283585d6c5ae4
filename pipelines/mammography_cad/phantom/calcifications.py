"""Calcifications: clusters of each morphology and distribution, and single harmless ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.mammography_cad.phantom.grids import Array, Grid

MORPHOLOGIES = ("punctate", "amorphous", "coarse heterogeneous", "fine pleomorphic", "fine linear branching")
DISTRIBUTIONS = ("grouped", "linear", "segmental", "regional", "diffuse")
_DISTRIBUTION_ODDS = {
    "punctate": (0.55, 0.03, 0.07, 0.25, 0.1),
    "amorphous": (0.6, 0.05, 0.15, 0.2, 0.0),
    "coarse heterogeneous": (0.65, 0.05, 0.1, 0.2, 0.0),
    "fine pleomorphic": (0.62, 0.1, 0.23, 0.05, 0.0),
    "fine linear branching": (0.35, 0.35, 0.3, 0.0, 0.0),
}
_MALIGNANT = dict(zip(MORPHOLOGIES, (0.05, 0.22, 0.14, 0.4, 0.8), strict=True))
_SHIFT = dict(zip(DISTRIBUTIONS, (0.0, 0.2, 0.18, -0.06, -0.1), strict=True))
_SIZE_MM = {
    "punctate": (0.22, 0.48),
    "amorphous": (0.2, 0.36),
    "coarse heterogeneous": (0.5, 1.1),
    "fine pleomorphic": (0.2, 0.5),
    "fine linear branching": (0.18, 0.4),
}


@dataclass(frozen=True, slots=True, eq=False)
class Grains:
    """Calcifications in one view: places (v, u), sizes, long over short axis, angle, mm of gland at the middle."""

    at: NDArray[np.float64]
    size_mm: NDArray[np.float64]
    aspect: NDArray[np.float64]
    angle: NDArray[np.float64]
    dense_mm: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster in one view; `at`, `radius_mm` and `seed` as for a mass, `axis` the direction to the nipple."""

    morphology: str
    distribution: str
    malignant: bool
    at: tuple[float, float]
    radius_mm: float
    axis: float
    seed: int


def random_cluster(rng: np.random.Generator) -> Cluster:
    """Return a random cluster, not yet placed."""
    morphology = str(rng.choice(MORPHOLOGIES, p=(0.22, 0.2, 0.16, 0.24, 0.18)))
    distribution = str(rng.choice(DISTRIBUTIONS, p=_DISTRIBUTION_ODDS[morphology]))
    odds = np.clip(_MALIGNANT[morphology] + _SHIFT[distribution], 0.01, 0.97)
    low, high = {"grouped": (3, 10), "linear": (6, 16), "segmental": (12, 24), "regional": (14, 26)}.get(
        distribution, (30, 42)
    )
    radius = float(rng.uniform(low, high))
    return Cluster(
        morphology, distribution, bool(rng.random() < odds), (0.0, 0.0), radius, 0.0, int(rng.integers(2**31))
    )


def grains(cluster: Cluster) -> Grains:
    """Return the cluster's calcifications."""
    rng = np.random.default_rng([cluster.seed, 81])
    places, along = _places(rng, cluster)
    n = len(places)
    low, high = _SIZE_MM[cluster.morphology]
    common = rng.uniform(0, 1)
    spread = 0.25 if cluster.morphology == "punctate" else 1.0
    size = low + (high - low) * np.clip(common + spread * (rng.random(n) - 0.5), 0, 1)
    linear = cluster.morphology == "fine linear branching"
    aspect = (
        rng.uniform(2.0, 5.0, n) if linear else rng.uniform(1.0, 1.25 if cluster.morphology == "punctate" else 2.2, n)
    )
    angle = along + rng.normal(0, 0.35, n) if linear else rng.uniform(0, np.pi, n)
    strength = {"amorphous": 4.0, "punctate": 7.0, "coarse heterogeneous": 11.0}.get(cluster.morphology, 9.0)
    uneven = rng.uniform(0.85, 1.15, n) if cluster.morphology == "punctate" else rng.uniform(0.5, 1.5, n)
    return Grains(places, size, aspect, angle, strength * uneven * np.sqrt(size / 0.35))


def _places(rng: np.random.Generator, cluster: Cluster) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the places [n, 2] and the direction of the duct there [n]."""
    radius = cluster.radius_mm
    long, wide = {"grouped": (1.0, 0.75), "linear": (1.0, 0.1), "segmental": (1.0, 0.45)}.get(
        cluster.distribution, (1.0, 0.85)
    )
    crowd = {"grouped": (7, 28), "linear": (9, 26), "segmental": (20, 50), "regional": (24, 60)}.get(
        cluster.distribution, (50, 110)
    )
    n = int(rng.integers(*crowd) * (1.6 if cluster.morphology == "amorphous" else 1))
    if cluster.morphology == "fine linear branching":
        return _along_ducts(rng, cluster, n)
    part = np.clip(rng.normal(0, 0.5, (n, 2)), -1, 1)
    if cluster.distribution == "segmental":
        part[:, 1] *= 0.4 + 0.6 * (0.5 - 0.5 * part[:, 0])
    a, b = part[:, 0] * radius * long, part[:, 1] * radius * wide
    c, s = np.cos(cluster.axis), np.sin(cluster.axis)
    places = np.stack([cluster.at[0] + s * a + c * b, cluster.at[1] + c * a - s * b], axis=1)
    return places, np.full(n, cluster.axis)


def _along_ducts(rng: np.random.Generator, cluster: Cluster, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places on a few ducts that branch off away from the nipple."""
    branches = 1 if cluster.distribution == "linear" else int(rng.integers(2, 5))
    pick = rng.integers(branches, size=n)
    angles = cluster.axis + np.pi + (rng.uniform(-0.6, 0.6, branches) if branches > 1 else np.zeros(1))
    far = rng.uniform(0.05, 1.9, n) * cluster.radius_mm
    start = -cluster.radius_mm * np.array([np.sin(cluster.axis + np.pi), np.cos(cluster.axis + np.pi)])
    way = np.stack([np.sin(angles[pick]), np.cos(angles[pick])], axis=1)
    return np.array(cluster.at) + start + far[:, None] * way + rng.normal(0, 0.25, (n, 2)), angles[pick]


def draw(dense: Array, grid: Grid, spots: Grains) -> None:
    """Add the calcifications to `dense` (mm of gland on the grid), in place, by the part of each pixel they cover."""
    for k in range(len(spots.size_mm)):
        at = (float(spots.at[k, 0]), float(spots.at[k, 1]))
        short = float(spots.size_mm[k]) / 2
        long = short * float(spots.aspect[k])
        box = grid.around(at, long + 1.5 * grid.step_mm)
        if box is None:
            continue
        local = grid.part(box)
        v, u = local.v - at[0], local.u - at[1]
        c, s = np.cos(spots.angle[k]), np.sin(spots.angle[k])
        soft = max(grid.step_mm, 0.06)
        far = np.hypot((c * u + s * v) / long, (c * v - s * u) / short)
        cover = np.clip((1 - far) * short / soft + 0.5, 0, 1) * min(1.0, np.pi * short * long / soft**2)
        dense[box] += (cover * spots.dense_mm[k]).astype(np.float32)


def mask(cluster: Cluster, grid: Grid) -> NDArray[np.bool_]:
    """Return which points lie within 1.5 mm of the cluster's calcifications or between them."""
    spots = np.zeros(grid.shape, dtype=bool)
    places = grains(cluster).at
    j = np.rint((places[:, 0] - grid.v_mm) / grid.step_mm).astype(int)
    i = np.rint((places[:, 1] - grid.u_mm) / grid.step_mm).astype(int)
    kept = (j >= 0) & (i >= 0) & (j < grid.shape[0]) & (i < grid.shape[1])
    if not kept.any():
        return spots
    spots[j[kept], i[kept]] = True
    gap = 4.0 if cluster.distribution in ("regional", "diffuse") else 2.5
    near = ndimage.distance_transform_edt(~spots) * grid.step_mm <= gap
    return np.asarray(ndimage.distance_transform_edt(near) * grid.step_mm > gap - 1.5)
