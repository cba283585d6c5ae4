"""A closed surface that grows out of the brain until it meets the dark skull, seen from a point in its middle.

After BET (Smith, Human Brain Mapping 2002): the pull that the brightness between surface and brain gives, and
smoothness; told by one radius for each of many directions instead of a mesh. Works on arrays along the world
[k, j, i], voxels of the same size in every direction; knows nothing of contrast: bone is dark in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

DIRECTIONS = 3000
NEIGHBOURS = 7
LARGEST_MM = 130.0
STEP_MM = 0.5
STEPS = 400
SMOOTH = 0.35
"""Part of the way to its neighbours' mean that a radius goes with each step."""
PULL_MM = 1.5
"""How far full brightness pushes the surface in one step."""
SEEN_MM = (14.0, 10.0)
"""How far inward it is looked for the darkest and for the brightest."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """One radius for each direction from a centre.

    Attributes
    ----------
    centre : float64 (3,)
        Index (k, j, i).
    directions : float64 (n, 3)
        Unit vectors (k, j, i).
    radii_mm : float64 (n,)
    walls : float64 (n,)
        How dark it gets within 10 mm outside of the surface: 0 as bright as brain, 1 as dark as air.
    """

    centre: Floats
    directions: Floats
    radii_mm: Floats
    walls: Floats


def sphere(n: int) -> Floats:
    """Return `n` directions (n, 3) spread evenly (a Fibonacci lattice)."""
    number = np.arange(n) + 0.5
    height = 1 - 2 * number / n
    turn = np.pi * (1 + 5**0.5) * number
    around = np.sqrt(1 - height**2)
    return np.stack([height, around * np.sin(turn), around * np.cos(turn)], axis=1)


def grown(
    image: NDArray[np.float32], mm: float, centre: Floats, start_mm: float, levels: tuple[float, float], dark: float
) -> Surface:
    """Return the surface around `centre` (k, j, i), begun as a ball of `start_mm`.

    Parameters
    ----------
    image : float32 [k, j, i]
        Voxels of `mm`.
    levels : (air, brain)
        How bright air and brain are.
    dark : float
        The surface stops where it gets darker than this part of the way from air to brain.
    """
    air, brain = levels
    directions = sphere(DIRECTIONS)
    _, near = cKDTree(directions).query(directions, NEIGHBOURS)
    profile = (_profiles(image, mm, centre, directions) - air) / (brain - air)
    pull = _pull(profile, dark)
    radii = np.full(DIRECTIONS, start_mm)
    rows = np.arange(DIRECTIONS)
    for _ in range(STEPS):
        column = np.clip((radii / STEP_MM).astype(int), 0, profile.shape[1] - 1)
        radii = radii + PULL_MM * pull[rows, column]
        radii = radii + SMOOTH * (radii[near].mean(axis=1) - radii)
        radii = np.clip(radii, 5.0, LARGEST_MM - 12)
    return Surface(centre, directions, radii, _walls(profile, radii))


def filled(surface: Surface, shape: tuple[int, ...], mm: float) -> NDArray[np.bool_]:
    """Return the inside of a surface on a grid of `shape`, voxels of `mm`."""
    reach = surface.radii_mm.max() / mm + 1
    low = np.clip(np.floor(surface.centre - reach).astype(int), 0, shape)
    high = np.clip(np.ceil(surface.centre + reach).astype(int) + 1, 0, shape)
    away = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1) - surface.centre
    far = np.linalg.norm(away, axis=-1) * mm
    inside = far < surface.radii_mm.min()
    unsure = (far < surface.radii_mm.max()) & ~inside
    distance, near = cKDTree(surface.directions).query(away[unsure] * mm / far[unsure][:, None], 3)
    weight = 1 / np.maximum(distance, 1e-6)
    radius = (surface.radii_mm[near] * weight).sum(axis=1) / weight.sum(axis=1)
    inside[unsure] = far[unsure] < radius
    whole = np.zeros(shape, np.bool_)
    whole[tuple(map(slice, low, high))] = inside
    return whole


def _profiles(image: NDArray[np.float32], mm: float, centre: Floats, directions: Floats) -> Floats:
    """Return the image along each direction [n, step], outward; beyond the image lies its darkest value."""
    steps = np.arange(0, LARGEST_MM, STEP_MM) / mm
    places = centre[:, None, None] + directions.T[:, :, None] * steps
    sampled = ndimage.map_coordinates(image, places, order=1, mode="constant", cval=float(image.min()))
    return np.asarray(sampled, dtype=np.float64)


def _pull(profile: Floats, dark: float) -> Floats:
    """Return how each place of the profiles pulls on the surface, -1 (inward) to 1 (outward)."""
    deep, shallow = (int(mm / STEP_MM) for mm in SEEN_MM)
    darkest = ndimage.minimum_filter1d(profile, deep, axis=1, origin=deep // 2 - 1, mode="nearest").clip(0, 1)
    brightest = ndimage.maximum_filter1d(profile, shallow, axis=1, origin=shallow // 2 - 1, mode="nearest").clip(0.1, 1)
    return np.asarray(np.clip(2 * (darkest - dark * brightest) / brightest, -1, 1))


def _walls(profile: Floats, radii: Floats) -> Floats:
    """Return how dark it gets just outside of the surface, 0 to 1."""
    columns = (radii / STEP_MM).astype(int)[:, None] + np.arange(-4, int(10 / STEP_MM))
    outside = np.take_along_axis(profile, columns.clip(0, profile.shape[1] - 1), axis=1)
    return np.asarray(np.clip(1 - outside.min(axis=1), 0, 1))
