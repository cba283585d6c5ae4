"""Trees of tubes: arteries, veins and bronchi that fill a lung, and how tubes are drawn on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Tubes:
    """Straight pieces of tube.

    Attributes
    ----------
    start, end : float (n, 3)
        Axis ends (z, y, x), millimetres.
    radius : float (n,)
        Millimetres.
    """

    start: Points
    end: Points
    radius: NDArray[np.float64]

    def thicker_than(self, radius_mm: float) -> Tubes:
        """Return the pieces of larger radius."""
        keep = self.radius > radius_mm
        return Tubes(self.start[keep], self.end[keep], self.radius[keep])

    def moved(self, offset: Points, scale: float, extra_mm: float = 0.0) -> Tubes:
        """Return the pieces shifted by `offset` radii (z, y, x), their radius times `scale` plus `extra_mm`."""
        shift = self.radius[:, None] * offset[None, :]
        return Tubes(self.start + shift, self.end + shift, self.radius * scale + extra_mm)


def joined(parts: list[Tubes]) -> Tubes:
    """Return all pieces of `parts` as one."""
    return Tubes(
        np.concatenate([p.start for p in parts]),
        np.concatenate([p.end for p in parts]),
        np.concatenate([p.radius for p in parts]),
    )


def path(points: list[tuple[float, float, float]], radius_mm: float) -> Tubes:
    """Return one tube through `points` (z, y, x)."""
    line = np.array(points, dtype=np.float64)
    return Tubes(line[:-1], line[1:], np.full(len(line) - 1, radius_mm))


def tree(rng: np.random.Generator, root: Points, leaves: Points, leaf_radius_mm: float) -> Tubes:
    """Return a tree from `root` that reaches every one of `leaves` (n, 3).

    A branch runs part of the way to the middle of the leaves it feeds, then splits them in two across their
    longest direction. Radii follow Murray's law: the cubes of the daughters' radii add up to the parent's.
    """
    pieces: list[tuple[Points, Points, float]] = []
    stack = [(root, leaves)]
    while stack:
        start, fed = stack.pop()
        radius = leaf_radius_mm * len(fed) ** (1 / 3)
        if len(fed) == 1:
            pieces.extend(_bent(rng, start, fed[0], radius))
            continue
        end = start + rng.uniform(0.35, 0.6) * (fed.mean(axis=0) - start)
        pieces.extend(_bent(rng, start, end, radius))
        stack.extend((end, part) for part in _halves(rng, fed))
    starts, ends, radii = zip(*pieces, strict=True)
    return Tubes(np.array(starts), np.array(ends), np.array(radii))


def _bent(rng: np.random.Generator, start: Points, end: Points, radius: float) -> list[tuple[Points, Points, float]]:
    """Return a branch as two pieces with a slight bend between them."""
    length = float(np.linalg.norm(end - start))
    middle = (start + end) / 2 + rng.normal(0.0, 0.06 * length + 0.05, 3)
    return [(start, middle, radius), (middle, end, radius * 0.96)]


def _halves(rng: np.random.Generator, points: Points) -> tuple[Points, Points]:
    """Return `points` in two parts, cut across their longest direction, rarely in equal halves."""
    centred = points - points.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(centred @ direction, kind="stable")
    cut = int(np.clip(round(len(points) * rng.uniform(0.3, 0.7)), 1, len(points) - 1))
    return points[order[:cut]], points[order[cut:]]


def draw(coverage: Array, tubes: Tubes, spacing_mm: float) -> None:
    """Raise `coverage` (float32 [k, j, i], 0 to 1) to the share of each voxel that `tubes` fill.

    Tubes thinner than a voxel fill it in part, so a vessel fades as it tapers.
    """
    for start, end, radius in zip(
        tubes.start / spacing_mm, tubes.end / spacing_mm, tubes.radius / spacing_mm, strict=True
    ):
        _draw_piece(coverage, start, end, float(radius))


def _draw_piece(coverage: Array, start: Points, end: Points, radius: float) -> None:
    drawn = max(radius, 0.5)
    low = np.maximum(np.floor(np.minimum(start, end) - drawn - 1).astype(int), 0)
    high = np.minimum(np.ceil(np.maximum(start, end) + drawn + 2).astype(int), coverage.shape)
    if (high <= low).any():
        return
    z, y, x = (np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True))
    z, y, x = z[:, None, None] - np.float32(start[0]), y[None, :, None] - np.float32(start[1]), x - np.float32(start[2])
    axis = (end - start).astype(np.float32)
    along = (z * axis[0] + y * axis[1] + x * axis[2]) / max(float(axis @ axis), 1e-6)
    np.clip(along, 0, 1, out=along)
    gap = (z - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (x - along * axis[2]) ** 2
    share = np.clip(drawn + 0.5 - np.sqrt(gap), 0, 1) * np.float32(min(1.0, (radius / 0.56) ** 2))
    box = coverage[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    np.maximum(box, share, out=box)
