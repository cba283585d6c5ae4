"""Thin curved things: vessels, ducts, Cooper's ligaments, spicules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.mammography_cad.phantom.grids import Array, Grid

_WIDTHS_MM = (0.25, 0.4, 0.65, 1.0, 1.6, 2.5)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A curve of constant width.

    Attributes
    ----------
    points : float [n, 2]
        (v, u) in mm along it.
    width_mm : float
        Full width at half maximum.
    dense_mm : float [n]
        What it adds at its middle, in mm of gland.
    """

    points: NDArray[np.float64]
    width_mm: float
    dense_mm: NDArray[np.float64]


def wandering(
    rng: np.random.Generator, start: tuple[float, float], angle: float, length_mm: float, bend: float
) -> NDArray[np.float64]:
    """Return a curve's places [n, 2], one a mm, from `start` (v, u) towards `angle` (0 along +u, turning to +v)."""
    n = max(4, int(length_mm))
    turns = ndimage.gaussian_filter1d(rng.standard_normal(n), min(12.0, n / 4)) * bend * 0.4
    angles = angle + np.cumsum(turns)
    steps = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.asarray(np.array(start) + np.cumsum(steps, axis=0))


def draw(dense: Array, grid: Grid, lines: Sequence[Line]) -> None:
    """Add the lines to `dense` (mm of gland on the grid), in place."""
    classes = np.array(_WIDTHS_MM)
    by_class: dict[int, list[Line]] = {}
    for line in lines:
        by_class.setdefault(int(np.argmin(np.abs(classes - line.width_mm))), []).append(line)
    for k, members in by_class.items():
        canvas = np.zeros(grid.shape, dtype=np.float32)
        for line in members:
            _splat(canvas, grid, line)
        if canvas.any():
            sigma = max(0.45, classes[k] / 2.355 / grid.step_mm)
            scale = classes[k] / 2.355 / grid.step_mm * np.sqrt(2 * np.pi)
            dense += ndimage.gaussian_filter(canvas, sigma, truncate=3) * np.float32(scale)


def _splat(canvas: Array, grid: Grid, line: Line) -> None:
    """Lay the line on the canvas with weight 1 a point of length, shared among the four nearest points."""
    reach = np.array([(grid.v_mm, grid.u_mm), (grid.v[-1, 0], grid.u[0, -1])])
    if (line.points.max(axis=0) < reach[0]).any() or (line.points.min(axis=0) > reach[1]).any():
        return
    n = len(line.points)
    length = float(np.linalg.norm(np.diff(line.points, axis=0), axis=1).sum()) / grid.step_mm
    m = max(2, int(2 * length))
    at = np.linspace(0, n - 1, m)
    v, u = (np.interp(at, np.arange(n), line.points[:, k]) for k in (0, 1))
    weight = np.interp(at, np.arange(n), line.dense_mm) * length / m
    j, i = (v - grid.v_mm) / grid.step_mm, (u - grid.u_mm) / grid.step_mm
    kept = (j >= 0) & (i >= 0) & (j < grid.shape[0] - 1) & (i < grid.shape[1] - 1)
    j, i, weight = j[kept], i[kept], weight[kept]
    low_j, low_i = j.astype(np.intp), i.astype(np.intp)
    fj, fi = j - low_j, i - low_i
    for dj, di, part in ((0, 0, (1 - fj) * (1 - fi)), (1, 0, fj * (1 - fi)), (0, 1, (1 - fj) * fi), (1, 1, fj * fi)):
        np.add.at(canvas, (low_j + dj, low_i + di), (weight * part).astype(np.float32))
