"""Lesions scanned twice: the same head lying differently in the scanner, drawn anew, brought back together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPE_KJI = (80, 96, 80)
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Pose:
    """How a head lies, as degrees about the axes and mm along them, and what registering it back misses by."""

    turn_deg: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    miss_deg: NDArray[np.float64]
    miss_mm: NDArray[np.float64]

    @classmethod
    def drawn(cls, rng: np.random.Generator, largest_miss_mm: float = 1.0) -> Pose:
        miss = rng.normal(size=3)
        return cls(
            rng.uniform(-8, 8, 3),
            rng.uniform(-3, 3, 3),
            rng.uniform(-0.7, 0.7, 3),
            miss / np.linalg.norm(miss) * rng.uniform(0, largest_miss_mm),
        )


def scanned(truth: NDArray[np.bool_], spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> Labels:
    """Return the lesions `truth` [k, j, i] at 1 mm as one scan and one segmentation show them, on the grid of `truth`.

    The head is turned and shifted, sampled at `spacing_mm` (thick slices average), its lesions' borders are drawn
    at a level that wanders over the image and from scan to scan, and the mask is brought back with what registration
    misses by.
    """
    pose = Pose.drawn(rng)
    spread = ndimage.gaussian_filter(truth.astype(np.float32), [max(0.6, 0.35 * step) for step in spacing_mm])
    centre = (np.array(truth.shape) - 1) / 2
    matrix = rotation(pose.turn_deg)
    shape = tuple(int(np.ceil(n / step)) for n, step in zip(truth.shape, spacing_mm, strict=True))
    scaled = matrix @ np.diag(spacing_mm)
    seen = ndimage.affine_transform(spread, scaled, centre - matrix @ (centre - pose.shift_mm), shape, order=1)
    wander = ndimage.gaussian_filter(rng.normal(size=shape), 1.0)
    level = 0.5 + rng.uniform(-0.05, 0.05) + 0.08 * wander / wander.std()
    mask = seen > level
    back = np.linalg.inv(scaled) @ rotation(pose.miss_deg)
    start = np.linalg.inv(scaled) @ (
        pose.miss_mm + matrix @ (centre - pose.shift_mm) - rotation(pose.miss_deg) @ centre
    )
    again = ndimage.affine_transform(mask.astype(np.uint8), back, start, truth.shape, order=0)
    return labelled(again > 0)


def rotation(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix of turns about k, j and i, in [k, j, i] order."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        one = np.eye(3)
        a, b = (n for n in range(3) if n != axis)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ one
    return matrix


def labelled(mask: NDArray[np.bool_]) -> Labels:
    """Return connected lesions of two voxels and more, numbered."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    large = np.bincount(labels.ravel()) > 1
    labels, _ = ndimage.label(large[labels] & mask, np.ones((3, 3, 3)))
    return labels.astype(np.int32)


def head(rng: np.random.Generator, lesions: int = 12, least_mm3: float = 30) -> NDArray[np.bool_]:
    """Return a head with lesions up to 3 mL: long, flat and round ones, well apart."""
    mask = np.zeros(SHAPE_KJI, dtype=bool)
    for _ in range(lesions):
        add(mask, rng, float(np.exp(rng.uniform(np.log(least_mm3), np.log(3000)))))
    return mask


def add(mask: NDArray[np.bool_], rng: np.random.Generator, volume_mm3: float, apart_mm: int = 6) -> NDArray[np.bool_]:
    """Put a lesion of about `volume_mm3` into `mask` where there is room, and return it."""
    while True:
        axes = np.exp(rng.uniform(-0.5, 0.5, 3))
        radii = axes / axes.prod() ** (1 / 3) * (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
        centre = np.array([rng.uniform(18, n - 18) for n in mask.shape])
        lesion = ellipsoid(mask.shape, centre, radii, rotation(rng.uniform(-90, 90, 3)))
        (box,) = ndimage.find_objects(lesion.astype(np.uint8))
        if not mask[tuple(slice(max(0, part.start - apart_mm), part.stop + apart_mm) for part in box)].any():
            mask |= lesion
            return lesion


def ellipsoid(
    shape: tuple[int, ...],
    centre: NDArray[np.float64],
    radii: NDArray[np.float64],
    turn: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    low = np.maximum(np.floor(centre - max(radii)).astype(int), 0)
    high = np.minimum(np.ceil(centre + max(radii)).astype(int) + 1, shape)
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1) - centre
    mask = np.zeros(shape, dtype=bool)
    inside = (((grid @ (np.eye(3) if turn is None else turn)) / radii) ** 2).sum(axis=-1) <= 1
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = inside
    return mask
