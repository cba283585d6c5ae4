"""Any orientation of a volume as the one that lungs and networks know: to the head, the back and the left."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacsai.finding import Mask


@dataclass(frozen=True, slots=True)
class Turn:
    """How array axes are reordered and reversed; undone by `back`.

    Attributes
    ----------
    axes : tuple of int
        The source's axis that runs along z, along y and along x.
    reversed_axes : tuple of bool
        Which of those three run against LPS in the source.
    """

    axes: tuple[int, int, int]
    reversed_axes: tuple[bool, bool, bool]

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a source array [k, j, i] with axes to the head, back and left; copied only where it must be."""
        return np.ascontiguousarray(array.transpose(self.axes)[self._steps])

    def spacing_mm(self, source_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the source's spacing in the order of the turned axes (z, y, x)."""
        z, y, x = (source_mm[axis] for axis in self.axes)
        return z, y, x

    def back(self, mask: NDArray[np.bool_], offset: tuple[int, int, int], source_kji: tuple[int, int, int]) -> Mask:
        """Return a crop of the turned grid as one of the source grid of shape `source_kji`."""
        shape = [source_kji[axis] for axis in self.axes]
        start = [
            n - first - size if against else first
            for n, first, size, against in zip(shape, offset, mask.shape, self.reversed_axes, strict=True)
        ]
        k, j, i = (start[self.axes.index(axis)] for axis in range(3))
        return Mask(np.ascontiguousarray(mask[self._steps].transpose(np.argsort(self.axes))), (k, j, i))

    @property
    def _steps(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(None, None, -1 if against else 1) for against in self.reversed_axes)
        return z, y, x


def turn_of(affine: NDArray[np.float64]) -> Turn:
    """Return the turn for an `affine` (4, 4) from (i, j, k, 1) to LPS mm; oblique axes go to the nearest."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    along = directions[::-1, ::-1]  # rows z, y, x; columns k, j, i
    z, y, x = max(permutations(range(3)), key=lambda axes: sum(abs(along[w, a]) for w, a in enumerate(axes)))
    return Turn((z, y, x), (bool(along[0, z] < 0), bool(along[1, y] < 0), bool(along[2, x] < 0)))
