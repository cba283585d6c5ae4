"""Generated brains with known lesions: the network learns from them beside a real one, tests measure on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipelines.brain_lesions.fields import Array, Bools, blurred, smooth_noise
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.painting import home, painted, random_look
from pipelines.brain_lesions.phantom.anatomy import SHAPE, Anatomy, build_anatomy
from pipelines.brain_lesions.phantom.signal import seen_by

__all__ = ["SHAPE", "Anatomy", "BrainPhantom", "brain_phantom", "build_anatomy", "lesion_shapes", "seen_by"]
BRAIN_SIGNAL, SPREAD_SIGNAL = 400.0, 60.0


@dataclass(frozen=True, slots=True, eq=False)
class BrainPhantom:
    """A generated brain, all [k, j, i] of 1 mm (i to the left, j to the back, k to the head).

    Attributes
    ----------
    images : float32 by sequence name
        Signals as a scanner gives them (about 50 to 1200), 0 outside the brain.
    brain : bool
    truth : bool
        Lesions.
    anatomy : Anatomy
        What the brain is made of.
    """

    images: Mapping[str, Array]
    brain: Bools
    truth: Bools
    anatomy: Anatomy


def brain_phantom(
    seed: int,
    *,
    lesions: int = 12,
    shape: tuple[int, int, int] = SHAPE,
    noise: float = 0.12,
    planted: Bools | None = None,
) -> BrainPhantom:
    """Return a generated brain; the same seed and shape give the same brain whatever lesions it has.

    Parameters
    ----------
    lesions : int
        How many lesions to draw at random, 0 for a healthy brain.
    noise : float
        Deviation of the noise, in robust spreads of the brain.
    planted : bool [k, j, i], optional
        Lesions to paint instead of random ones; what does not lie in white matter is left out.
    """
    rng = np.random.default_rng([seed, 26])
    anatomy = build_anatomy(rng, shape)
    images = seen_by(rng, anatomy)
    own = np.random.default_rng([seed, 27])
    wanted = planted if planted is not None else lesion_shapes(own, anatomy, lesions)
    images, truth = painted(own, images, anatomy.tissues, blurred(wanted.astype(np.float32), 0.5), random_look(own))
    grain = np.random.default_rng([seed, 28]).standard_normal(images.shape, dtype=np.float32) * np.float32(noise)
    signal = np.clip(BRAIN_SIGNAL + SPREAD_SIGNAL * (images + grain), 20, None) * anatomy.brain
    named = {name: np.asarray(image, dtype=np.float32) for name, image in zip(SEQUENCES, signal, strict=True)}
    return BrainPhantom(named, anatomy.brain, truth & anatomy.brain, anatomy)


def lesion_shapes(rng: np.random.Generator, anatomy: Anatomy, count: int) -> Bools:
    """Return the mask of `count` random lesions of about 3-16 mm in white matter, more of them near the ventricles."""
    mask = np.zeros(anatomy.brain.shape, dtype=np.bool_)
    inside = home(anatomy.tissues) > 0.7
    inside[ndimage.distance_transform_edt(inside) < 1.5] = False
    places = np.argwhere(inside)
    if count == 0 or len(places) == 0:
        return mask
    far = ndimage.distance_transform_edt(~anatomy.ventricles)[tuple(places.T)]
    odds = np.exp(-far / 6.0) + 0.02
    for at in places[rng.choice(len(places), count, p=odds / odds.sum())]:
        radii = float(np.clip(rng.lognormal(1.0, 0.45), 1.5, 8.0)) * rng.uniform(0.7, 1.4, 3)
        box = tuple(slice(max(0, int(c - 2 * r) - 2), int(c + 2 * r) + 3) for c, r in zip(at, radii, strict=True))
        grid = np.indices(mask[box].shape) + np.array([s.start for s in box]).reshape(3, 1, 1, 1)
        gap = (((grid - at.reshape(3, 1, 1, 1)) / radii.reshape(3, 1, 1, 1)) ** 2).sum(axis=0)
        mask[box] |= gap + 0.35 * smooth_noise(rng, gap.shape, 4.0) < 1
    return mask
