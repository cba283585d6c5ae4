"""Generated CT slices to send: real in size, encoding and header, invented in content, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SIDE = 512
"""Rows and columns: 512 KiB of pixels in a slice."""

_COMMON: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "SOPClassUID": CTImageStorage,
    "StudyDate": "20260101",
    "StudyTime": "120000",
    "AccessionNumber": "BENCH",
    "Modality": "CT",
    "Manufacturer": "pacsai bench",
    "PatientName": "Generated^Slices",
    "PatientID": "BENCH",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "ReferringPhysicianName": "",
    "StudyID": "1",
    "SeriesNumber": 1,
    "SliceThickness": 1,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PositionReferenceIndicator": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelSpacing": [0.7, 0.7],
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
    "RescaleIntercept": 0,
    "RescaleSlope": 1,
    "RescaleType": "HU",
}


def write_slices(folder: Path, count: int, seed: int, side: int = SIDE) -> tuple[Path, ...]:
    """Write a study of one axial series into `folder` and return its files, in order.

    Parameters
    ----------
    count : int
        Slices, 1 mm apart.
    seed : int
        Drives noise and UIDs: another seed is another study.
    side : int
        Rows and columns.
    """
    rng = np.random.default_rng(seed)
    uids = [f"2.25.{int.from_bytes(rng.bytes(15), 'big')}" for _ in range(count + 3)]
    body = _body(side)
    paths = []
    for number, uid in enumerate(uids[3:]):
        dataset = _header(number, uid, uids, side)
        noise_hu = rng.normal(0, 20, (side, side))
        dataset.PixelData = (body + noise_hu).astype("<i2").tobytes()
        paths.append(folder / f"{seed}-{number:05}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return tuple(paths)


def _body(side: int) -> NDArray[np.float32]:
    """Return an ellipse of soft tissue with two lungs, in Hounsfield units."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    image = np.full((side, side), -1000, np.float32)
    image[(x / 0.9) ** 2 + (y / 0.7) ** 2 < 1] = 40
    image[((np.abs(x) - 0.42) / 0.3) ** 2 + (y / 0.5) ** 2 < 1] = -850
    return image


def _header(number: int, uid: str, uids: list[str], side: int) -> Dataset:
    dataset = Dataset()
    for keyword, value in _COMMON.items():
        setattr(dataset, keyword, value)
    dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uids[:3]
    dataset.InstanceNumber = number + 1
    dataset.ImagePositionPatient = [-180, -180, number]
    dataset.Rows = dataset.Columns = side
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
