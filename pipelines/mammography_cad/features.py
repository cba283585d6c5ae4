"""What is measured on a candidate beside what the networks see: size, contrast, border, spiculation, texture, place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from pipelines.mammography_cad.look import MIDDLE_MM, SPECK_MM, Array, Look, doubled
from pipelines.mammography_cad.masses import ANGLES, MassCandidate
from pipelines.mammography_cad.net import BREAST_FEATURES, MASS_FEATURES, SPECK_FEATURES
from pipelines.mammography_cad.specks import Specks

_RADIAL = 24
"""Points along each ray, from the middle to twice the border."""
_CORE = 0.3
"""Part of the way to the border within which a mass is thickest."""


def mass_features(look: Look, candidate: MassCandidate) -> NDArray[np.float32]:
    """Return the features of a mass, [MASS_FEATURES - BREAST_FEATURES].

    Rays from the middle to twice the border are sampled, so that inside, border and surroundings are rows of one table.
    How dense a mass is, is its contrast for its thickness, which is about its width.
    """
    grey, part = _rays(look.middle[0], candidate), np.linspace(0, 2, _RADIAL)
    inside, ring = grey[:, part < 0.8], grey[:, (part > 1.2)]
    long, short = candidate.axes_mm
    step = np.diff(ndimage.gaussian_filter1d(grey, 1.0, axis=1), axis=1)
    border = -step[:, (part[1:] > 0.6) & (part[1:] < 1.4)].min(axis=1)
    radial, across = _gradients(look, candidate)
    skin = ndimage.distance_transform_edt(_around(look, candidate))
    row, column = (int(p) for p in candidate.place)
    spread = float(ring.std()) + 0.02
    contrast = float(inside.mean() - ring.mean())
    core = float(grey[:, part < _CORE].mean())
    above = max(core - float(np.percentile(ring, 25)), 0.01)
    values = (
        candidate.score,
        np.log(candidate.radius_mm),
        short / max(long, 1e-3),
        float(candidate.radii_mm.std() / candidate.radii_mm.mean()),
        contrast,
        contrast / spread,
        float(inside.std()),
        float(ring.mean()),
        spread,
        float(border.mean()),
        float(np.percentile(border, 20)),
        float(border.std()),
        across / (radial + across + 1e-6),
        float(look.middle[1, row, column]),
        min(40.0, float(skin[skin.shape[0] // 2, skin.shape[1] // 2]) * MIDDLE_MM) / 10,
        np.log(above / candidate.radius_mm),
        core,
    )
    return _numbers(values, MASS_FEATURES - BREAST_FEATURES)


def breast_features(look: Look) -> NDArray[np.float32]:
    """Return how grainy and how grey the breast is as a whole, which tells of its density, [BREAST_FEATURES]."""
    inner = ndimage.binary_erosion(look.breast, iterations=10)
    grey, fine = look.middle[0][look.breast], look.fine[0]
    grain = np.abs(fine - ndimage.gaussian_filter(fine, 1.0))[doubled(inner.astype(np.float32)) > 0.5]
    levels = np.percentile(grey, (25, 50, 75, 90)) if grey.size else np.zeros(4)
    return _numbers((10 * float(np.median(grain)) if grain.size else 0.0, *map(float, levels)), BREAST_FEATURES)


def _rays(image: Array, candidate: MassCandidate) -> NDArray[np.float64]:
    """Return the image along rays, [ANGLES, _RADIAL]: from the middle to twice the candidate's reach."""
    theta = 2 * np.pi * np.arange(ANGLES) / ANGLES
    far = candidate.radii_mm[:, None] / MIDDLE_MM * np.linspace(0, 2, _RADIAL)
    where = [candidate.place[0] + np.sin(theta)[:, None] * far, candidate.place[1] + np.cos(theta)[:, None] * far]
    return np.asarray(ndimage.map_coordinates(image, where, order=1, mode="nearest"), dtype=np.float64)


