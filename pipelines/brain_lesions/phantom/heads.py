"""Generated brains with a tumour, with lesions of white matter beside it or instead of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.brain_lesions.backgrounds import depth_of
from pipelines.brain_lesions.fields import Array, Bools, blurred, sampled
from pipelines.brain_lesions.material import normalised
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.painting import painted, random_look
from pipelines.brain_lesions.phantom import SHAPE, build_anatomy, lesion_shapes, seen_by
from pipelines.brain_lesions.phantom.tumours import Kind, Tumour, painted_tumour, pushed, random_tumour


@dataclass(frozen=True, slots=True, eq=False)
class TumourHead:
    """A generated brain, all [k, j, i] of 1 mm, to the left, the back and the head.

    Attributes
    ----------
    images : float32 by sequence name
        Normalised as networks see them, 0 outside the brain.
    brain : bool
    parts : bool [3, k, j, i]
        Enhancing, necrotic, oedema (with tumour that does not enhance); empty where there is no tumour.
    lesions : bool
        Lesions of white matter.
    tumour : Tumour or None
    """

    images: Mapping[str, Array]
    brain: Bools
    parts: Bools
    lesions: Bools
    tumour: Tumour | None


def tumour_head(
    seed: int, *, tumour: bool = True, lesions: int = 6, shape: tuple[int, int, int] = SHAPE, noise: float = 0.12
) -> TumourHead:
    """Return a generated brain; the same seed and shape give the same brain with and without a tumour.

    Parameters
    ----------
    lesions : int
        How many lesions of white matter to draw.
    noise : float
        Deviation of the noise, in robust spreads of the brain.
    """
    rng = np.random.default_rng([seed, 50])
    anatomy = build_anatomy(rng, shape)
    images, tissues, brain = seen_by(rng, anatomy), anatomy.tissues, anatomy.brain
    own = np.random.default_rng([seed, 51])
    wanted = blurred(lesion_shapes(own, anatomy, lesions).astype(np.float32), 0.5)
    images, white = painted(own, images, tissues, wanted, random_look(own))
    parts, drawn = np.zeros((3, *shape), dtype=np.bool_), None
    if tumour:
        drawn = random_tumour(own, 1.0)
        middle = _middle(own, depth_of(brain), tissues, drawn)
        images, tissues, brain, white = _pushed(images, tissues, brain, white, middle, drawn)
        images, parts = painted_tumour(own, images, tissues, brain, middle, drawn)
        white &= ~parts.any(axis=0)
    grain = np.random.default_rng([seed, 52]).standard_normal(images.shape, dtype=np.float32) * np.float32(noise)
    named = {name: normalised(image + grain[n], brain) for n, (name, image) in enumerate(zip(SEQUENCES, images))}
    return TumourHead(named, brain, parts & brain, white & brain, drawn)


def _middle(rng: np.random.Generator, depth: Array, tissues: Array, tumour: Tumour) -> Array:
    """Return where the tumour's middle lies: in tissue, or near the surface."""
    if tumour.kind is Kind.DURAL:
        fits = (depth > 0.2 * tumour.radius) & (depth < 0.8 * tumour.radius + 2)
    else:
        fits = (depth > 4) & (tissues[0] < 0.4)
    places = np.flatnonzero(fits)
    return np.array(np.unravel_index(int(rng.choice(places)), depth.shape), dtype=np.float32)


def _pushed(
    images: Array, tissues: Array, brain: Bools, white: Bools, middle: Array, tumour: Tumour
) -> tuple[Array, Array, Bools, Bools]:
    """Return everything as it lies once the tumour has made room for itself."""
    at = pushed(np.indices(brain.shape, dtype=np.float32), middle, tumour)
    channels = np.concatenate([images, tissues, brain[None], white[None]]).astype(np.float32)
    moved = sampled(channels, at)
    # what it pushes out of the brain stays inside of the skull
    return moved[:4] * brain, moved[4:7] * brain, brain, moved[8] > 0.5
