"""True masks from files, each with its place in the world: NIfTI, NRRD, or DICOM Segmentations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pacsai.evaluate.froc import TruthError
from pacsai.objects.frames import frame_macro, pixel_spacing_mm, position_mm
from pacsai.wrap.foreign import WrapError, read_foreign

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".dcm")
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A mask, bool [k, j, i], and where it lies: `affine` maps (i, j, k, 1) to LPS mm."""

    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


def names(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their names without ending: a patient's ID or a Study Instance UID."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((one for one in SUFFIXES if path.name.lower().endswith(one)), "")
        if suffix:
            found[path.name[: -len(suffix)]] = path
    return found


def read_mask(path: Path) -> Placed:
    """Return the mask in a file: whatever is above zero, all segments of a Segmentation together.

    Raises
    ------
    TruthError
        It cannot be read, or does not say where it lies.
    """
    try:
        if path.suffix.lower() == ".dcm":
            return _segmentation(dcmread(path))
        found = read_foreign(path)
    except (WrapError, InvalidDicomError, KeyError, AttributeError, ValueError) as error:
        raise TruthError(f"{path.name} is no mask that can be read: {error}") from error
    assert found.affine is not None  # noqa: S101 - only flat images have none
    return Placed(found.array > 0, found.affine)


def _segmentation(dataset: Dataset) -> Placed:
    """Return all segments of a Segmentation on a grid of its own, the frames that it leaves out empty."""
    if dataset.SOPClassUID != SEGMENTATION:
        raise TruthError(f"it is a {dataset.SOPClassUID.name}, not a Segmentation")
    count = int(dataset.NumberOfFrames)
    frames = np.reshape(dataset.pixel_array, (count, dataset.Rows, dataset.Columns)) > 0
    orientation = frame_macro(dataset, 1, "PlaneOrientationSequence").ImageOrientationPatient
    along, down = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    places = np.array([position_mm(dataset, frame) for frame in range(1, count + 1)])
    heights = places @ np.cross(along, down)
    step = _step(dataset, heights)
    slices = np.rint((heights - heights.min()) / step).astype(int)
    mask = np.zeros((slices.max() + 1, dataset.Rows, dataset.Columns), dtype=np.bool_)
    for k, frame in zip(slices, frames, strict=True):
        mask[k] |= frame
    between_rows, between_columns = pixel_spacing_mm(dataset) or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([along * between_columns, down * between_rows, np.cross(along, down) * step])
    affine[:3, 3] = places[np.argmin(heights)]
    return Placed(mask, affine)


def _step(dataset: Dataset, heights: NDArray[np.float64]) -> float:
    """Return the distance between slices: as the object says, else the least between its frames."""
    measures = frame_macro(dataset, 1, "PixelMeasuresSequence")
    said = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    apart = np.diff(np.unique(np.round(heights, 3)))
    return float(said) if said else float(apart.min()) if apart.size else 1.0
