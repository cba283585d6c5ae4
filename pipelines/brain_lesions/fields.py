"""Smooth random fields, matrices along an axis, and sampling of grids at free places."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Array = NDArray[np.float32]
Bools = NDArray[np.bool_]


def resized(array: Array, shape: tuple[int, ...]) -> Array:
    """Return a 3-D array stretched to `shape` by linear interpolation, corners kept."""
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
    return np.asarray(functional.interpolate(tensor, size=shape, mode="trilinear", align_corners=True)[0, 0].numpy())


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> Array:
    """Return a random field of mean 0 and deviation about 1 that varies over about `step` voxels."""
    coarse = tuple(max(2, int(np.ceil(n / step)) + 1) for n in shape)
    return resized(rng.standard_normal(coarse, dtype=np.float32) * 1.4, shape)


def along(axis: int, matrix: Array, array: Array) -> Array:
    """Return `array` with `matrix` (out x in) applied along one of its three axes."""
    if axis == 0:
        flat = matrix @ array.reshape(array.shape[0], -1)
        return np.asarray(flat.reshape(-1, *array.shape[1:]), dtype=np.float32)
    if axis == 2:
        return np.asarray(
            (array.reshape(-1, array.shape[2]) @ matrix.T).reshape(*array.shape[:2], -1), dtype=np.float32
        )
    return np.asarray(np.matmul(matrix, array), dtype=np.float32)


def gaussian_matrix(n: int, sigma: float) -> Array:
    """Return the (n, n) matrix that blurs a line of `n` voxels, `sigma` in voxels, ends renormalised."""
    at = np.arange(n)
    weights = np.exp(-0.5 * ((at[:, None] - at[None, :]) / max(sigma, 0.05)) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def blurred(array: Array, sigma: float) -> Array:
    """Return a 3-D array blurred by a Gaussian of `sigma` voxels."""
    for axis, n in enumerate(array.shape):
        array = along(axis, gaussian_matrix(n, sigma), array)
    return array


def thick_matrix(n: int, thickness: float, offset: float) -> Array:
    """Return the (n, n) matrix that averages a line into slabs of `thickness` voxels and interpolates them back.

    `offset` (0 to 1, of a slab) says where the first slab begins.
    """
    centres = np.arange(offset * thickness - thickness, n + thickness, thickness)
    gap = np.abs(np.arange(n)[None, :] - centres[:, None])
    slabs = np.clip(thickness / 2 + 0.5 - gap, 0, 1)
    slabs = slabs[slabs.sum(axis=1) > thickness / 3]
    kept = (slabs * np.arange(n)).sum(axis=1) / slabs.sum(axis=1)
    slabs /= slabs.sum(axis=1, keepdims=True)
    back = np.stack([np.interp(np.arange(n), kept, row) for row in np.eye(len(kept))], axis=1)
    return np.asarray(back @ slabs, dtype=np.float32)


def sampled(array: NDArray[np.generic], at: Array) -> Array:
    """Return channels interpolated linearly at free places, ends held.

    Parameters
    ----------
    array : [c, k, j, i]
        Any numeric type; only the part that is needed is read.
    at : float32 [3, k', j', i']
        Index (k, j, i) of each wanted place.
    """
    low = np.clip(np.floor(at.min(axis=(1, 2, 3))).astype(int), 0, np.array(array.shape[1:]) - 2)
    high = np.clip(np.ceil(at.max(axis=(1, 2, 3))).astype(int) + 1, low + 2, array.shape[1:])
    k, j, i = (slice(a, b) for a, b in zip(low, high, strict=True))
    part = torch.from_numpy(np.ascontiguousarray(array[:, k, j, i], dtype=np.float32))[None]
    span = (high - low - 1).reshape(3, 1, 1, 1)
    grid = ((at - low.reshape(3, 1, 1, 1)) * (2 / span) - 1).astype(np.float32)[::-1].transpose(1, 2, 3, 0)
    places = torch.from_numpy(np.ascontiguousarray(grid))[None]
    return np.asarray(
        functional.grid_sample(part, places, mode="bilinear", padding_mode="border", align_corners=True)[0].numpy()
    )


def halved(array: NDArray[np.generic]) -> Array:
    """Return means over 2 x 2 x 2 voxels of the last three axes; odd ends are filled up with 0."""
    odd = [(0, 0)] * (array.ndim - 3) + [(0, n % 2) for n in array.shape[-3:]]
    even = np.pad(np.asarray(array, dtype=np.float32), odd)
    k, j, i = (n // 2 for n in even.shape[-3:])
    return np.asarray(even.reshape(*array.shape[:-3], k, 2, j, 2, i, 2).mean(axis=(-5, -3, -1)), dtype=np.float32)
