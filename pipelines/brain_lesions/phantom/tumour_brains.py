"""Generated brains with a tumour, with lesions of white matter beside it or instead of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.brain_lesions.backgrounds import depth_of
from pipelines.brain_lesions.fields import Array, Bools, blurred, halved, sampled
from pipelines.brain_lesions.material import normalised
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.painting import painted, random_look
from pipelines.brain_lesions.phantom import SHAPE, build_anatomy, lesion_shapes, seen_by
from pipelines.brain_lesions.phantom.tumours import Kind, Tumour, painted_tumour, pushed, random_tumour

NOISE = 0.12
"""Deviation of the noise, in robust spreads of the brain."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainHead:
    """A generated brain in which nothing is painted yet; arrays [k, j, i], to the left, the back and the head.

    Attributes
    ----------
    images : float32 [4, k, j, i]
        In the order of `net.SEQUENCES`, robust spreads, without noise.
    tissues : float32 [3, k, j, i]
        Shares of fluid, grey and white matter.
    brain : bool
    wanted : float32
        Soft mask of lesions of white matter that may be painted.
    voxel_mm : float
    """

    images: Array
    tissues: Array
    brain: Bools
    wanted: Array
    voxel_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class TumourHead:
    """A generated brain as networks see it, on the grid of the plain one.

    Attributes
    ----------
    images : float32 by sequence name
        Normalised, 0 outside the brain.
    brain : bool
    parts : bool [3, k, j, i]
        Enhancing, necrotic, oedema (with tumour that does not enhance); empty where there is no tumour.
    tumour : Tumour or None
    """

    images: Mapping[str, Array]
    brain: Bools
    parts: Bools
    tumour: Tumour | None


def plain_head(seed: int, lesions: int = 20, shape: tuple[int, int, int] = SHAPE) -> PlainHead:
    """Return a generated brain of 1 mm, and places for so many lesions of white matter."""
    rng = np.random.default_rng([seed, 50])
    anatomy = build_anatomy(rng, shape)
    images = seen_by(rng, anatomy)
    wanted = blurred(lesion_shapes(rng, anatomy, lesions).astype(np.float32), 0.5)
    return PlainHead(images, anatomy.tissues, anatomy.brain, wanted, 1.0)


def coarser(plain: PlainHead) -> PlainHead:
    """Return the brain on voxels of twice the size."""
    brain = halved(plain.brain.astype(np.float32)) > 0.5
    wanted = np.clip(1.6 * halved(plain.wanted), 0, 1)  # or small ones would not reach one half
    return PlainHead(halved(plain.images), halved(plain.tissues), brain, wanted, 2 * plain.voxel_mm)


def tumour_head(seed: int, plain: PlainHead, *, tumour: bool = True, lesions: bool = True) -> TumourHead:
    """Return a brain with a tumour drawn at random, with lesions of white matter, with both or with neither."""
    rng = np.random.default_rng([seed, 51])
    images, tissues, brain = plain.images, plain.tissues, plain.brain
    if lesions:
        images, _ = painted(rng, images, tissues, plain.wanted, random_look(rng))
    parts, drawn = np.zeros((3, *brain.shape), dtype=np.bool_), None
    if tumour:
        drawn = random_tumour(rng, plain.voxel_mm)
        middle = _middle(rng, depth_of(brain), tissues, drawn)
        at = pushed(np.indices(brain.shape, dtype=np.float32), middle, drawn)
        moved = sampled(np.concatenate([images, tissues]), at) * brain
        images, parts = painted_tumour(rng, moved[:4], moved[4:], brain, middle, drawn)
    noise = np.float32(NOISE) * rng.standard_normal(images.shape, dtype=np.float32)
    named = {
        name: normalised(image + grain, brain) for name, image, grain in zip(SEQUENCES, images, noise, strict=True)
    }
    return TumourHead(named, brain, parts & brain, drawn)


def _middle(rng: np.random.Generator, depth: Array, tissues: Array, tumour: Tumour) -> Array:
    """Return where the tumour's middle lies: in tissue, or near the surface."""
    if tumour.kind is Kind.DURAL:
        fits = (depth > 0.2 * tumour.radius) & (depth < 0.8 * tumour.radius + 2)
    else:
        fits = (depth > 2) & (tissues[0] < 0.4)
    return np.array(np.unravel_index(int(rng.choice(np.flatnonzero(fits))), depth.shape), dtype=np.float32)
