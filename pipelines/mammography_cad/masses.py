"""Candidates for masses, distortions and asymmetries: the first network over the whole image at 0.4 mm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from pipelines.mammography_cad.look import MIDDLE_MM, Array, Look
from pipelines.mammography_cad.net import Finder

ANGLES = 32
REACH_MM = 30.0
APART_MM = 6.0
FLOOR = 0.04
"""Least probability of a candidate."""
MOST = 10
"""Candidates of one view at most."""
MIRRORS = ((), (2,), (3,), (2, 3))
"""The axes of [image, channel, j, i] along which an image is mirrored."""


@dataclass(frozen=True, slots=True, eq=False)
class MassCandidate:
    """A place that may be a lesion, on the middle grid (0.4 mm).

    Attributes
    ----------
    place : (row, column)
    score : float
        0 to 1, the first network's.
    radii_mm : float [ANGLES]
        How far it reaches, from 0 along the columns turning to the rows.
    """

    place: tuple[float, float]
    score: float
    radii_mm: NDArray[np.float64]

    @property
    def radius_mm(self) -> float:
        """Return the radius of a circle of the same area."""
        return float(np.sqrt(np.mean(self.radii_mm**2)))

    @property
    def outline(self) -> NDArray[np.float64]:
        """Return the corners (row, column) of its outline, [ANGLES, 2]."""
        theta = 2 * np.pi * np.arange(ANGLES) / ANGLES
        ways = np.stack([np.sin(theta), np.cos(theta)], axis=1)
        return np.asarray(self.place + ways * self.radii_mm[:, None] / MIDDLE_MM)

    @property
    def axes_mm(self) -> tuple[float, float]:
        """Return the longest diameter, and the extent at right angles to it."""
        corners = self.outline * MIDDLE_MM
        gaps = corners[:, None] - corners[None]
        far = np.hypot(gaps[..., 0], gaps[..., 1])
        a, b = np.unravel_index(int(far.argmax()), far.shape)
        way = gaps[a, b] / max(float(far[a, b]), 1e-6)
        across = corners @ np.array([way[1], -way[0]])
        return float(far.max()), float(np.ptp(across))


def find_masses(look: Look, finder: Finder, *, floor: float = FLOOR) -> tuple[MassCandidate, ...]:
    """Return the candidates of one view, most probable first."""
    return tuple(peaks(answer(look, finder), floor))


def answer(look: Look, finder: Finder) -> Array:
    """Return how probably each pixel is part of a lesion, float32 [j, i] at 0.8 mm.

    It is the mean of what the network says of the image and of its mirror images.
    """
    _, rows, columns = look.middle.shape
    unit = finder.multiple
    image = torch.from_numpy(look.middle)[None]
    image = functional.pad(image, (0, -columns % unit, 0, -rows % unit))
    mirrored = torch.cat([image.flip(ways) for ways in MIRRORS])
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = finder(mirrored.to(memory_format=torch.channels_last))
    shares = torch.sigmoid(logits.float())[:, 0]
    back = [one.flip(tuple(way - 2 for way in ways)) for one, ways in zip(shares, MIRRORS, strict=True)]
    found = torch.stack(back).mean(dim=0)[: (rows + 1) // 2, : (columns + 1) // 2].numpy()
    inside = ndimage.binary_dilation(look.breast, iterations=2)[::2, ::2]
    return np.asarray(found * inside, dtype=np.float32)


def peaks(extent: Array, floor: float) -> list[MassCandidate]:
    """Return the peaks of the answer as candidates, most probable first."""
    smooth = ndimage.gaussian_filter(extent, 1.5)
    height = smooth + 0.25 * ndimage.gaussian_filter(extent, 4.0)  # within a large lesion its middle is highest
    size = 2 * round(APART_MM / (2 * MIDDLE_MM)) + 1
    top = (height == ndimage.maximum_filter(height, size=size)) & (smooth > floor)
    places = np.argwhere(top)
    scores = smooth[top]
    order = np.argsort(-scores)[:MOST]
    return [_candidate((int(places[k, 0]), int(places[k, 1])), float(scores[k]), extent) for k in order]


def _candidate(place: tuple[int, int], score: float, extent: Array) -> MassCandidate:
    """Return the candidate at a place of the answer's grid; its reach is where the extent falls below half."""
    level = 0.5 * float(extent[place])
    steps = np.arange(1, math.ceil(REACH_MM / (2 * MIDDLE_MM)))
    theta = 2 * np.pi * np.arange(ANGLES) / ANGLES
    rows = place[0] + np.sin(theta)[:, None] * steps
    columns = place[1] + np.cos(theta)[:, None] * steps
    values = ndimage.map_coordinates(extent, [rows, columns], order=1, mode="constant")
    below = values < max(level, 0.1)
    reach = np.where(below.any(axis=1), below.argmax(axis=1) + 0.5, len(steps))
    radii = ndimage.gaussian_filter1d(reach.astype(np.float64), 0.8, mode="wrap") * 2 * MIDDLE_MM
    return MassCandidate((2 * place[0] + 0.5, 2 * place[1] + 0.5), score, np.maximum(radii, 1.5))
