"""Training examples of each network, cut out of ready views and windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.mammography_cad.examples import Example, Known
from pipelines.mammography_cad.judging import Shown
from pipelines.mammography_cad.learning import turned
from pipelines.mammography_cad.look import Array
from pipelines.mammography_cad.ready import Ready

CROP, SPECK_CROP = 192, 256
REAL_SHARE = 0.2
"""How often a crop comes from a real mammogram."""
SEEN = 2.0
"""`speck_contrast` from which on a calcification can be seen at all; fainter ones are neither right nor wrong."""


@dataclass(eq=False)
class Place:
    """A view that crops are cut from: (grey, local contrast), extents of lesions, and where to look.

    Attributes
    ----------
    wanted, hard : list of (row, column)
        Middles of the lesions; places, all without lesion, where the network saw one.
    """

    name: str
    image: NDArray[np.float16]
    index: NDArray[np.uint8]
    known: tuple[Known, ...]
    real: bool
    hard: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, ready: Ready, *, real: bool) -> Place:
        """Return what is cut from of a view; calcifications are no lesions here."""
        kept = [n for n, one in enumerate(ready.known, start=1) if one.kind != "calcifications"]
        renamed = np.zeros(len(ready.known) + 1, dtype=np.uint8)
        renamed[kept] = np.arange(1, len(kept) + 1)
        known = tuple(ready.known[n - 1] for n in kept)
        return cls(ready.name, ready.look.middle.astype(np.float16), renamed[ready.index], known, real)


@dataclass(frozen=True, slots=True, eq=False)
class MassCrops:
    """Crops of 77 mm about lesions, hard places and any place, for the finder of masses."""

    places: Sequence[Place]

    def __call__(self, rng: np.random.Generator) -> tuple[tuple[Array, ...], Array]:
        """Return (grey, local contrast) [2, CROP, CROP] and the extent of lesions on half the grid."""
        want_real = rng.random() < REAL_SHARE
        pool = [p for p in self.places if p.real == want_real] or self.places
        place = pool[int(rng.integers(len(pool)))]
        zoom = float(rng.uniform(0.8, 1.25)) if rng.random() < 0.5 else 1.0
        size = 2 * round(CROP * zoom / 2)
        corner = np.round(_middle(rng, place) - size / 2).astype(np.intp)
        image, index = (_cut(np.asarray(x), corner, size) for x in (place.image, place.index))
        target = (index.reshape(size // 2, 2, size // 2, 2).max(axis=(1, 3)) > 0).astype(np.float32)[None]
        if size != CROP:
            image, target = (ndimage.zoom(x, (1, CROP / size, CROP / size), order=1) for x in (image, target))
        image, target = turned(rng, _varied(rng, image), target)
        return (image,), np.ascontiguousarray(target)


def _middle(rng: np.random.Generator, place: Place) -> NDArray[np.float64]:
    """Return the middle of a crop."""
    jitter = rng.uniform(-0.35, 0.35, 2) * CROP
    draw = rng.random()
    if place.known and draw < 0.6:
        return np.array(place.known[int(rng.integers(len(place.known)))].centre) + jitter
    if place.hard and draw < 0.85:
        return np.array(place.hard[int(rng.integers(len(place.hard)))]) + jitter
    return rng.uniform(0.1, 0.9, 2) * place.index.shape


def _cut(image: NDArray[np.generic], corner: NDArray[np.intp], size: int) -> Array:
    out = np.zeros((*image.shape[:-2], size, size), dtype=np.float32)
    top, left = (max(0, int(c)) for c in corner)
    bottom, right = (max(0, int(c)) for c in corner + size)
    part = image[..., top:bottom, left:right]
    row, column = top - int(corner[0]), left - int(corner[1])
    out[..., row : row + part.shape[-2], column : column + part.shape[-1]] = part
    return out


def _varied(rng: np.random.Generator, image: Array) -> Array:
    """Return (grey, contrast) as another machine might give it."""
    grey, local = image
    if rng.random() < 0.4:
        grey, local = (ndimage.gaussian_filter(x, rng.uniform(0.3, 1.2)) for x in (grey, local))
    grey = np.sign(grey) * np.abs(grey) ** rng.uniform(0.7, 1.4) * rng.uniform(0.8, 1.25) + rng.normal(0, 0.05)
    local = local * rng.uniform(0.75, 1.35)
    noise = rng.normal(0, rng.uniform(0, 0.12), image.shape) if rng.random() < 0.5 else 0.0
    return np.asarray(np.stack([grey * (image[0] != 0), local]) + noise, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SpeckCrops:
    """Crops of 26 mm for the finder of single calcifications: (contrast [j, i], specks) of each window."""

    windows: Sequence[tuple[NDArray[np.float16], NDArray[np.float32]]]

    def __call__(self, rng: np.random.Generator) -> tuple[tuple[Array, ...], Array]:
        """Return contrast [1, SPECK_CROP, SPECK_CROP] and (speck, weight) on half the grid."""
        contrast, specks = self.windows[int(rng.integers(len(self.windows)))]
        high = np.array(contrast.shape) - SPECK_CROP
        corner = rng.integers(0, high + 1)
        if len(specks) and rng.random() < 0.7:
            at = specks[int(rng.integers(len(specks))), :2] - SPECK_CROP / 2 + rng.uniform(-0.4, 0.4, 2) * SPECK_CROP
            corner = np.clip(np.round(at), 0, high).astype(np.int64)
        image = _cut(contrast, corner.astype(np.intp), SPECK_CROP)
        target = _speck_target(image, specks[:, :3] - [*corner, 0])
        image = image * np.float32(rng.uniform(0.8, 1.25))
        if rng.random() < 0.3:
            image = ndimage.gaussian_filter(image, rng.uniform(0.3, 0.7))
        if rng.random() < 0.4:
            image = image + rng.normal(0, rng.uniform(0.1, 0.6), image.shape).astype(np.float32)
        image, target = turned(rng, image[None].astype(np.float32), target)
        return (image,), target


def _speck_target(image: Array, specks: NDArray[np.float32]) -> Array:
    """Return (speck, weight): a small disk on each, those that cannot be seen left out."""
    half = SPECK_CROP // 2
    target = np.zeros((2, half, half), dtype=np.float32)
    target[1] = 1
    for row, column, size in specks:
        if not (2 <= row < SPECK_CROP - 2 and 2 <= column < SPECK_CROP - 2):
            continue
        j, i = int(row / 2), int(column / 2)
        box = (slice(max(0, j - 4), j + 5), slice(max(0, i - 4), i + 5))
        seen = image[int(row) - 1 : int(row) + 3, int(column) - 1 : int(column) + 3].max() > SEEN
        v, u = np.mgrid[box[0].start : min(half, j + 5), box[1].start : min(half, i + 5)]
        far = np.hypot(2 * v + 0.5 - row, 2 * u + 0.5 - column)
        sigma = max(1.3, 0.4 * float(size))
        if seen:
            target[0][box] = np.maximum(target[0][box], np.exp(-((far / sigma) ** 2) / 2))
        else:
            target[1][box] *= far > 4
    return target


def window_of(example: Example, contrast: Array) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Return what crops are cut from of a window."""
    return contrast.astype(np.float16), example.specks


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate with its truth: `target` is lesion, malignant, then the place of each word; -1 where not known."""

    near: NDArray[np.float16]
    far: NDArray[np.float16]
    features: NDArray[np.float32]
    target: NDArray[np.float32]
    real: bool

    @classmethod
    def of(cls, shown: Shown, target: NDArray[np.float32], *, real: bool) -> Judged:
        """Return a candidate in half precision."""
        return cls(shown.near.astype(np.float16), shown.far.astype(np.float16), shown.features, target, real)


def save_judged(rows: Sequence[Judged], path: Path) -> None:
    """Write candidates."""
    near, far, features, target, real = (np.array([getattr(one, name) for one in rows]) for name in Judged.__slots__)
    np.savez(path, near=near, far=far, features=features, target=target, real=real)


def read_judged(path: Path) -> list[Judged]:
    """Return the candidates that `save_judged` wrote."""
    with np.load(path) as file:
        columns = [file[name] for name in Judged.__slots__]
    return [
        Judged(near, far, features, target, bool(real))
        for near, far, features, target, real in zip(*columns, strict=True)
    ]


def target_of(known: Known | None, lists: Mapping[str, tuple[str, ...]], *, told: bool = True) -> NDArray[np.float32]:
    """Return the target of a candidate on the lesion `known`, or on none; `told`: its words are known too."""
    target = np.full(2 + len(lists), -1, dtype=np.float32)
    target[0] = known is not None
    if known is None:
        return target
    target[1] = known.malignant
    if not told:
        return target
    for place, (name, words) in enumerate(lists.items(), start=2):
        word = getattr(known, name)
        target[place] = words.index(word) if word in words else -1
    return target


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidates for a judge, lesions and hard negatives in a fixed share."""

    positive: Sequence[Judged]
    negative: Sequence[Judged]
    share: float = 0.6

    def __call__(self, rng: np.random.Generator) -> tuple[tuple[Array, ...], Array]:
        """Return (near, far, features) and the target."""
        pool = self.positive if rng.random() < self.share and self.positive else self.negative or self.positive
        real = [one for one in pool if one.real]
        if real and rng.random() < 0.12:
            pool = real
        one = pool[int(rng.integers(len(pool)))]
        near, far = (x.astype(np.float32) for x in (one.near, one.far))
        shift = rng.integers(-4, 5, 2)
        near = np.roll(near, shift, axis=(1, 2))
        far = np.roll(far, shift // 4, axis=(1, 2))
        near, far = near * np.float32(rng.uniform(0.8, 1.25)), far * np.float32(rng.uniform(0.85, 1.2))
        if rng.random() < 0.3:
            near = ndimage.gaussian_filter(near, (0, *2 * (float(rng.uniform(0.3, 0.8)),))).astype(np.float32)
        near = near + rng.normal(0, rng.uniform(0, 0.06), near.shape).astype(np.float32)
        (near,), (far,) = turned(rng, near), turned(rng, far)
        features = one.features + rng.normal(0, 0.03, one.features.shape).astype(np.float32)
        return (near, far, features.astype(np.float32)), one.target
