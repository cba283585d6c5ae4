"""Training examples: a piece of a brain, bent, with lesions painted in, seen by a scanner drawn at random.

A patch is drawn in this order: place, bending, lesions, contrast, scanner, normalisation. The truth stays sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.brain_lesions.backgrounds import DEPTH, TISSUES, TRUTH, Background
from pipelines.brain_lesions.fields import (
    Array,
    Bools,
    along,
    gaussian_matrix,
    sampled,
    smooth_noise,
    thick_matrix,
)
from pipelines.brain_lesions.material import HIGHEST, LOWEST
from pipelines.brain_lesions.painting import dirtied, painted, random_look

SIZE = 48
HEALTHY_SHARE = 0.12
"""How often nothing is painted."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One example.

    Attributes
    ----------
    images : float32 [4, k, j, i]
        Normalised, 0 outside the brain; all four, whether the network is to see them or not.
    mask : bool [k, j, i], or [classes, k, j, i]
        Lesions; where there are several classes, each of them.
    brain : bool [k, j, i]
        Where the loss counts.
    present : bool [4]
        Which sequences the network is to see; FLAIR always.
    """

    images: Array
    mask: Bools
    brain: Bools
    present: Bools


def make_patch(rng: np.random.Generator, background: Background, library: NDArray[np.uint8], size: int = SIZE) -> Patch:
    """Return a random example.

    Parameters
    ----------
    library : uint8 [masks, k, j, i]
        Lesions of patients, 0 or 1, in the frame of the background.
    """
    shape = library[int(rng.integers(len(library)))][None]
    at = bent(rng, near_lesion(rng, background, shape), size)
    piece = sampled(background.channels, at)
    images, tissues, depth, mask = piece[:4], piece[TISSUES], piece[DEPTH], piece[TRUTH] > 0.5
    images, sample, tissues = remixed(rng, images, tissues, background.sample)
    images = dirtied(rng, images, tissues)
    if rng.random() > HEALTHY_SHARE:
        wanted = sampled(shape, at + moved(rng, at))[0]
        images, more = painted(rng, images, tissues, wanted, random_look(rng))
        mask = mask | more
    brain = depth > np.clip(smooth_noise(rng, depth.shape, 12.0) * rng.uniform(0, 1.0) + rng.normal(0, 0.6), -2, 3)
    images = scanned(rng, images)
    seen = np.stack([shown(rng, image, s) for image, s in zip(images, sample, strict=True)])
    return Patch(seen * brain, mask & brain, brain, random_presence(rng))


def random_presence(rng: np.random.Generator) -> Bools:
    """Return which sequences are there: all in 30 %, FLAIR alone in 20 %, else any."""
    draw = rng.random()
    others = np.ones(3, np.bool_) if draw < 0.3 else np.zeros(3, np.bool_) if draw < 0.5 else rng.random(3) < 0.5
    return np.concatenate([[True], others])


def near_lesion(rng: np.random.Generator, background: Background, shape: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the patch's middle: near a lesion of the mask mostly, else anywhere in the brain."""
    places = np.argwhere(shape[0]) if rng.random() < 0.7 else np.zeros((0, 3))
    if len(places) == 0:
        return np.asarray(rng.uniform(0.2, 0.8, 3) * np.array(background.channels.shape[1:]), dtype=np.float64)
    return np.asarray(places[rng.integers(len(places))] + rng.uniform(-16, 16, 3), dtype=np.float64)


def bent(rng: np.random.Generator, middle: NDArray[np.float64], size: int) -> Array:
    """Return the places [3, k, j, i] in the background of a patch's voxels: turned, stretched, mirrored, bent."""
    turn = np.eye(3)
    for axis in range(3):
        a, b = (n for n in range(3) if n != axis)
        angle = rng.normal(0, 0.17)
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    turn = turn @ np.diag(rng.uniform(0.85, 1.2) * rng.uniform(0.9, 1.1, 3))
    if rng.random() < 0.5:
        turn[:, 2] *= -1
    line = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"))
    at = np.einsum("ab,bkji->akji", turn, grid) + middle.reshape(3, 1, 1, 1)
    return np.asarray(at + _wobble(rng, size, float(rng.uniform(10, 24)), float(rng.uniform(0, 2.5))), dtype=np.float32)


def _wobble(rng: np.random.Generator, size: int, step: float, reach: float) -> Array:
    return np.stack([smooth_noise(rng, (size,) * 3, step) * np.float32(reach) for _ in range(3)])


