"""Volume: voxels with their place in the world. The one door to geometry and voxels for the rest of the node.

Where slices lie is judged in stack.py, how voxels are stored is pixels.py's; both speak through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pacsai.study import Instance
from pacsai.volume.pixels import PixelError, check_size, read_into
from pacsai.volume.plane import GeometryError
from pacsai.volume.stack import Geometry, geometry, spacing_of

__all__ = ["Geometry", "GeometryError", "Grid", "PixelError", "Volume", "geometry", "read_volume"]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Values on a regular grid in the world.

    Attributes
    ----------
    array : float32 [k, j, i]
        Slices, rows, columns.
    affine : float64 (4, 4)
        Maps the homogeneous column (i, j, k, 1) to LPS mm (x, y, z, 1): columns are the steps along i, j, k, and the
        place of the first voxel's centre.
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """Return the number of slices, rows and columns."""
        k, j, i = self.array.shape
        return k, j, i

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the distance between neighbouring voxel centres (z, y, x): along k, j and i."""
        return spacing_of(self.affine)

    def world_mm(self, kji: ArrayLike) -> NDArray[np.float64]:
        """Return the places (..., 3) as (x, y, z) of the indices (..., 3) as (k, j, i); whole numbers are centres."""
        indices = np.asarray(kji, dtype=np.float64)[..., ::-1]
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index_kji(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Return the fractional indices (..., 3) as (k, j, i) of the places (..., 3) as (x, y, z) in mm."""
        places = np.asarray(xyz, dtype=np.float64) - self.affine[:3, 3]
        return (places @ np.linalg.inv(self.affine[:3, :3]).T)[..., ::-1]

    def resampled(self, spacing_mm: tuple[float, float, float]) -> Grid:
        """Return the grid over the same outer bounds at `spacing_mm` (z, y, x), linear between voxels.

        The number of voxels is rounded, so the last ones may reach a little over the edge, where the edge's value
        goes on. Not filtered before: smooth first when making much coarser.
        """
        scale = np.array(spacing_mm) / np.array(self.spacing_mm)
        shape = tuple(max(1, round(n / s)) for n, s in zip(self.shape_kji, scale, strict=True))
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * scale[::-1]
        affine[:3, 3] = self.world_mm((scale - 1) / 2)
        return Grid(_onto(self.array, self.affine, affine, shape, order=1, mode="nearest"), affine)

    def pasted(self, mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return a mask that lies on another grid (its `affine`) on this one: bool [k, j, i], nearest neighbour."""
        return _onto(mask.astype(np.uint8), affine, self.affine, self.shape_kji, order=0, mode="grid-constant") > 0


@dataclass(frozen=True, slots=True, eq=False)
class Volume(Grid):
    """The voxels of a series, in modality units after rescale (HU for CT).

    Attributes
    ----------
    frame_of_reference_uid : str
        The frame that `affine` refers to.
    source : tuple of Instance
        The instance of each slice, source[k]; for an enhanced multi-frame object the one instance, once.
    """

    frame_of_reference_uid: str
    source: tuple[Instance, ...]


def read_volume(instances: Sequence[Instance], *, allow_single: bool = False) -> Volume:
    """Return the voxels of `instances`, sorted along the normal of the image planes.

    See `stack.geometry` for what makes a volume and `pixels.read_into` for what becomes of padding, bits and rescale.
    Voxels are held once, as float32.

    Raises
    ------
    GeometryError
        The images do not lie on one regular grid.
    PixelError
        The images are larger than the bounds in force; one cannot be decoded, is cut short, or says no Hounsfield
        units (CT without rescale).
    """
    place = geometry(instances, allow_single=allow_single)
    check_size(place.order)
    array = np.empty(place.shape_kji, dtype=np.float32)
    if len(place.order) == 1:
        read_into(place.order[0], place.frames, array)
    else:
        for k, instance in enumerate(place.order):
            read_into(instance, (place.frames[k],), array[k : k + 1])
    return Volume(array, place.affine, place.frame_of_reference_uid, place.order)


def _onto(
    values: NDArray[Any],
    affine: NDArray[np.float64],
    target: NDArray[np.float64],
    shape_kji: tuple[int, ...],
    *,
    order: int,
    mode: str,
) -> NDArray[Any]:
    """Return `values` of the grid `affine`, sampled on the grid `target` of `shape_kji`."""
    to_values = (np.linalg.inv(affine) @ target)[:3]
    matrix = to_values[::-1, 2::-1]
    sampled: NDArray[Any] = ndimage.affine_transform(
        values, matrix, offset=to_values[::-1, 3], output_shape=shape_kji, order=order, mode=mode
    )
    return sampled