def _box(candidate: MassCandidate) -> tuple[slice, slice]:
    """Return the part of the fine grid about the candidate."""
    half = max(8, int(2 * candidate.radius_mm / MIDDLE_MM))
    row, column = (int(2 * p) for p in candidate.place)
    return slice(max(0, row - half), row + half), slice(max(0, column - half), column + half)


def _around(look: Look, candidate: MassCandidate) -> NDArray[np.bool_]:
    """Return the breast within 40 mm of the candidate; what lies beside the image is breast, for the chest wall."""
    half = round(40 / MIDDLE_MM)
    row, column = (int(p) for p in candidate.place)
    padded = np.pad(look.breast, half, mode="edge")
    return np.asarray(padded[row : row + 2 * half + 1, column : column + 2 * half + 1], dtype=np.bool_)


def _gradients(look: Look, candidate: MassCandidate) -> tuple[float, float]:
    """Return the mean gradient along and across the rays about the candidate; spicules raise that across."""
    box = _box(candidate)
    image = ndimage.gaussian_filter(look.fine[0][box], 1.0)
    down, right = np.gradient(image)
    rows, columns = np.mgrid[box[0].start : box[0].start + image.shape[0], box[1].start : box[1].start + image.shape[1]]
    v, u = rows - 2 * candidate.place[0] - 0.5, columns - 2 * candidate.place[1] - 0.5
    far = np.hypot(v, u) + 1e-6
    radius = 2 * candidate.radius_mm / MIDDLE_MM
    ring = (far > 0.9 * radius) & (far < 2 * radius)
    if not ring.any():
        return 0.0, 0.0
    radial, across = (down * v + right * u) / far, (down * u - right * v) / far
    return float(np.abs(radial[ring]).mean()), float(np.abs(across[ring]).mean())


def speck_features(group: Specks, nipple: tuple[float, float] | None) -> NDArray[np.float32]:
    """Return the features of a group of calcifications, [SPECK_FEATURES].

    Parameters
    ----------
    group : Specks
    nipple : (row, column) or None
        In pixels of 0.1 mm; None where it is not in the image.
    """
    n = len(group.places)
    places = group.places * SPECK_MM
    off = places - places.mean(axis=0)
    extent = np.linalg.svd(off / np.sqrt(n), compute_uv=False)
    long, short = float(extent[0]), float(extent[1])
    axis = _axis(off)
    near = cKDTree(places).query(places, k=2)[0][:, 1]
    toward = 0.5 if nipple is None else _toward(axis, np.array(nipple) * SPECK_MM - places.mean(axis=0))
    values = (
        np.log(n),
        np.log(long + 0.3),
        np.log(short + 0.3),
        short / (long + 1e-3),
        np.log(n / (np.pi * (long + 1) * (short + 1))),
        float(np.log(near.mean() + 0.1)),
        float(near.std()),
        float(group.scores.mean()),
        float(group.scores.std()),
        float(np.sort(group.scores)[-3:].mean()),
        float(group.contrast.mean()) / 5,
        float(group.contrast.std()) / 5,
        float(group.contrast.max()) / 5,
        float(group.size_mm.mean()) * 3,
        float(group.size_mm.std()) * 3,
        toward,
    )
    return _numbers(values, SPECK_FEATURES)


def _axis(off: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction in which the points are spread most."""
    _, vectors = np.linalg.eigh(off.T @ off)
    return np.asarray(vectors[:, 1])


def _toward(axis: NDArray[np.float64], nipple: NDArray[np.float64]) -> float:
    """Return how well the axis points to the nipple, 0 to 1."""
    return abs(float(axis @ nipple)) / (float(np.linalg.norm(nipple)) + 1e-6)


def _numbers(values: tuple[float, ...], count: int) -> NDArray[np.float32]:
    """Return the values as they are fed to a judge."""
    numbers = np.nan_to_num(np.array(values, dtype=np.float32), nan=0.0, posinf=10.0, neginf=-10.0)
    if numbers.shape != (count,):
        raise ValueError(f"{len(numbers)} features were measured, {count} are expected")
    return np.asarray(np.clip(numbers, -10, 10), dtype=np.float32)
