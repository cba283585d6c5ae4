"""What a scanner does to a clean chest: point spread, slice thickness, kernel and noise.

Everything is linear and separable, so it is done with small matrices along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.fields import blurred_in_plane, gaussian_matrix

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scan:
    """Settings of one acquisition.

    Attributes
    ----------
    spacing_mm, thickness_mm : float
        Distance of slices, and how much of z each averages.
    blur_mm : float
        Deviation of the in-plane point spread.
    sharpening : float
        0 for a soft kernel, about 1 for an edge-enhancing one.
    noise_hu, grain_mm : float
        Deviation of the noise, and over how many millimetres in plane it keeps together.
    """

    spacing_mm: float
    thickness_mm: float
    blur_mm: float
    sharpening: float
    noise_hu: float
    grain_mm: float


def random_scan(rng: np.random.Generator, spacing_mm: float | None = None) -> Scan:
    """Return plausible settings: soft to sharp kernels, noisier where sharp or thin."""
    spacing = float(spacing_mm if spacing_mm is not None else rng.choice((0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)))
    sharp = float(rng.uniform(0.4, 1.2)) if rng.random() < 0.4 else 0.0
    dose = float(rng.uniform(10, 38)) * (1.25 / max(spacing, 0.8)) ** 0.35
    return Scan(
        spacing_mm=spacing,
        thickness_mm=spacing * float(rng.uniform(1.0, 1.3)),
        blur_mm=float(rng.uniform(0.25, 0.5) if sharp else rng.uniform(0.35, 0.75)),
        sharpening=sharp,
        noise_hu=dose * (1.0 + 0.7 * sharp),
        grain_mm=float(rng.uniform(0.25, 0.45) if sharp else rng.uniform(0.45, 0.9)),
    )


def slice_matrix(n_in: int, step_mm: float, z_mm: NDArray[np.float64], thickness_mm: float) -> Array:
    """Return the (slices, n_in) matrix that averages fine planes, `step_mm` apart, into slices at `z_mm`."""
    gap = np.abs(np.arange(n_in)[None, :] * step_mm - z_mm[:, None])
    weights = np.clip((thickness_mm / 2 + step_mm / 2 - gap) / step_mm, 0, 1)
    empty = weights.sum(axis=1) == 0
    weights[empty, np.argmin(gap[empty], axis=1)] = 1
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def linear_matrix(n_in: int, at: NDArray[np.float64]) -> Array:
    """Return the (len(at), n_in) matrix that interpolates a line of `n_in` samples at indices `at`, ends held."""
    at = np.clip(at, 0, n_in - 1)
    low = np.minimum(at.astype(int), max(n_in - 2, 0))
    matrix = np.zeros((len(at), n_in), dtype=np.float32)
    rows = np.arange(len(at))
    matrix[rows, low] = 1 - (at - low)
    matrix[rows, np.minimum(low + 1, n_in - 1)] += at - low
    return matrix


def in_plane_matrix(n_in: int, step_mm: float, at: NDArray[np.float64], scan: Scan) -> Array:
    """Return the matrix along a row or column: point spread, edge enhancement, then sampling at indices `at`."""
    kernel: Array = gaussian_matrix(n_in, scan.blur_mm / step_mm)
    if scan.sharpening:
        softer = gaussian_matrix(n_in, 1.4 / step_mm) @ kernel
        kernel = (kernel + 0.5 * scan.sharpening * (kernel - softer)).astype(np.float32)
    return np.asarray(linear_matrix(n_in, at) @ kernel, dtype=np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int, int], pixel_mm: float, scan: Scan) -> Array:
    """Return the noise of a stack of slices, float32 [k, j, i]: independent between slices, grainy in them."""
    field = rng.standard_normal(shape, dtype=np.float32)
    rows, columns = (gaussian_matrix(n, scan.grain_mm / pixel_mm) for n in shape[1:])
    middle = np.linalg.norm(rows[len(rows) // 2]) * np.linalg.norm(columns[len(columns) // 2])
    return np.asarray(blurred_in_plane(field, rows, columns) * np.float32(scan.noise_hu / middle), dtype=np.float32)
