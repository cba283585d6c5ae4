"""Brains to paint lesions into: a real one, healed of its own lesions, and generated ones.

A background is one float16 array, so that worker processes share it by memory mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.brain_lesions.fields import Array, Bools, blurred
from pipelines.brain_lesions.material import RealBrain
from pipelines.brain_lesions.net import SEQUENCES

CHANNELS = (*SEQUENCES, "csf", "grey", "white", "depth", "truth")
TISSUES = slice(4, 7)
DEPTH, TRUTH = 7, 8
SAMPLE = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A brain of 1 mm.

    Attributes
    ----------
    channels : float16 [9, k, j, i]
        Four images in the order of `SEQUENCES` (any linear scale; 0 outside the brain), shares of fluid, grey and
        white matter, depth (mm inside the brain's border, negative outside), lesions that are in the images.
    sample : float32 [7, n]
        Images and tissues of voxels drawn from the whole brain: what a patch is normalised by.
    """

    channels: NDArray[np.float16]
    sample: Array


def save_background(path: Path, channels: Array) -> None:
    """Write a background's channels as .npy."""
    np.save(path, channels.astype(np.float16))


def open_background(path: Path) -> Background:
    """Return the background whose channels lie in the file `path`, mapped."""
    channels = np.load(path, mmap_mode="r")
    inside = np.flatnonzero(np.asarray(channels[DEPTH]) > 0)
    chosen = np.random.default_rng(0).choice(inside, SAMPLE)
    return Background(channels, np.asarray(channels[:DEPTH].reshape(DEPTH, -1)[:, chosen], dtype=np.float32))


def depth_of(brain: Bools) -> Array:
    """Return the distance from the brain's border, mm, positive inside."""
    inside, outside = ndimage.distance_transform_edt(brain), ndimage.distance_transform_edt(~brain)
    return np.asarray(np.where(brain, inside - 0.5, 0.5 - outside), dtype=np.float32)


def real_backgrounds(real: RealBrain) -> tuple[Array, Array]:
    """Return the channels of a real brain twice: as it is, and healed of its lesions."""
    images = np.stack([real.images[name] for name in SEQUENCES])
    grown = np.asarray(ndimage.binary_dilation(real.truth, iterations=2), dtype=np.bool_)
    tissues = _tissues(images, real.brain, grown)
    sick = grown & ((tissues[0] < 0.5) | real.truth)
    healed, whole = _healed(images, tissues, sick, real.brain), np.array(tissues)
    share = np.clip(2 * blurred(sick.astype(np.float32), 0.8) - 0.2, 0, 1) * sick
    whole[:2] *= 1 - share
    whole[2] = whole[2] * (1 - share) + share
    depth = depth_of(real.brain)[None]
    truth = real.truth.astype(np.float32)[None]
    sick_one = np.concatenate([images, whole, depth, truth]).astype(np.float32)
    return sick_one, np.concatenate([healed, whole, depth, np.zeros_like(truth)]).astype(np.float32)


def _tissues(images: Array, brain: Bools, sick: Bools) -> Array:
    """Return the shares of fluid, grey and white matter by distance to their mean signals in the healthy part."""
    # clipped, or the wide range of fluid would leave one class for grey and white together
    features = np.stack(
        [np.clip(images[1], -1.2, 1), 0.8 * np.clip(images[2], -1.2, 1), 0.5 * np.clip(images[3], -1, 1.5)]
    )
    healthy = brain & ~sick & (depth_of(brain) > 3)
    seen = features[:, healthy].T[::7]
    order = np.percentile(seen[:, 0], (8, 40, 85))
    means = np.stack([seen[np.abs(seen[:, 0] - level) < 0.2].mean(axis=0) for level in order])
    for _ in range(12):
        nearest = ((seen[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        means = np.stack([seen[nearest == t].mean(axis=0) for t in range(3)])
    far = np.stack([((features - mean.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) for mean in means])
    shares = np.exp(-(far - far.min(axis=0)) / 0.12)
    return np.asarray(shares / shares.sum(axis=0) * brain, dtype=np.float32)


def _healed(images: Array, tissues: Array, sick: Bools, brain: Bools) -> Array:
    """Return the images with white matter, smooth from the healthy around and with its grain, where they are sick."""
    rng = np.random.default_rng(19)
    white = (tissues[2] > 0.8) & brain & ~ndimage.binary_dilation(sick, iterations=1)
    weight = white.astype(np.float32)
    share = np.clip(2 * blurred(sick.astype(np.float32), 0.8) - 0.2, 0, 1)
    share = np.where(sick, np.maximum(share, 0.5), 0)
    healed = np.array(images, dtype=np.float32)
    for n, image in enumerate(images):
        near, far = (_mean_around(image, weight, sigma) for sigma in (4.0, 12.0))
        base = np.where(near[1] > 0.05, near[0], far[0])
        grain = blurred(rng.standard_normal(image.shape, dtype=np.float32), 0.6)
        level = 0.6 * float(np.std((image - near[0])[white])) / float(grain.std())  # part of it is structure, not grain
        healed[n] = image * (1 - share) + (base + grain * np.float32(level)) * share
    return np.asarray(healed, dtype=np.float32)


def _mean_around(image: Array, weight: Array, sigma: float) -> tuple[Array, Array]:
    total = blurred(weight, sigma)
    return np.asarray(blurred(image * weight, sigma) / np.maximum(total, 1e-4), dtype=np.float32), total
