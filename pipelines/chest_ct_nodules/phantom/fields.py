"""Smooth random fields and fast resampling on regular grids, used everywhere in the phantom."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Array = NDArray[np.float32]


def resized(array: Array, shape: tuple[int, ...]) -> Array:
    """Return a 2-D or 3-D array stretched to `shape` by linear interpolation, corners kept."""
    mode = "bilinear" if array.ndim == 2 else "trilinear"
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
    return np.asarray(functional.interpolate(tensor, size=shape, mode=mode, align_corners=True)[0, 0].numpy())


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> Array:
    """Return a random field of mean 0 and deviation about 1, that varies over about `step` voxels."""
    coarse = tuple(max(2, int(np.ceil(n / step)) + 1) for n in shape)
    return resized(rng.standard_normal(coarse, dtype=np.float32) * 1.4, shape)


def gaussian_matrix(n: int, sigma: float) -> Array:
    """Return the (n, n) matrix that blurs a line of `n` voxels, `sigma` in voxels, ends renormalised."""
    if sigma < 0.05:
        return np.eye(n, dtype=np.float32)
    at = np.arange(n)
    weights = np.exp(-0.5 * ((at[:, None] - at[None, :]) / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def blurred_in_plane(array: Array, rows: Array, columns: Array) -> Array:
    """Return array[k, j, i] with `rows` applied along j and `columns` along i (matrices, out x in)."""
    return np.asarray(np.matmul(rows, np.matmul(array, columns.T)), dtype=np.float32)


def along_slices(matrix: Array, array: Array) -> Array:
    """Return array[k, j, i] with `matrix` (out x in) applied along k."""
    flat = matrix @ array.reshape(array.shape[0], -1)
    return np.asarray(flat.reshape(-1, *array.shape[1:]), dtype=np.float32)
