"""The shapes of a generated brain: tissues as shares per voxel, drawn at random round a plain plan of the head.

Millimetres from the middle of the brain: z to the head, y to the back, x to the left; arrays are [k, j, i] of 1 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from pipelines.brain_lesions.fields import Array, Bools, blurred, smooth_noise

SHAPE = (137, 167, 148)
Point = tuple[float, float, float]
VENTRICLE: tuple[tuple[Point, float], ...] = (
    ((4, -32, 10), 4.5),
    ((10, -24, 9), 5.5),
    ((11, -8, 15), 5.0),
    ((12, 8, 18), 5.0),
    ((17, 24, 14), 6.0),
    ((23, 34, 6), 6.5),
    ((24, 48, 4), 3.0),
)
"""Middle line (x, y, z) and radii of a lateral ventricle: frontal horn, body, atrium, occipital horn."""
TEMPORAL_HORN: tuple[tuple[Point, float], ...] = (((24, 34, 4), 5.0), ((30, 20, -10), 2.5), ((30, 4, -18), 2.0))


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A brain's tissues, all [k, j, i] of 1 mm.

    Attributes
    ----------
    tissues : float32 [3, k, j, i]
        Shares of fluid, grey and white matter; they add up to 1 inside the brain.
    deep : float32
        Share of deep grey matter, a part of the grey.
    brain, ventricles : bool
        The brain with the fluid in and around it, and the ventricles alone.
    """

    tissues: Array
    deep: Array
    brain: Bools
    ventricles: Bools


def build_anatomy(rng: np.random.Generator, shape: tuple[int, int, int] = SHAPE) -> Anatomy:
    """Return a random brain that fills `shape` but for a margin of about 8 voxels."""
    at = _places(rng, shape)
    ventricles = _ventricles(rng, at)
    cerebrum, brain = _outline(rng, at)
    fluid = _sulci(rng, at, cerebrum, brain) | ventricles
    fluid |= brain & ~ndimage.binary_erosion(brain, iterations=int(rng.integers(1, 4)))
    fluid &= brain
    ribbon = float(rng.uniform(2.0, 3.6))
    near = ndimage.distance_transform_edt(~fluid | ventricles) <= ribbon
    grey = near & ~fluid & ~ndimage.binary_dilation(ventricles, iterations=5)
    grey &= ~_ball(at, (0, 26, -52), (11, 12, 34))
    deep = _deep(rng, at) & brain & ~fluid
    return _shared(brain, fluid, grey | deep, deep, ventricles & brain)


