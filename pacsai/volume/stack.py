"""Where slices lie: from headers to one regular grid in the world, or the reason why there is none.

Headers only; voxels are read by pixels.py and put together by the package. A grid is never repaired: what is missing,
doubled, tilted or uneven is refused in words for the person who can act (PS3.3 C.7.6.2 Image Plane Module).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacsai.study import Instance
from pacsai.volume.plane import GeometryError, Plane, planes

SPACING_TOLERANCE = 0.01
"""How far a slice may lie from its place on the regular grid, as a part of the spacing."""
POSITION_TOLERANCE_MM = 0.01
"""The same in millimetres, where that is more: positions are decimal strings, often cut to two digits."""
ORIENTATION_TOLERANCE = 1e-3
TILT_LIMIT_DEGREES = 0.1
MAX_VOXELS = 2**29
"""Largest volume that is read: 2 GiB as float32; a chest CT of 300 slices of 512 x 512 is a seventh of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """One regular grid of slices.

    Attributes
    ----------
    order : tuple of Instance
        The instance of each slice, along the normal; for an enhanced multi-frame object the one instance, once.
    frames : tuple of int
        The frame (from 0) that each slice has in its instance.
    affine : float64 (4, 4)
        Maps (i, j, k, 1) to LPS mm: column steps along i, row steps along j, slice steps along k. Voxel centres.
    shape_kji : tuple of int
        Slices, rows, columns.
    """

    order: tuple[Instance, ...]
    frames: tuple[int, ...]
    affine: NDArray[np.float64]
    shape_kji: tuple[int, int, int]
    frame_of_reference_uid: str

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the distance between neighbouring voxel centres (z, y, x): along k, j and i."""
        return spacing_of(self.affine)

    def instance(self, k: int) -> Instance:
        """Return the instance that holds slice `k`."""
        return self.order[k] if len(self.order) > 1 else self.order[0]


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the voxel spacing (z, y, x) in mm of an affine whose columns are the steps along i, j, k."""
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return k, j, i


def geometry(instances: Sequence[Instance], *, allow_single: bool = False) -> Geometry:
    """Return the grid that `instances` lie on, in order along the normal of their image planes.

    The normal is the cross product of row and column direction, whatever InstanceNumber says; a tilted gantry shows in
    the positions, whatever GantryDetectorTilt says.

    Parameters
    ----------
    instances : sequence of Instance
        Single-frame images of one series, or one enhanced multi-frame image.
    allow_single : bool
        Take a single slice as a volume, its thickness as the spacing (for a trial only).

    Raises
    ------
    GeometryError
        No position, mixed orientation, matrix, pixel spacing or frame of reference, doubled, missing or unevenly
        spaced slices, a tilted gantry, a single slice, or more than `MAX_VOXELS`.
    """
    found = planes(instances)
    _check_one_kind(found)
    first = found[0]
    shape = (len(found), first.rows, first.columns)
    if np.prod(shape, dtype=float) > MAX_VOXELS:
        raise GeometryError(f"{len(found)} slices of {first.rows} x {first.columns} are more than this node reads")
    normal = first.normal
    ordered = sorted(found, key=lambda plane: float(plane.position_mm @ normal))
    step = _single_step(first) if len(ordered) == 1 and allow_single else _step(ordered, normal)
    order = tuple(plane.instance for plane in ordered)
    one_object = len({instance.sop_instance_uid for instance in order}) == 1
    return Geometry(
        order=order[:1] if one_object else order,
        frames=tuple(plane.frame for plane in ordered),
        affine=_affine(ordered[0], step),
        shape_kji=shape,
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _check_one_kind(found: Sequence[Plane]) -> None:
    """Refuse what cannot lie on one grid: all slices share frame of reference, matrix, pixel size and orientation."""
    first = found[0]
    if not all(plane.frame_of_reference_uid for plane in found):
        raise GeometryError("FrameOfReferenceUID is missing: nothing says which space the slices lie in")
    if len({plane.frame_of_reference_uid for plane in found}) > 1:
        raise GeometryError("the slices have several frames of reference (FrameOfReferenceUID)")
    sizes = sorted({(plane.rows, plane.columns) for plane in found})
    if len(sizes) > 1:
        raise GeometryError("the slices differ in size: " + ", ".join(f"{rows} x {columns}" for rows, columns in sizes))
    if any(np.abs(plane.axes - first.axes).max() > ORIENTATION_TOLERANCE for plane in found):
        raise GeometryError("the slices have several orientations (ImageOrientationPatient)")
    if not all(np.allclose(plane.spacing_mm, first.spacing_mm, rtol=1e-3, atol=0) for plane in found):
        raise GeometryError("the slices have several pixel sizes (PixelSpacing)")


def _step(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the step from slice to slice (x, y, z) in mm, or refuse slices that are not evenly spaced."""
    if len(ordered) == 1:
        raise GeometryError("one slice is no volume")
    positions = np.array([plane.position_mm for plane in ordered])
    heights = positions @ normal
    _check_gaps(heights)
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(positions) - 1)
    along = float(step @ normal)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(step - along * normal), along)))
    if tilt > TILT_LIMIT_DEGREES:
        raise GeometryError(f"the slices are shifted against each other as by a gantry tilt of {tilt:.1f} degrees")
    off = np.linalg.norm(positions - positions[0] - np.arange(len(positions))[:, None] * step, axis=1)
    if off.max() > _tolerance_mm(along):
        worst = int(off.argmax())
        raise GeometryError(f"the slice at {heights[worst]:.2f} mm lies {off.max():.2f} mm off the regular grid")
    return step


def _check_gaps(heights: NDArray[np.float64]) -> None:
    """Refuse doubled, missing and unevenly spaced slices; `heights` are sorted positions along the normal in mm."""
    gaps = np.diff(heights)
    if gaps.min() <= POSITION_TOLERANCE_MM:
        at = heights[int(gaps.argmin())]
        count = int((gaps <= POSITION_TOLERANCE_MM).sum())
        raise GeometryError(f"{count + 1} slices or more share positions: the first doubled one is at {at:.2f} mm")
    usual = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - usual) > 2 * _tolerance_mm(usual))
    if odd.size == 0:
        return
    k = int(odd[0])
    between = f"between {heights[k]:.2f} and {heights[k + 1]:.2f} mm"
    missing = round(float(gaps[k]) / usual) - 1
    if missing > 0 and abs(gaps[k] - (missing + 1) * usual) <= (missing + 1) * _tolerance_mm(usual):
        raise GeometryError(f"{missing} slice(s) are missing {between}")
    raise GeometryError(f"the slices are unevenly spaced: {gaps[k]:.2f} mm {between}, elsewhere {usual:.2f} mm")


def _tolerance_mm(spacing_mm: float) -> float:
    return max(SPACING_TOLERANCE * spacing_mm, POSITION_TOLERANCE_MM)


def _single_step(plane: Plane) -> NDArray[np.float64]:
    if plane.thickness_mm is None:
        raise GeometryError("one slice is no volume, and this one does not say its SliceThickness either")
    return plane.normal * plane.thickness_mm


def _affine(first: Plane, step: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    between_rows, between_columns = first.spacing_mm
    affine[:3, 0] = first.axes[0] * between_columns
    affine[:3, 1] = first.axes[1] * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = first.position_mm
    return affine
