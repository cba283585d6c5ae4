"""Lesions painted into brains, and what only looks like one.

All functions take images float32 [4, k, j, i] in the order of `net.SEQUENCES`, in robust spreads of the brain, and
tissue shares float32 [3, k, j, i] (fluid, grey, white).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.brain_lesions.fields import Array, Bools, blurred, smooth_noise

FLAIR, T1, T1C, T2 = range(4)


@dataclass(frozen=True, slots=True)
class Look:
    """How the lesions of one patient differ from white matter, in spreads of the brain.

    Attributes
    ----------
    flair, t2, t1 : float
        Differences of an average lesion; T1 negative (near 0: iso, below -1.5: black hole).
    varying : float
        How much lesions differ from each other and within, as a share.
    border : float
        Deviation of the soft border, voxels.
    halo : float
        Share of the difference that surrounds a lesion without belonging to it (dirty white matter).
    enhancing : float
        Share of places that take up contrast.
    """

    flair: float
    t2: float
    t1: float
    varying: float
    border: float
    halo: float
    enhancing: float


def random_look(rng: np.random.Generator) -> Look:
    """Return the look of one patient's lesions, faint to glaring."""
    flair = float(np.clip(rng.lognormal(0.55, 0.38), 0.8, 4.5))
    severity = float(rng.uniform(0.2, 1.2))
    return Look(
        flair=flair,
        t2=flair * float(rng.uniform(0.35, 0.75) + 0.4 * severity),
        t1=-flair * 0.55 * severity,
        varying=float(rng.uniform(0.1, 0.45)),
        border=float(rng.uniform(0.4, 1.1)),
        halo=float(rng.uniform(0.0, 0.35)) if rng.random() < 0.6 else 0.0,
        enhancing=float(rng.uniform(0.05, 0.4)) if rng.random() < 0.2 else 0.0,
    )


def home(tissues: Array) -> Array:
    """Return where lesions may lie, 0 to 1: white matter, its rim, and now and then grey matter behind it."""
    return np.asarray(np.clip(1.9 * blurred(tissues[2], 1.0) - 1.5 * tissues[0], 0, 1), dtype=np.float32)


def painted(rng: np.random.Generator, images: Array, tissues: Array, shape: Array, look: Look) -> tuple[Array, Bools]:
    """Return the images with lesions, and the mask of these.

    Parameters
    ----------
    shape : float32 [k, j, i]
        Soft mask of where lesions are wanted, 0.5 at their border; what lies outside white matter is cut off.
    """
    mask = shape * home(tissues) > 0.5
    if not mask.any():
        return images, mask
    solid = mask.astype(np.float32)
    # readers draw a little inside the half of the rise
    inner = np.clip(blurred(solid, look.border) * np.float32(rng.uniform(1.0, 1.5)), 0, 1)
    differing = np.exp(look.varying * smooth_noise(rng, mask.shape, float(rng.uniform(4, 10)))) * (
        0.75 + 0.5 * blurred(solid, 1.8)
    )
    severe = np.exp(0.5 * smooth_noise(rng, mask.shape, 8.0))
    halo = look.halo * np.clip(blurred(solid, 3.0) * 1.6, 0, 1) * (1 - inner) * tissues[2]
    rise = differing * (inner + halo)
    out = images.copy()
    white = [float(np.median(image[tissues[2] > 0.7])) if (tissues[2] > 0.7).any() else 0.0 for image in images]
    for n, change in ((FLAIR, look.flair), (T2, look.t2), (T1, look.t1), (T1C, 1.2 * look.t1)):
        local = out[n] + inner * 0.6 * (white[n] - out[n])  # a lesion looks the same in white matter and on its rim
        out[n] = local + change * rise * (severe if n in (T1, T1C) else 1)
    return _with_uptake(rng, _with_holes(rng, out, inner, severe), solid, inner, look), mask


def _with_holes(rng: np.random.Generator, images: Array, inner: Array, severe: Array) -> Array:
    """Return the images with, now and then, the worst places as dark on FLAIR and T1 as fluid."""
    if rng.random() > 0.15:
        return images
    hole = np.clip(severe - 1.6, 0, 0.6) / 0.6 * np.clip(blurred(inner, 1.0) * 1.5 - 0.8, 0, 1)
    for n, level in ((FLAIR, -1.5), (T1, -1.6), (T1C, -1.8), (T2, 3.5)):
        images[n] += hole * float(rng.uniform(0.4, 1)) * (level - images[n])
    return images


def _with_uptake(rng: np.random.Generator, images: Array, solid: Array, inner: Array, look: Look) -> Array:
    """Return the images with contrast taken up by some places, over the whole or as a ring."""
    if look.enhancing == 0:
        return images
    field = smooth_noise(rng, solid.shape, 12.0)
    where = np.clip((field - np.quantile(field, 1 - look.enhancing)) * 4, 0, 1)
    ring = np.clip(1.3 - blurred(solid, 2.0) * 1.2, 0, 1) if rng.random() < 0.4 else 1.0
    images[T1C] += inner * where * ring * float(rng.uniform(1, 4))
    return images


def dirtied(rng: np.random.Generator, images: Array, tissues: Array) -> Array:
    """Return the images with what readers do not mark: haze, bright cortex, perivascular spaces, bright rims."""
    out = images.copy()
    shape = images.shape[1:]
    if rng.random() < 0.5:
        haze = np.clip(smooth_noise(rng, shape, float(rng.uniform(8, 24))) - 0.3, 0, 1.5) * tissues[2]
        rise = float(rng.uniform(0.1, 0.9))
        for n, share in ((FLAIR, 1.0), (T2, 0.6), (T1, -0.3), (T1C, -0.3)):
            out[n] += haze * rise * share
    if rng.random() < 0.65:
        bright = np.clip(smooth_noise(rng, shape, float(rng.uniform(5, 14))), 0, 2) * tissues[1]
        out[FLAIR] += bright * float(rng.uniform(0.2, 1.4))
    if rng.random() < 0.3:
        spaces = np.clip(blurred(rng.standard_normal(shape, dtype=np.float32), 0.8) * 4 - 2.2, 0, 1) * tissues[2]
        for n, rise in ((FLAIR, -0.5), (T2, 2.5), (T1, -0.8), (T1C, -0.8)):
            out[n] += spaces * rise
    if rng.random() < 0.4:
        near = blurred(tissues[0], 1.5)
        out[FLAIR] += np.clip(near, 0, 0.5) * tissues[2] * float(rng.uniform(0.5, 3.0))
    if rng.random() < 0.15:
        flow = np.clip(smooth_noise(rng, shape, 8.0) - 0.6, 0, 1) * tissues[0]
        out[FLAIR] += flow * float(rng.uniform(1, 4))
    return out
