"""Training examples of the tumour network: a piece of a brain on a grid of 2 mm, with a tumour or only what looks so.

Drawn like those of `patches.py`; lesions of white matter are painted as well, and are no tumour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.brain_lesions.backgrounds import DEPTH, TISSUES, Background
from pipelines.brain_lesions.fields import Array, Bools, blurred, sampled, smooth_noise
from pipelines.brain_lesions.painting import FLAIR, T1, T1C, T2, dirtied, painted, random_look
from pipelines.brain_lesions.patches import SIZE, Patch, bent, moved, near_lesion, remixed, scanned, shown
from pipelines.brain_lesions.phantom.tumours import Kind, Tumour, painted_tumour, pushed, random_tumour

VOXEL_MM = 2.0
TUMOUR_SHARE = 0.6
LESION_SHARES = (0.75, 0.35)
"""How often lesions of white matter are there: without a tumour, beside one."""
SLICES = (1.0, 3.6)
"""Thickness of slices, voxels."""
TRIES = 60


def make_tumour_patch(
    rng: np.random.Generator, background: Background, library: NDArray[np.uint8], size: int = SIZE
) -> Patch:
    """Return a random example; its mask is [3, k, j, i]: enhancing, necrotic, oedema.

    Parameters
    ----------
    background : Background
        Of 2 mm; its lesions are no tumour.
    library : uint8 [masks, k, j, i]
        Lesions of white matter, 0 or 1, in the frame of the background.
    """
    lesions = library[int(rng.integers(len(library)))][None]
    tumour = random_tumour(rng, VOXEL_MM) if rng.random() < TUMOUR_SHARE else None
    if tumour is None:
        at = bent(rng, near_lesion(rng, background, lesions), size)
        piece = sampled(background.channels, at)
    else:
        home = _home(rng, background, tumour)
        at = bent(rng, home + rng.uniform(-12, 12, 3), size)
        piece = sampled(background.channels, pushed(at, home.astype(np.float32), tumour))
    images, tissues, depth = piece[:4], piece[TISSUES], piece[DEPTH]
    images, sample, tissues = remixed(rng, images, tissues, background.sample)
    images = dirtied(rng, images, tissues)
    if rng.random() < LESION_SHARES[tumour is not None]:
        images, _ = painted(rng, images, tissues, sampled(lesions, at + moved(rng, at))[0], random_look(rng))
    images = _with_vessels(rng, images, tissues, depth)
    parts = np.zeros((3, *depth.shape), dtype=np.bool_)
    if tumour is not None:
        images, parts = painted_tumour(rng, images, tissues, depth > 0, _index(at, home), tumour)
    images, brain = _cut_out(rng, images, depth)
    images = scanned(rng, images, SLICES)
    seen = np.stack([shown(rng, image, s) for image, s in zip(images, sample, strict=True)])
    return Patch(seen * brain, parts & brain, brain, tumour_presence(rng))


def tumour_presence(rng: np.random.Generator) -> Bools:
    """Return which sequences are there: T1 with contrast always; all in 30 %, it alone in 12 %, mostly FLAIR beside."""
    draw = rng.random()
    shares = (1, 1, 1, 1) if draw < 0.3 else (0, 0, 1, 0) if draw < 0.42 else (0.8, 0.5, 1, 0.5)
    return np.asarray(rng.random(4) < shares, dtype=np.bool_)


def _home(rng: np.random.Generator, background: Background, tumour: Tumour) -> NDArray[np.float64]:
    """Return a place for the tumour's middle: in the brain's tissue, or at its surface."""
    shape = np.array(background.channels.shape[1:])
    place = np.zeros(3)
    for _ in range(TRIES):
        place = rng.uniform(0.05, 0.95, 3) * shape
        k, j, i = (int(v) for v in place)
        fluid, depth = float(background.channels[4, k, j, i]), float(background.channels[DEPTH, k, j, i])
        if tumour.kind is Kind.DURAL:
            deep = 0.2 * tumour.radius <= depth <= 0.9 * tumour.radius + 2
        else:
            deep = depth > 1.5 and fluid < 0.4
        if deep:
            break
    return place


def _index(at: Array, home: NDArray[np.float64]) -> Array:
    """Return the index (k, j, i) of the voxel that lies nearest to a place of the brain."""
    far = ((at - home.reshape(3, 1, 1, 1)) ** 2).sum(axis=0)
    return np.array(np.unravel_index(int(far.argmin()), far.shape), dtype=np.float32)


def _with_vessels(rng: np.random.Generator, images: Array, tissues: Array, depth: Array) -> Array:
    """Return the images with what takes up contrast in health: vessels, sinuses, dura, choroid plexus."""
    out = images.copy()
    shape = depth.shape
    if rng.random() < 0.5:
        lines = [np.abs(smooth_noise(rng, shape, float(rng.uniform(6, 14)))) < rng.uniform(0.05, 0.2) for _ in range(2)]
        vessel = blurred((lines[0] & lines[1]).astype(np.float32), 0.5)
        nearer = np.clip(1.2 - depth / float(rng.uniform(4, 20)), 0.0, 1) + tissues[0]
        out[T1C] += np.clip(2 * vessel * nearer, 0, 1) * np.float32(rng.uniform(2, 9))
    if rng.random() < 0.4:
        wide = np.clip(1 + smooth_noise(rng, shape, 10.0), 0, 3) * np.float32(rng.uniform(0.2, 1.0))
        out[T1C] += np.clip(wide - np.abs(depth - 0.5) + 0.5, 0, 1) * np.float32(rng.uniform(1, 8))
    if rng.random() < 0.4:
        wisps = np.clip(smooth_noise(rng, shape, 3.0) - 0.6, 0, 1) * blurred(tissues[0], 1.0)
        out[T1C] += wisps * np.float32(rng.uniform(1, 6))
    return out


def _cut_out(rng: np.random.Generator, images: Array, depth: Array) -> tuple[Array, Bools]:
    """Return the images and the brain as cut out of a head: mostly well, now and then with bone and fat left on it."""
    edge = smooth_noise(rng, depth.shape, 8.0) * rng.uniform(0, 0.7) + rng.normal(0, 0.4)
    if rng.random() > 0.3:
        return images, np.asarray(depth > np.clip(edge, -1, 1.5), dtype=np.bool_)
    out, outside = images.copy(), np.clip(-depth, 0, None)
    bone = float(rng.uniform(0.3, 1.5)) + 0.5 * smooth_noise(rng, depth.shape, 10.0)
    fat = bone + float(rng.uniform(0.8, 3.0))
    for n, light in ((FLAIR, rng.uniform(0, 5)), (T1, rng.uniform(2, 9)), (T1C, rng.uniform(3, 12)), (T2, 1.0)):
        layers = np.where(outside > fat, light, np.where(outside > bone, rng.uniform(-6, -2.5), rng.uniform(-3, -1)))
        grain = 1 + 0.3 * smooth_noise(rng, depth.shape, 4.0)
        out[n] = np.where(depth > 0, out[n], layers * grain)
    left = float(rng.uniform(0.5, 5.0)) * np.clip(0.7 + smooth_noise(rng, depth.shape, 14.0), 0, 2)
    return out, np.asarray(depth > edge.clip(-1, 1.5) - left, dtype=np.bool_)
