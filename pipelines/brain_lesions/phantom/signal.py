"""What MR sequences show of a generated brain: contrasts drawn at random, and what only looks like a lesion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from pipelines.brain_lesions.fields import Array, blurred, smooth_noise
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.phantom.anatomy import Anatomy

LEVELS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "FLAIR": ((-4.5, -2.5), (0.2, 1.3), (-0.6, 0.1)),
    "T1": ((-2.8, -1.6), (-1.1, -0.4), (0.4, 0.8)),
    "T1C": ((-3.2, -1.8), (-1.0, -0.3), (0.4, 0.8)),
    "T2": ((3.0, 6.0), (0.5, 1.3), (-0.8, -0.2)),
}
"""Lowest and highest signal of fluid, grey and white matter, in the robust spreads of a brain."""


def seen_by(rng: np.random.Generator, anatomy: Anatomy) -> Array:
    """Return the four sequences float32 [4, k, j, i], without noise, in robust spreads."""
    shape = anatomy.brain.shape
    images = np.zeros((4, *shape), dtype=np.float32)
    patchy = smooth_noise(rng, shape, 14.0)
    for n, name in enumerate(SEQUENCES):
        levels = np.array([rng.uniform(low, high) for low, high in LEVELS[name]], dtype=np.float32)
        # iron darkens deep grey matter on FLAIR: as bright as the cortex it would be a lesion to any reader
        between = 0.5 * (levels[2] - levels[1]) * np.float32(rng.uniform(1.0 if name == "FLAIR" else 0.0, 1.6))
        images[n] = np.tensordot(levels, anatomy.tissues, 1) + between * anatomy.deep
        images[n] += anatomy.tissues[1] * patchy * np.float32(rng.uniform(0, 0.4) if name == "FLAIR" else 0.1)
        images[n] += (1 - anatomy.tissues[0]) * smooth_noise(rng, shape, 3.0) * np.float32(rng.uniform(0.03, 0.15))
    _rims(rng, images, anatomy)
    _vessels(rng, images, anatomy)
    return images * anatomy.brain


def _rims(rng: np.random.Generator, images: Array, anatomy: Anatomy) -> None:
    """Brighten the ventricles' walls and caps on FLAIR, set choroid plexus and streaming fluid into them."""
    far = ndimage.distance_transform_edt(~anatomy.ventricles)
    field = np.clip(smooth_noise(rng, far.shape, 15.0), 0, 1.5)
    rim = np.exp(-far / 1.2) * (far > 0) * (1 - anatomy.tissues[0])
    images[0] += rim * np.float32(rng.uniform(0.2, 1.8)) * (0.4 + field)
    inside = ndimage.distance_transform_edt(anatomy.ventricles)
    wisps = np.clip(smooth_noise(rng, far.shape, 5.0) - 0.9, 0, 0.6) / 0.6 * (inside > 1.0)
    for n, change in enumerate((rng.uniform(1.5, 4.5), rng.uniform(0.5, 1.5), rng.uniform(1, 5), -rng.uniform(1, 3))):
        images[n] += wisps * np.float32(change)
    streaming = np.clip(smooth_noise(rng, far.shape, 9.0) - 0.7, 0, 1) * anatomy.tissues[0]
    images[0] += streaming * np.float32(rng.uniform(0, 3.0))


def _vessels(rng: np.random.Generator, images: Array, anatomy: Anatomy) -> None:
    """Draw thin vessels in the fluid, bright after contrast, and perivascular spaces in white matter."""
    lines = [np.abs(smooth_noise(rng, anatomy.brain.shape, 12.0)) < 0.09 for _ in range(2)]
    vessel = blurred((lines[0] & lines[1]).astype(np.float32), 0.6) * 1.6 * (0.3 * anatomy.tissues[0] + 0.2)
    images[2] += np.clip(vessel, 0, 1) * np.float32(rng.uniform(2, 9))
    images[0] -= np.clip(vessel, 0, 1) * np.float32(rng.uniform(0, 1.5))
    spaces = (np.abs(smooth_noise(rng, anatomy.brain.shape, 8.0)) < 0.05) & lines[1]
    space = np.clip(blurred(spaces.astype(np.float32), 0.6) * 1.5, 0, 1) * anatomy.tissues[2]
    for n, change in enumerate((-0.3, -0.7, -0.7, 1.8)):
        images[n] += space * np.float32(change)
