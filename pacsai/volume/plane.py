"""One image plane in the patient, as a header tells it: single-frame images and the frames of enhanced ones.

Reads the Image Plane Module (PS3.3 C.7.6.2) and the plane functional groups (C.7.6.16.2); judges a plane by itself.
Whether planes make a volume is stack.py's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacsai.study import Instance

AXIS_TOLERANCE = 1e-3
"""How far the direction cosines may be from unit length and from a right angle."""


class GeometryError(ValueError):
    """The images make no volume; the message is the reason, for a person."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One slice: `frame` (from 0) of `instance`.

    Attributes
    ----------
    axes : float64 (2, 3)
        Unit directions in LPS: along a row (growing column index), along a column (growing row index).
    position_mm : float64 (3,)
        Centre of the first voxel (x, y, z).
    spacing_mm : tuple of float
        Between rows, between columns (the order of PixelSpacing).
    """

    instance: Instance
    frame: int
    rows: int
    columns: int
    axes: NDArray[np.float64]
    position_mm: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    thickness_mm: float | None
    frame_of_reference_uid: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Return the unit normal: row direction x column direction."""
        return np.cross(self.axes[0], self.axes[1])


def planes(instances: Sequence[Instance]) -> tuple[Plane, ...]:
    """Return the planes of single-frame images, or of one enhanced multi-frame image.

    Raises
    ------
    GeometryError
        No image, an image that does not say where it lies, or a multi-frame image that is not alone.
    """
    try:
        return _planes(instances)
    except GeometryError:
        raise
    except Exception as error:  # pydicom decodes an element when it is asked for, and fails in many ways
        raise GeometryError(f"a header is broken: {' '.join(str(error).split())[:200]}") from error


def _planes(instances: Sequence[Instance]) -> tuple[Plane, ...]:
    if not instances:
        raise GeometryError("there is no image")
    if all(frame_count(instance.header) == 1 and not _groups(instance.header) for instance in instances):
        return tuple(_plane(instance, 0, (instance.header,)) for instance in instances)
    if len(instances) > 1:
        raise GeometryError(f"a multi-frame image among {len(instances)} images: such a series is not put together")
    return _frame_planes(instances[0])


def frame_count(header: Dataset) -> int:
    """Return NumberOfFrames, 1 where the header has none.

    Raises
    ------
    GeometryError
        The number is not readable or below one.
    """
    return _positive(header, "NumberOfFrames") if header.get("NumberOfFrames") is not None else 1


def functional_groups(header: Dataset, frame: int) -> tuple[Dataset, ...]:
    """Return the functional groups of `frame` (from 0): its own first, then the shared ones; () for none."""
    own = _groups(header)
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    return (*own[frame : frame + 1], *shared[:1])


def _groups(header: Dataset) -> Sequence[Dataset]:
    return header.get("PerFrameFunctionalGroupsSequence") or ()


def _frame_planes(instance: Instance) -> tuple[Plane, ...]:
    header = instance.header
    count = frame_count(header)
    if len(_groups(header)) != count:
        raise GeometryError(f"{count} frame(s), but {len(_groups(header))} functional group(s) to say where they lie")
    stacks = {
        str(_macro(functional_groups(header, f), "FrameContentSequence").get("StackID", "")) for f in range(count)
    }
    if len(stacks) > 1:
        raise GeometryError(f"the multi-frame image holds {len(stacks)} stacks; one is read")
    return tuple(_frame_plane(instance, frame) for frame in range(count))


def _frame_plane(instance: Instance, frame: int) -> Plane:
    groups = functional_groups(instance.header, frame)
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    return _plane(instance, frame, tuple(_macro(groups, name) for name in names))


def _macro(groups: Sequence[Dataset], keyword: str) -> Dataset:
    """Return the macro's one item from the first group that has it, an empty one where none has."""
    return next((group[keyword].value[0] for group in groups if group.get(keyword)), Dataset())


def _plane(instance: Instance, frame: int, parts: Sequence[Dataset]) -> Plane:
    """Return the plane whose position, orientation and spacing stand in whichever of `parts` has them."""
    header = instance.header
    between_rows, between_columns = _numbers(parts, "PixelSpacing", 2)
    if min(between_rows, between_columns) <= 0:
        raise GeometryError("PixelSpacing is not above zero")
    return Plane(
        instance=instance,
        frame=frame,
        rows=_positive(header, "Rows"),
        columns=_positive(header, "Columns"),
        axes=_axes(_numbers(parts, "ImageOrientationPatient", 6)),
        position_mm=_numbers(parts, "ImagePositionPatient", 3),
        spacing_mm=(float(between_rows), float(between_columns)),
        thickness_mm=_thickness_mm(parts),
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID") or "").strip(),
    )


def _thickness_mm(parts: Sequence[Dataset]) -> float | None:
    if not any(part.get("SliceThickness") for part in parts):
        return None
    thickness = float(_numbers(parts, "SliceThickness", 1)[0])
    return thickness if thickness > 0 else None


def _axes(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two directions at exact unit length and right angle, refusing cosines that are far from it."""
    row, column = cosines[:3], cosines[3:]
    lengths = [float(np.linalg.norm(axis)) for axis in (row, column)]
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column))) > AXIS_TOLERANCE:
        raise GeometryError("ImageOrientationPatient is not two perpendicular unit vectors")
    row = row / lengths[0]
    column = column - (column @ row) * row
    return np.array([row, column / np.linalg.norm(column)])


def _numbers(parts: Sequence[Dataset], keyword: str, count: int) -> NDArray[np.float64]:
    """Return `count` finite numbers of the attribute, or refuse."""
    try:
        value = next((part.get(keyword) for part in parts if part.get(keyword) is not None), None)
        numbers = np.atleast_1d(np.asarray(value if value is not None else [], dtype=np.float64))
    except (TypeError, ValueError):
        raise GeometryError(f"{keyword} is not readable as numbers") from None
    if numbers.size == 0:
        raise GeometryError(f"{keyword} is missing: an image does not say where it lies in the patient")
    if numbers.shape != (count,) or not all(math.isfinite(number) for number in numbers):
        raise GeometryError(f"{keyword} must be {count} finite number(s)")
    return numbers


def _positive(header: Dataset, keyword: str) -> int:
    try:
        number = int(header.get(keyword) or 0)
    except (TypeError, ValueError):
        raise GeometryError(f"{keyword} is not readable as a number") from None
    if number < 1:
        raise GeometryError(f"{keyword} is missing or below one: no image")
    return number
