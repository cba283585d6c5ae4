"""Grids as SimpleITK images, and back: places stay what they are, both count in LPS mm."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name that its own manual gives it)
from numpy.typing import NDArray

from pacsai.volume import Grid


def to_itk(array: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """Return a SimpleITK image of an array [k, j, i] whose `affine` maps (i, j, k) to LPS mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def shrunk(image: Any, mm: float) -> Any:
    """Return the means of blocks that are about `mm` long; where voxels are longer already, they stay."""
    sizes = zip(image.GetSpacing(), image.GetSize(), strict=True)
    return sitk.BinShrink(image, [max(1, min(int(mm / step + 0.5), n)) for step, n in sizes])


def upright(grid: Grid, mm: float, *, margin_mm: float = 0.0) -> Grid:
    """Return the whole of a grid in voxels of `mm` along the world: k to the head, j to the back, i to the left.

    Smoothed by block means where it gets coarser; outside of the source lies its darkest value.
    """
    corners = grid.world_mm([[k, j, i] for k in _ends(grid, 0) for j in _ends(grid, 1) for i in _ends(grid, 2)])
    low, high = corners.min(axis=0) - margin_mm, corners.max(axis=0) + margin_mm
    shape = np.maximum(1, np.floor((high - low) / mm).astype(int) + 1)
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = low
    return onto(grid, affine, (int(shape[2]), int(shape[1]), int(shape[0])), outside=float(grid.array.min()))


def onto(
    grid: Grid, affine: NDArray[np.float64], shape_kji: tuple[int, int, int], *, outside: float = 0.0, order: int = 1
) -> Grid:
    """Return a grid's values on another grid: linear (order 1) or cubic (3), smoothed where that one is coarser."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    source = shrunk(to_itk(grid.array, grid.affine), float(spacing.min()))
    resample = sitk.ResampleImageFilter()
    resample.SetSize([int(n) for n in shape_kji[::-1]])
    resample.SetOutputSpacing(spacing.tolist())
    resample.SetOutputOrigin(affine[:3, 3].tolist())
    resample.SetOutputDirection((affine[:3, :3] / spacing).ravel().tolist())
    resample.SetInterpolator(sitk.sitkLinear if order == 1 else sitk.sitkBSpline)
    resample.SetDefaultPixelValue(outside)
    values = sitk.GetArrayFromImage(resample.Execute(source))
    return Grid(np.asarray(values, dtype=np.float32), affine)


def _ends(grid: Grid, axis: int) -> tuple[int, int]:
    return 0, grid.shape_kji[axis] - 1
