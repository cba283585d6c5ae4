"""Generated heads: what lies around a generated brain, as skull, scalp, eyes, face and neck, for tests of extraction.

Places are (x, y, z) mm from the middle of the generated brain: x to the left, y to the back, z to the head. Simple
shapes, drawn at random around a plain plan; what matters is what a brain's border meets, and what leads out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.volume import Grid
from pipelines.brain_lesions.fields import Array, Bools, blurred, halved, smooth_noise
from pipelines.brain_lesions.phantom import BrainPhantom

MM = 2
"""Size of a voxel."""
AROUND = ((41, 12), (23, 12), (13, 13))
"""Room in voxels below and above (z), before and behind (y), to the right and left (x) of the brain's array."""
BASE_SIGNAL = {"FLAIR": 120.0, "T1": 170.0, "T1C": 170.0, "T2": 200.0}
"""Taken from a generated brain's signal: its fluid is too bright beside air that is dark."""
SULCUS_MM = 6
"""Half the width of a cleft that still belongs to the brain."""
Point = tuple[float, float, float]


class Stuff(IntEnum):
    """What a head is made of, but for the brain."""

    AIR = 0
    FAT = 1
    FLESH = 2
    BONE = 3
    MARROW = 4
    FLUID = 5
    EYE = 6
    NERVE = 7
    LINING = 8


LEVELS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "FLAIR": ((0, 0), (1.0, 1.8), (0.4, 0.65), (0.03, 0.1), (0.5, 1.2), (0.1, 0.3), (0.1, 0.3), (0.8, 1), (0.9, 1.4)),
    "T1": ((0, 0), (1.2, 2.0), (0.5, 0.7), (0.03, 0.1), (0.8, 1.5), (0.2, 0.35), (0.2, 0.35), (0.8, 1), (0.5, 0.7)),
    "T1C": ((0, 0), (1.2, 2.0), (0.6, 0.8), (0.03, 0.1), (0.8, 1.5), (0.2, 0.35), (0.2, 0.35), (0.8, 1), (1.3, 1.8)),
    "T2": ((0, 0), (1.2, 2.0), (0.3, 0.5), (0.03, 0.1), (0.8, 1.4), (1.9, 2.6), (2.0, 2.8), (0.8, 1), (1.2, 2.2)),
}
"""Lowest and highest signal of each `Stuff`, in parts of white matter's."""
FAT_SUPPRESSED = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A generated head, all [k, j, i] of 2 mm.

    Attributes
    ----------
    images : float32 by sequence name
    brain : bool
        With the fluid in and around it.
    tissue : bool
        Without the fluid around it: grey and white matter, sulci closed, ventricles filled.
    affine : float64 (4, 4)
        Index (i, j, k) to LPS mm, 0 in the middle of the brain's array.
    """

    images: Mapping[str, Array]
    brain: Bools
    tissue: Bools
    affine: NDArray[np.float64]

    def grid(self, name: str) -> Grid:
        """Return one sequence."""
        return Grid(self.images[name], self.affine)


def head_phantom(made: BrainPhantom, seed: int, *, face: bool = True, suppressed: bool | None = None) -> Head:
    """Return a generated brain in a generated head.

    Parameters
    ----------
    face : bool
        Without it the images were defaced: what lies before and below the brain is set to 0.
    suppressed : bool, optional
        Whether fat is dark; by chance where not given.
    """
    rng = np.random.default_rng([seed, 51])
    inner = _halved(made.brain.astype(np.float32)) >= 0.5
    at, brain = _places(inner.shape), np.pad(inner, AROUND)
    stuff = _stuff(rng, at, brain)
    dark_fat = bool(rng.random() < 0.25) if suppressed is None else suppressed
    kept = np.ones(brain.shape, np.bool_) if face else ~_defaced(at, brain)
    signals = {name: np.pad(_halved(image), AROUND) for name, image in made.images.items()}
    images = {name: _image(rng, name, signal, brain, stuff, dark_fat) * kept for name, signal in signals.items()}
    affine = np.diag([MM, MM, MM, 1.0])
    affine[:3, 3] = [line.flat[0] for line in at[::-1]]
    return Head(images, brain, _tissue(made, brain), affine)


def _halved(image: Array) -> Array:
    """Return an image of 1 mm on voxels of `MM`; odd ends are left out."""
    return halved(image[tuple(slice(n // MM * MM) for n in image.shape)])


def _tissue(made: BrainPhantom, brain: Bools) -> Bools:
    """Return grey and white matter with what they surround."""
    solid = np.pad(_halved(made.anatomy.tissues[1:].sum(axis=0)) >= 0.5, AROUND)
    closed = _far(_far(solid) > SULCUS_MM) > SULCUS_MM
    return np.asarray(ndimage.binary_fill_holes(closed) & brain)


def _far(mask: Bools) -> Array:
    """Return the distance of each voxel from a mask, mm."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=MM), dtype=np.float32)


