"""What a judge is shown of a candidate, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipelines.mammography_cad.features import breast_features, mass_features, speck_features
from pipelines.mammography_cad.look import FINE_MM, MIDDLE_MM, SPECK_MM, Array, Look
from pipelines.mammography_cad.masses import MassCandidate
from pipelines.mammography_cad.net import FAR, NEAR, Judge
from pipelines.mammography_cad.specks import Specks

AROUND, LEAST = 3.6, 72
"""Side of the near square over the radius of a mass, that its border is seen all round; and least side, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a judge is shown.

    Attributes
    ----------
    near, far : float32 [2, NEAR, NEAR] and [2, FAR, FAR]
        The candidate in the middle: of a mass (grey, local contrast) as large as the square allows, and at 0.8 mm; of
        calcifications (contrast, specks) at 0.1 mm and (grey, specks) at 0.8 mm.
    features : float32 [n]
    """

    near: Array
    far: Array
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says: probabilities of a lesion and of cancer if it is one; of each word of each list."""

    lesion: float
    malignant: float
    words: Mapping[str, Mapping[str, float]]

    def word(self, name: str) -> str:
        """Return the likeliest word of a list."""
        return max(self.words[name], key=self.words[name].__getitem__)


def cut(image: Array, place: tuple[float, float], size: int) -> Array:
    """Return a square [..., size, size] about a place; 0 beside the image."""
    half = size // 2
    row, column = (round(p) - half for p in place)
    out = np.zeros((*image.shape[:-2], size, size), dtype=np.float32)
    top, left = max(0, row), max(0, column)
    part = image[..., top : max(top, row + size), left : max(left, column + size)]
    out[..., top - row : top - row + part.shape[-2], left - column : left - column + part.shape[-1]] = part
    return out


def show_masses(look: Look, candidates: Sequence[MassCandidate]) -> list[Shown]:
    """Return what the judge of masses is shown of the candidates of one view."""
    whole = breast_features(look)
    return [_shown(look, one, np.concatenate([mass_features(look, one), whole])) for one in candidates]


def _shown(look: Look, candidate: MassCandidate, features: NDArray[np.float32]) -> Shown:
    fine = (2 * candidate.place[0] + 0.5, 2 * candidate.place[1] + 0.5)
    wide = cut(look.middle, candidate.place, 2 * FAR)
    far = wide.reshape(2, FAR, 2, FAR, 2).mean(axis=(2, 4))
    near = _fitted(look.fine, fine, candidate.radius_mm)
    return Shown(near, np.asarray(far, dtype=np.float32), features)


def _fitted(image: Array, place: tuple[float, float], radius_mm: float) -> Array:
    """Return a square [2, NEAR, NEAR] about a place of the fine grid, in which masses of all sizes are as large."""
    size = 2 * round(max(LEAST, AROUND * radius_mm / FINE_MM) / 2)
    square = cut(image, place, size)
    if size == NEAR:
        return square
    tensor = functional.interpolate(torch.from_numpy(square)[None], NEAR, mode="bilinear", antialias=True)
    return np.asarray(tensor[0].numpy(), dtype=np.float32)


def show_specks(
    contrast: Array, grey: Array, specks: Specks, group: Specks, nipple: tuple[float, float] | None
) -> Shown:
    """Return what the judge of calcifications is shown.

    Parameters
    ----------
    contrast : float32 [j, i]
        `speck_contrast` at 0.1 mm.
    grey : float32 [j, i]
        Grey at 0.4 mm.
    specks, group : Specks
        All of the view, and those of the group.
    nipple : (row, column) or None
        In pixels of 0.1 mm.
    """
    middle = _thickest(group)
    row, column = middle
    off = np.round(specks.places - [row, column]).astype(np.intp)
    near = np.zeros((2, NEAR, NEAR), dtype=np.float32)
    near[0] = cut(contrast, middle, NEAR) / 5
    _dot(near[1], off + NEAR // 2, specks.scores)
    coarse = (row * SPECK_MM / MIDDLE_MM, column * SPECK_MM / MIDDLE_MM)
    far = np.zeros((2, FAR, FAR), dtype=np.float32)
    far[0] = cut(grey, coarse, 2 * FAR).reshape(FAR, 2, FAR, 2).mean(axis=(1, 3))
    step = 2 * MIDDLE_MM / SPECK_MM
    middle_of_all = group.places.mean(axis=0)
    _dot(far[1], np.floor((specks.places - middle_of_all) / step).astype(np.intp) + FAR // 2, specks.scores)
    return Shown(near, far, speck_features(group, nipple))


def _thickest(group: Specks) -> tuple[float, float]:
    """Return the speck that has most others within 5 mm."""
    gaps = group.places[:, None] - group.places[None]
    near = (np.hypot(gaps[..., 0], gaps[..., 1]) < 5 / SPECK_MM).sum(axis=1)
    row, column = group.places[int(near.argmax())]
    return float(row), float(column)


def _dot(image: Array, places: NDArray[np.intp], scores: NDArray[np.float64]) -> None:
    """Write scores at places, those beside the image left out."""
    inside = ((places >= 0) & (places < image.shape)).all(axis=1)
    np.maximum.at(image, (places[inside, 0], places[inside, 1]), scores[inside].astype(np.float32))


def judge(network: Judge, shown: Sequence[Shown]) -> tuple[Opinion, ...]:
    """Return the judge's opinion of each candidate: the mean of what it says of it, turned and mirrored."""
    if not shown:
        return ()
    near, far, features = (
        torch.from_numpy(np.stack([getattr(one, name) for one in shown])) for name in ("near", "far", "features")
    )
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        said = [network(a, b, features).float() for a, b in zip(_all_ways(near), _all_ways(far), strict=True)]
    return tuple(_opinion(network, row) for row in torch.stack(said).mean(dim=0))


def _all_ways(images: Tensor) -> Iterator[Tensor]:
    """Yield images [..., j, i] turned by each multiple of 90 degrees, as they are and mirrored."""
    for turns in range(4):
        turned = torch.rot90(images, turns, (-2, -1))
        yield turned
        yield turned.flip(-1)


def _opinion(network: Judge, row: Tensor) -> Opinion:
    lesion, malignant = (float(x) for x in torch.sigmoid(row[:2]))
    words, first = {}, 2
    for name, names in network.words.items():
        shares = torch.softmax(row[first : first + len(names)], dim=0).tolist()
        words[name] = dict(zip(names, shares, strict=True))
        first += len(names)
    return Opinion(lesion, malignant, words)
