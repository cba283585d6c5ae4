r"""From the pixels of a mask to the outlines that viewers draw.

Every outline is in the PIXEL coordinates of PS3.3 C.10.5, which GSPS graphics and SCOORD share: 0.0\0.0 is the top
left corner of the top left pixel, Columns\Rows the bottom right corner of the last one, and a pixel's centre lies at
its index + 0.5. Outlines run along pixel edges, so filling one gives the mask back. Knows nothing of DICOM objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vertex = tuple[int, int]
Step = tuple[int, int]

_RIGHT_TURN: dict[Step, Step] = {(1, 0): (0, 1), (0, 1): (-1, 0), (-1, 0): (0, -1), (0, -1): (1, 0)}


def outlines(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """Trace the outer outline of each piece of a mask.

    Pieces hang together through pixel sides; two that touch at a corner are two pieces. Holes are left out.

    Parameters
    ----------
    mask : bool [j, i]
        One slice: rows, columns.

    Returns
    -------
    tuple of float64 (n, 2)
        Closed polygons, first point repeated at the end, as (column, row); the largest area first.
    """
    steps = _boundary_steps(mask)
    loops = []
    while steps:
        loops.append(_walk(steps))
    outer = [loop for loop in loops if area(loop) > 0]
    return tuple(sorted(outer, key=area, reverse=True))


def area(outline: NDArray[np.float64]) -> float:
    """Return the area in pixels of a closed polygon; negative where it runs round a hole."""
    x, y = outline[:, 0], outline[:, 1]
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def largest_section(mask: NDArray[np.bool_]) -> int:
    """Return the slice of `mask` [k, j, i] that holds the most voxels; the first of several."""
    return int(np.argmax(mask.sum(axis=(1, 2))))


def _boundary_steps(mask: NDArray[np.bool_]) -> dict[Vertex, list[Step]]:
    """Return, for each corner of the pixel grid, the steps that leave it with the mask at their right hand."""
    padded = np.pad(np.asarray(mask, dtype=np.bool_), 1)
    inner = padded[1:-1, 1:-1]
    sides = (
        (inner & ~padded[:-2, 1:-1], (0, 0), (1, 0)),
        (inner & ~padded[1:-1, 2:], (1, 0), (0, 1)),
        (inner & ~padded[2:, 1:-1], (1, 1), (-1, 0)),
        (inner & ~padded[1:-1, :-2], (0, 1), (0, -1)),
    )
    steps: dict[Vertex, list[Step]] = {}
    for side, (dx, dy), step in sides:
        for row, column in np.argwhere(side).tolist():
            steps.setdefault((column + dx, row + dy), []).append(step)
    return steps


def _walk(steps: dict[Vertex, list[Step]]) -> NDArray[np.float64]:
    """Follow the boundary from any corner back to it, using up its steps, and return where it turns."""
    start = next(iter(steps))
    corner, step = start, steps[start][0]
    path = [corner]
    while True:
        _use_up(steps, corner, step)
        corner = (corner[0] + step[0], corner[1] + step[1])
        path.append(corner)
        ways = steps.get(corner)
        if not ways or (corner == start and _RIGHT_TURN[step] not in ways):
            return _turns(np.array(path, dtype=np.float64))
        step = _RIGHT_TURN[step] if _RIGHT_TURN[step] in ways else ways[0]


def _use_up(steps: dict[Vertex, list[Step]], corner: Vertex, step: Step) -> None:
    ways = steps[corner]
    ways.remove(step)
    if not ways:
        del steps[corner]


def _turns(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the corners that a closed path runs straight through."""
    legs = np.diff(path, axis=0)
    bends = np.any(legs != np.roll(legs, 1, axis=0), axis=1)
    kept = path[:-1][bends]
    return np.concatenate([kept, kept[:1]])