def _rough(rng: np.random.Generator, shape: tuple[int, ...], step_mm: float) -> Array:
    return smooth_noise(rng, (shape[0], shape[1], shape[2]), step_mm / MM)


def _places(shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Return z, y, x of the voxels of the head, each along its own axis."""
    lines = [
        MM * (np.arange(-before, n + after, dtype=np.float32) - (n - 1) / 2)
        for n, (before, after) in zip(shape, AROUND, strict=True)
    ]
    z, y, x = np.meshgrid(*lines, indexing="ij", sparse=True)
    return z, y, x


def _ball(at: tuple[Array, Array, Array], middle: Point, radii: Point) -> Bools:
    z, y, x = at
    (a, b, c), (ra, rb, rc) = middle, radii
    return np.asarray(((x - a) / ra) ** 2 + ((y - b) / rb) ** 2 + ((z - c) / rc) ** 2 < 1)


def _tube(at: tuple[Array, Array, Array], start: Point, end: Point, radius: float) -> Bools:
    z, y, x = at
    a, d = np.array(start), np.subtract(end, start)
    t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1] + (z - a[2]) * d[2]) / float(d @ d), 0, 1)
    gap = (x - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2 + (z - a[2] - t * d[2]) ** 2
    return np.asarray(gap < radius**2)


def _stuff(rng: np.random.Generator, at: tuple[Array, Array, Array], brain: Bools) -> NDArray[np.uint8]:
    """Return what each voxel is made of; the brain's own count as fluid."""
    z, y, _ = at
    hull = _far(_far(brain) >= 7) > 7
    skull = hull & (z > -62)
    far = _far(skull)
    gap = float(rng.uniform(0, 1.5))
    bone = np.clip(float(rng.uniform(4, 7.5)) + 1.2 * _rough(rng, brain.shape, 40.0), 2.0, None)
    scalp = np.clip(float(rng.uniform(4, 8)) + 1.5 * _rough(rng, brain.shape, 30.0), 2.5, None)
    body = (far < gap + bone + scalp) | _face_and_neck(rng, at)
    body &= ~((y < -50) & (z < -110))
    stuff = _flesh(rng, body)
    around = (far > 0) & (far <= gap + bone)
    stuff[around] = Stuff.BONE
    diploe = np.abs(far - gap - bone / 2) < 0.2 * bone
    stuff[around & diploe & (bone > 3.5)] = Stuff.MARROW
    stuff[(far > 0) & (far <= gap)] = Stuff.FLUID
    stuff[(far > gap - 1) & (far <= gap) | (skull & ~brain & (_far(~(brain | ~skull)) < 2.5))] = Stuff.LINING
    _base(rng, at, stuff, far)
    _eyes(at, stuff, np.where(body, far, 0))
    _canal(at, stuff)
    stuff[hull & ~brain & (stuff == Stuff.FLESH)] = Stuff.FLUID
    return stuff


def _face_and_neck(rng: np.random.Generator, at: tuple[Array, Array, Array]) -> Bools:
    z, y, x = at
    face = _ball(at, (0, -38, -60), (64 * float(rng.uniform(0.92, 1.05)), 64, 78))
    nose = _ball(at, (0, -96, -58), (14, 20, 24))
    wide = float(rng.uniform(50, 62))
    neck = ((x / wide) ** 2 + ((y - 12) / (0.95 * wide)) ** 2 < 1) & (z < -55)
    return np.asarray(face | nose | neck)


def _flesh(rng: np.random.Generator, body: Bools) -> NDArray[np.uint8]:
    """Return skin and fat on the outside, muscle with strands of fat inside."""
    depth = _far(~body)
    strands = np.abs(_rough(rng, body.shape, 11.0)) < 0.12
    stuff = np.where(body, np.uint8(Stuff.FLESH), np.uint8(Stuff.AIR))
    stuff[body & (strands & (depth > 8) | (depth > 1.5) & (depth < 6))] = Stuff.FAT
    return stuff


def _base(rng: np.random.Generator, at: tuple[Array, Array, Array], stuff: NDArray[np.uint8], far: Array) -> None:
    """Set the skull base with its marrow, and the cavities full of air, into the head."""
    z, y, x = at
    outside = far > 2
    for side in (-1, 1):
        petrous = _tube(at, (side * 22, 2, -36), (side * 58, 26, -42), 9)
        stuff[outside & petrous] = Stuff.BONE
        stuff[outside & _ball(at, (side * 52, 30, -52), (9, 9, 13))] = Stuff.AIR
        stuff[outside & _ball(at, (side * 30, -58, -62), (14, 16, 17))] = Stuff.AIR
        stuff[outside & _tube(at, (side * 12, -86, -8), (side * 20, -84, 2), 5)] = Stuff.AIR
        stuff[outside & _tube(at, (side * 46, -10, -105), (side * 10, -82, -118), 7)] = Stuff.BONE
    clivus = _tube(at, (0, -22, -34), (0, -8, -68), 10)
    stuff[outside & clivus] = Stuff.BONE
    stuff[outside & _tube(at, (0, -22, -36), (0, -9, -66), 7)] = Stuff.MARROW
    stuff[outside & _ball(at, (0, -38, -36), (12, 13, 9))] = Stuff.AIR
    nasal = _ball(at, (0, -70, -52), (12, 26, 24))
    stuff[outside & nasal] = Stuff.AIR
    stuff[outside & nasal & (np.sin((x + 0 * y + 0 * z) * 0.9 + float(rng.uniform(0, 6))) > 0.3)] = Stuff.LINING
    stuff[outside & _tube(at, (0, -30, -70), (0, -22, -160), 8)] = Stuff.AIR


def _eyes(at: tuple[Array, Array, Array], stuff: NDArray[np.uint8], far: Array) -> None:
    """Set orbits, eyes and optic nerves into the head; the nerves leave the brain through a hole in the bone."""
    for side in (-1, 1):
        orbit = _tube(at, (side * 32, -84, -28), (side * 18, -46, -26), 17)
        stuff[(far > 1) & orbit] = Stuff.BONE
        inner = _tube(at, (side * 33, -86, -28), (side * 18, -48, -26), 14.5)
        stuff[(far > 2.5) & inner] = Stuff.FAT
        for up in (-9, 9):
            stuff[_tube(at, (side * 33, -86, -28 + up), (side * 16, -50, -26), 2.5) & (far > 2.5)] = Stuff.FLESH
        stuff[_tube(at, (side * 33, -82, -28), (side * 6, -36, -24), 3.5) & (far > 0)] = Stuff.FLUID
        stuff[_tube(at, (side * 33, -82, -28), (side * 6, -36, -24), 2.2) & (far > 0)] = Stuff.NERVE
        stuff[_ball(at, (side * 34, -88, -28), (12.5, 12.5, 12.5)) & (far > 2)] = Stuff.LINING
        stuff[_ball(at, (side * 34, -88, -28), (11.5, 11.5, 11.5)) & (far > 2)] = Stuff.EYE


def _canal(at: tuple[Array, Array, Array], stuff: NDArray[np.uint8]) -> None:
    """Set vertebrae, the spinal canal and the cord below the brain's stem."""
    bottom: Point = (0, 22, -260)
    spine = _tube(at, (0, 8, -92), (0, 12, -260), 13)
    z = at[0]
    stuff[spine] = Stuff.MARROW
    stuff[spine & (np.abs((z + 92) % 18) < 4)] = Stuff.BONE
    stuff[_tube(at, (0, 16, -82), bottom, 13) & ~spine] = Stuff.BONE
    stuff[_tube(at, (0, 16, -60), bottom, 10)] = Stuff.FLUID
    stuff[_tube(at, (0, 15, -66), bottom, 5.5)] = Stuff.NERVE


def _defaced(at: tuple[Array, Array, Array], brain: Bools) -> Bools:
    """Return what defacing takes away: before a slanted plane through the front of the base, some mm off the brain."""
    z, y, _ = at
    near = _far(brain) < 6
    return np.asarray((z + 0.7 * (y + 60) < -12) & (y < -12) & ~near)


def _image(
    rng: np.random.Generator, name: str, inner: Array, brain: Bools, stuff: NDArray[np.uint8], dark_fat: bool
) -> Array:
    """Return one sequence of the head: as scanned, with noise in the air and a smooth field of brightness."""
    signal = inner - BASE_SIGNAL[name]
    white = float(np.percentile(signal[brain], 60))
    levels = np.array([rng.uniform(low, high) for low, high in LEVELS[name]], dtype=np.float32)
    if dark_fat:
        levels[[Stuff.FAT, Stuff.MARROW]] *= FAT_SUPPRESSED
    image = white * levels[stuff]
    image *= 1 + 0.1 * _rough(rng, image.shape, 8.0)
    image = np.where(brain, np.maximum(signal, 0.05 * white), blurred(image, 0.5))
    field = np.exp(np.float32(rng.uniform(0.05, 0.2)) * _rough(rng, image.shape, 90.0))
    noise = np.float32(0.03 * white)
    grain = rng.standard_normal((2, *image.shape), dtype=np.float32) * noise
    return np.asarray(np.hypot(image * field + grain[0], grain[1]), dtype=np.float32)