def moved(rng: np.random.Generator, at: Array) -> Array:
    """Return how the lesions' frame differs from the brain's: shifted, stretched and bent a little."""
    size = at.shape[1]
    stretch = rng.uniform(-0.12, 0.12, 3).reshape(3, 1, 1, 1)
    middle = at.mean(axis=(1, 2, 3), keepdims=True)
    shift = rng.normal(0, 2.0, 3).reshape(3, 1, 1, 1)
    return np.asarray((at - middle) * stretch + shift + _wobble(rng, size, 10.0, 1.2), dtype=np.float32)


def remixed(rng: np.random.Generator, images: Array, tissues: Array, sample: Array) -> tuple[Array, Array, Array]:
    """Return images and whole-brain sample of another contrast, and the tissues.

    Each sequence's fluid, grey and white matter are moved against each other, its texture is weakened or
    strengthened; what the sample of the whole brain becomes tells how the whole image would be normalised.
    """
    out, values = images.copy(), sample[:4].copy()
    for n in range(4):
        if rng.random() < 0.25:
            continue
        wide = 2.5 if rng.random() < 0.2 else 1.0
        moves = rng.normal(0, (0.5 * wide, 0.35 * wide, 0.15 * wide)).astype(np.float32)
        out[n] += np.tensordot(moves, tissues, 1)
        values[n] += moves @ sample[4:]
        bend = np.float32(rng.uniform(-0.08, 0.08))
        for array in (out, values):
            array[n] += bend * (np.clip(array[n], -3, 3) ** 2 - 1)
    return out, values, tissues


def scanned(rng: np.random.Generator, images: Array, slices: tuple[float, float] = (2.0, 6.0)) -> Array:
    """Return the images as a scanner gives them: noise, blur, `slices` (thickness, voxels), a shift against FLAIR."""
    size = images.shape[1]
    together = _slices(rng, slices) if rng.random() < 0.4 else None
    out = np.empty_like(images)
    for n, image in enumerate(images):
        axis, thickness = (
            together if together and rng.random() < 0.8 else _slices(rng, slices) if rng.random() < 0.15 else (0, 1.0)
        )
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(
            rng.uniform(0, 0.35) if rng.random() < 0.7 else 0.05
        )
        seen = image + noise * np.float32(np.sqrt(thickness))
        shift = rng.normal(0, 0.4, 3) if n and rng.random() < 0.4 else np.zeros(3)
        for a in range(3):
            matrix = _line(rng, size, thickness if a == axis else 1.0, float(shift[a]))
            seen = seen if matrix is None else along(a, matrix, seen)
        out[n] = seen
    return out


def _slices(rng: np.random.Generator, thickness: tuple[float, float]) -> tuple[int, float]:
    """Return an axis, mostly k, and a slice thickness in voxels."""
    return int(rng.choice(3, p=(0.7, 0.15, 0.15))), float(rng.uniform(*thickness))


def _line(rng: np.random.Generator, size: int, thickness: float, shift: float) -> Array | None:
    """Return the matrix of one axis, or None where nothing is to be done."""
    matrix = None
    if rng.random() < 0.3:
        matrix = gaussian_matrix(size, float(rng.uniform(0.3, 0.8)))
    if thickness > 1:
        slab = thick_matrix(size, thickness, float(rng.random()))
        matrix = slab if matrix is None else slab @ matrix
    if shift:
        rows = np.clip(np.arange(size) + shift, 0, size - 1)
        moved = np.stack([np.interp(rows, np.arange(size), row) for row in np.eye(size)], axis=1).astype(np.float32)
        matrix = moved if matrix is None else matrix @ moved
    return matrix


def shown(rng: np.random.Generator, image: Array, sample: Array) -> Array:
    """Return an image by the whole brain's median and spread, with a bias field and a small error left."""
    low, middle, high = np.percentile(sample, (25, 50, 75))
    spread = max(float(high - low) / 1.349, 0.2) * float(np.exp(rng.normal(0, 0.12)))
    image = (image - (middle + rng.normal(0, 0.15) * spread)) / spread
    if rng.random() < 0.7:
        bias = smooth_noise(rng, image.shape, 40.0)
        image = image * (1 + 0.05 * bias) + np.float32(rng.uniform(0, 0.25)) * bias
    return np.clip(image, LOWEST, HIGHEST).astype(np.float32)