def _places(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Return z, y, x of each voxel in the plan's millimetres, stretched, turned a little and warped at random."""
    lines = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    stretch = [n * float(rng.uniform(0.93, 1.03)) / m for n, m in zip(shape, SHAPE, strict=True)]
    at = np.stack(np.meshgrid(*(line / s for line, s in zip(lines, stretch, strict=True)), indexing="ij"))
    at[1] *= 1 + 0.001 * float(rng.normal(0, 1)) * at[0]
    warp = np.stack([smooth_noise(rng, shape, 45.0) * np.float32(rng.uniform(1, 3.5)) for _ in range(3)])
    return np.asarray(at + warp, dtype=np.float32)


def _ball(at: Array, middle_xyz: Point, radii_xyz: Point, power: float = 2.0) -> Bools:
    z, y, x = at
    (a, b, c), (ra, rb, rc) = middle_xyz, radii_xyz
    far = np.abs((x - a) / ra) ** power + np.abs((y - b) / rb) ** power + np.abs((z - c) / rc) ** power
    return np.asarray(far < 1, dtype=np.bool_)


def _chain(at: Array, points: tuple[tuple[Point, float], ...], side: int, size: float) -> Bools:
    """Return the voxels within the radii of a line of points, on one side."""
    z, y, x = at
    inside = np.zeros(z.shape, dtype=np.bool_)
    for (p, r), (q, s) in pairwise(points):
        a, b = np.array([side * p[0], p[1], p[2]]), np.array([side * q[0], q[1], q[2]])
        d = b - a
        t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1] + (z - a[2]) * d[2]) / float(d @ d), 0, 1)
        far = (x - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2 + (z - a[2] - t * d[2]) ** 2
        inside |= far < (size * (r + t * (s - r))) ** 2
    return np.asarray(inside, dtype=np.bool_)


def _ventricles(rng: np.random.Generator, at: Array) -> Bools:
    size = float(rng.uniform(0.6, 1.5))
    parts = [_ball(at, (0, 2, 2), (0.8 + 1.6 * size, 14, 11)), _ball(at, (0, 34, -34), (3 + 4 * size, 5, 9))]
    for side in (-1, 1):
        own = size * float(rng.uniform(0.85, 1.15))
        parts += [_chain(at, VENTRICLE, side, own), _chain(at, TEMPORAL_HORN, side, own)]
    rough = smooth_noise(rng, at.shape[1:], 12.0)
    together = np.logical_or.reduce(parts)
    soft = blurred(together.astype(np.float32), 1.5) + 0.06 * rough
    beside_the_septum = np.abs(at[2]) > float(rng.uniform(0.4, 1.2))
    return np.asarray((soft > 0.5) & beside_the_septum | parts[0] | parts[1], dtype=np.bool_)


def _outline(rng: np.random.Generator, at: Array) -> tuple[Bools, Bools]:
    """Return the cerebrum, and the whole brain with cerebellum and stem."""
    z, y, x = at
    lift = 1.0 + 0.3 * np.clip((-z - 5) / 40, 0, 1)
    far = (np.abs(x) / 66) ** 2.2 + (np.abs(y + 2) / 82) ** 2.2 + (np.abs(z - 2) * lift / 62) ** 2.2
    cut = (z < -22) & (y > 16) & (np.abs(x) < 48) | (z < -28) & (np.abs(x) < 20) | (z < -20) & (y < -36)
    cerebrum = _rounded(rng, (far < 1) & ~cut, 4.0)
    cerebellum = _rounded(rng, _ball(at, (0, 44, -36), (47, 28, 22), 2.4), 2.0)
    stem = _rounded(rng, _ball(at, (0, 14, -38), (13, 13, 40), 2.6), 2.0)
    return cerebrum, cerebrum | cerebellum | stem


def _rounded(rng: np.random.Generator, part: Bools, sigma: float) -> Bools:
    rough = 0.12 * smooth_noise(rng, part.shape, 20.0)
    return np.asarray(blurred(part.astype(np.float32), sigma) + rough * (sigma > 3) > 0.5, dtype=np.bool_)


def _sulci(rng: np.random.Generator, at: Array, cerebrum: Bools, brain: Bools) -> Bools:
    """Return the fluid between the folds: thin sheets that reach in from the surface, and the fissures."""
    z, y, x = at
    depth = ndimage.distance_transform_edt(cerebrum)
    wide = float(rng.uniform(0.12, 0.24))
    folds = np.abs(smooth_noise(rng, z.shape, float(rng.uniform(10, 14))))
    reach = 15 + 6 * smooth_noise(rng, z.shape, 20.0)
    sheets = (folds < wide * (1.2 - depth / 30)) & (depth < reach) & cerebrum
    fine = np.abs(np.sin(z * 0.9 + 0.8 * smooth_noise(rng, z.shape, 15.0) + 0.02 * y * y / 10)) < 0.18
    folia = fine & (ndimage.distance_transform_edt(brain) < 9) & ~cerebrum & (np.abs(x) > 12)
    between = (np.abs(x) < rng.uniform(0.4, 1.2)) & (z - 20 + 0.012 * (y + 2) ** 2 > 0) | (np.abs(x) < 0.8) & (y < -48)
    gap = (brain & ~cerebrum) & (ndimage.distance_transform_edt(~cerebrum) < 1.5) & (np.abs(x) > 10)
    return np.asarray(brain & (sheets | folia | between | gap), dtype=np.bool_)


def _deep(rng: np.random.Generator, at: Array) -> Bools:
    """Return thalamus, putamen with pallidum, caudate, and the nuclei of the cerebellum."""
    grey = np.zeros(at.shape[1:], dtype=np.bool_)
    size = float(rng.uniform(0.85, 1.15))
    for side in (-1, 1):
        for (x, y, z), radii in (
            ((11, 8, 6), (8, 13, 8)),
            ((25, -6, 3), (6, 15, 10)),
            ((17, -22, 8), (4, 9, 8)),
            ((18, -2, 19), (3, 16, 3.5)),
            ((16, 46, -38), (5, 6, 3)),
        ):
            a, b, c = (r * size for r in radii)
            grey |= _ball(at, (side * x, y, z), (a, b, c))
    return grey


def _shared(brain: Bools, fluid: Bools, grey: Bools, deep: Bools, ventricles: Bools) -> Anatomy:
    """Return shares of voxels from the tissues' shapes, with the partial volume of a blur."""
    fluid, grey = fluid & brain, grey & brain & ~fluid
    white = brain & ~fluid & ~grey
    shares = np.stack([blurred(part.astype(np.float32), 0.55) for part in (fluid, grey, white)])
    total = np.maximum(shares.sum(axis=0), 1e-3)
    tissues = np.asarray(shares / total * brain, dtype=np.float32)
    return Anatomy(tissues, blurred((deep & grey).astype(np.float32), 0.7) * tissues[1], brain, ventricles & fluid)
