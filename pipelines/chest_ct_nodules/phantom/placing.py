"""Where a generated nodule goes: free in the lung, on a vessel, or on the wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """Candidate places in one lung volume, as indices (n, 3) of an isotropic grid, and the depth at each.

    Built once per volume, so that drawing a place costs nothing.
    """

    free: NDArray[np.int16]
    free_depth: Array
    vessel: NDArray[np.int16]
    vessel_depth: Array
    wall: NDArray[np.int16]
    wall_depth: Array


def find_sites(rng: np.random.Generator, depth_mm: Array, soft: NDArray[np.bool_], limit: int = 60_000) -> Sites:
    """Return the sites of a lung volume.

    Parameters
    ----------
    depth_mm : float32 [k, j, i]
        Depth in the lung, negative outside.
    soft : bool [k, j, i]
        Voxels as dense as vessel.
    limit : int
        The most places of each sort to keep.
    """
    lung = depth_mm > 2
    masks = (lung & ~soft, lung & soft & (depth_mm > 4), (depth_mm > -1) & (depth_mm < 12))
    found: list[NDArray[np.int16]] = []
    depths: list[Array] = []
    for mask in masks:
        flat = np.flatnonzero(mask)
        flat = np.sort(rng.choice(flat, min(limit, len(flat)), replace=False))
        found.append(np.stack(np.unravel_index(flat, mask.shape), axis=1).astype(np.int16))
        depths.append(depth_mm.ravel()[flat].astype(np.float32))
    return Sites(found[0], depths[0], found[1], depths[1], found[2], depths[2])


def draw_site(
    rng: np.random.Generator, sites: Sites, attachment: str, radius_mm: float, spacing_mm: float
) -> NDArray[np.float64] | None:
    """Return a place (index k, j, i) for a nodule of `radius_mm`, or None where the lung has no such place."""
    if attachment == "isolated":
        places = sites.free[sites.free_depth > radius_mm + 1]
    elif attachment == "wall":
        low, high = radius_mm * -0.1, radius_mm * 0.95
        places = sites.wall[(sites.wall_depth > low) & (sites.wall_depth < high)]
    else:
        places = sites.vessel[sites.vessel_depth > min(radius_mm, 8)]
    if len(places) == 0:
        return None
    place = places[rng.integers(len(places))].astype(np.float64)
    if attachment == "vessel":
        way = rng.standard_normal(3)
        place += way / np.linalg.norm(way) * radius_mm / spacing_mm * rng.uniform(0.2, 0.9)
    return np.asarray(place + rng.uniform(-0.5, 0.5, 3))
