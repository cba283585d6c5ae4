"""Tiny DICOM images for everyone's tests, with complete modules: CT series, enhanced CT, and what spoils them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from pacsai.study import Instance
from pacsai.wrap import About, write_ct


def axial_affine(
    spacing_mm: tuple[float, float, float] = (2.0, 0.8, 0.7), origin_mm: Sequence[float] = (-90.0, -80.0, -40.0)
) -> NDArray[np.float64]:
    """Return the affine of axial slices, `spacing_mm` as (z, y, x)."""
    affine = np.diag([*spacing_mm[::-1], 1.0])
    affine[:3, 3] = origin_mm
    return affine


def distinct_voxels(shape_kji: tuple[int, int, int] = (5, 7, 6)) -> NDArray[np.int16]:
    """Return HU that differ from voxel to voxel, so that a turned or shifted axis shows."""
    return (np.arange(np.prod(shape_kji), dtype=np.int16) - 100).reshape(shape_kji)


def write_ct_series(
    folder: Path,
    array_hu: NDArray[np.int16] | None = None,
    affine: NDArray[np.float64] | None = None,
    **header: Any,
) -> list[Path]:
    """Write int16 [k, j, i] HU as a CT series that a scanner might have made; return the files along k.

    `header` sets DICOM keywords of every instance; None removes one.
    """
    array_hu = distinct_voxels() if array_hu is None else array_hu
    affine = axial_affine() if affine is None else affine
    scanner = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Manufacturer": "Phantom Scanners",
        "PatientPosition": "HFS",
        "StudyDate": "20260102",
        "StudyTime": "030405",
        "DerivationDescription": None,
    }
    about = About(patient_id="PHANTOM", patient_name="Phantom^Generated", body_part="CHEST")
    paths = list(write_ct(folder, array_hu, affine, about))
    for path in paths:
        edit(path, **{**scanner, **header})
    return paths


def edit(path: Path, **header: Any) -> None:
    """Set DICOM keywords of a file; None removes one."""
    data = dcmread(path)
    for keyword, value in header.items():
        if value is None:
            data.pop(keyword, None)
        else:
            setattr(data, keyword, value)
            correct_ambiguous_vr_element(data[keyword], data, is_little_endian=True)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.save_as(path)


def compress(paths: Iterable[Path], transfer_syntax_uid: str) -> None:
    """Rewrite the files in a compressed transfer syntax, keeping their SOP Instance UIDs."""
    for path in paths:
        data = dcmread(path)
        data.compress(transfer_syntax_uid, generate_instance_uid=False)
        data.save_as(path)


def instances(paths: Iterable[Path]) -> tuple[Instance, ...]:
    """Return the headers of files as Instances, in the order given."""
    headers = [(path, dcmread(path, stop_before_pixels=True)) for path in paths]
    return tuple(Instance(str(h.SOPInstanceUID), str(h.SOPClassUID), path, h) for path, h in headers)


def write_enhanced_ct(
    path: Path, array_hu: NDArray[np.int16], affine: NDArray[np.float64], frames: Sequence[int] | None = None
) -> Path:
    """Write int16 [k, j, i] HU as one enhanced CT; `frames` is the slice that each frame holds (0, 1, ... if None).

    Orientation, pixel size and rescale stand in the shared functional groups, positions in each frame's.
    """
    order = list(range(len(array_hu)) if frames is None else frames)
    slices = write_ct_series(path.parent / f"{path.stem}-slices", array_hu, affine)
    data = dcmread(slices[0])
    planes = [dcmread(slices[k], stop_before_pixels=True) for k in order]
    data.SOPClassUID, data.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    data.NumberOfFrames = len(order)
    data.SharedFunctionalGroupsSequence = [_shared_groups(data)]
    data.PerFrameFunctionalGroupsSequence = [_frame_groups(plane) for plane in planes]
    for keyword in (*_IMAGE_PLANE, "RescaleSlope", "RescaleIntercept", "RescaleType"):
        del data[keyword]
    data.PixelData = array_hu[order].astype("<i2").tobytes()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    return path


_IMAGE_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")


def _shared_groups(data: Dataset) -> Dataset:
    groups = Dataset()
    groups.PlaneOrientationSequence = [_only(data, "ImageOrientationPatient")]
    groups.PixelMeasuresSequence = [_only(data, "PixelSpacing", "SliceThickness")]
    groups.PixelValueTransformationSequence = [_only(data, "RescaleSlope", "RescaleIntercept", "RescaleType")]
    return groups


def _frame_groups(plane: Dataset) -> Dataset:
    groups, content = Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", int(plane.InstanceNumber)
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = [_only(plane, "ImagePositionPatient")]
    return groups


def _only(data: Dataset, *keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        setattr(item, keyword, data[keyword].value)
    return item


def write_mr_series(
    folder: Path,
    array: NDArray[np.int16] | None = None,
    *,
    study: str = "now",
    number: int = 1,
    description: str = "FLAIR",
    affine: NDArray[np.float64] | None = None,
    **header: Any,
) -> list[Path]:
    """Write int16 [k, j, i] values as an MR series of a brain; the `study` of this name and one patient.

    `header` sets DICOM keywords of every instance; None removes one.
    """
    array = distinct_voxels((12, 32, 30)) if array is None else array
    about = About(
        patient_id="P1", patient_name="Doe^Jane", study=study, series_number=number, series_description=description
    )
    scanner = {
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"],
        "Manufacturer": "Phantom Scanners",
        "StudyDate": "20260102",
        "StudyTime": "030405",
        "KVP": None,
        "RescaleType": None,
        "DerivationDescription": None,
    }
    paths = list(write_ct(folder / f"{number:03d}", array, axial_affine() if affine is None else affine, about))
    for path in paths:
        edit(path, **{**scanner, **header})
    return paths
