"""A small CT series on disk and a signed result over it, for the tests of everything that writes objects."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement, Provenance, Result
from pacsai.objects.source import Source
from pacsai.objects.uids import derived_uid
from pacsai.study import Instance, Series, Study
from pacsai.volume import Volume

SHAPE_KJI = (12, 64, 80)
SPACING_MM = (2.5, 0.8, 0.7)
ORIGIN_MM = (-30.0, -20.0, 100.0)
NOW = datetime(2026, 3, 4, 5, 6, 7, 89000)
PROVENANCE = Provenance(
    pipeline="chest_ct_nodules",
    version="1.0.0",
    model_digest="a" * 64,
    inputs_digest="b" * 64,
    configuration_digest="c" * 64,
)


def ct_source(folder: Path, shape_kji: tuple[int, int, int] = SHAPE_KJI) -> Source:
    """Write an axial CT series of air into `folder` and return it as the source of result objects."""
    instances = tuple(_written(folder, k, shape_kji) for k in range(shape_kji[0]))
    header = instances[0].header
    series = Series(header.SeriesInstanceUID, "CT", instances)
    study = Study(header.StudyInstanceUID, "P1", "A1", (series,))
    array = np.full(shape_kji, -1000, dtype=np.float32)
    volume = Volume(array, affine(), header.FrameOfReferenceUID, instances)
    return Source(study=study, instances=instances, volume=volume, now=NOW)


def affine() -> NDArray[np.float64]:
    """Return index (i, j, k, 1) to LPS mm of the sample series."""
    matrix = np.diag([SPACING_MM[2], SPACING_MM[1], SPACING_MM[0], 1.0])
    matrix[:3, 3] = ORIGIN_MM
    return matrix


def result(*findings: Finding, provenance: Provenance = PROVENANCE) -> Result:
    """Return the signed result of an analysis that ended with `findings`."""
    return Result.of(findings, remarks=("The lung bases are cut off.",)).signed(provenance)


def two_nodules() -> Result:
    """Return a result of a round nodule inside the volume and one cut by its first slice, row and column."""
    return result(nodule(1, (5, 30, 40)), nodule(2, (0, 0, 0), remarks=("Cut by the edge of the scan.",)))


def nodule(number: int, centre_kji: tuple[int, int, int], radius: int = 4, **changes: object) -> Finding:
    """Return a ball of `radius` voxels about `centre_kji`, clipped to the sample volume, with all a finding may say."""
    mask = ball(centre_kji, radius)
    values = {
        "kind": terms.NODULE,
        "label": f"Nodule {number}",
        "probability": 0.934,
        "centre_mm": tuple(float(x) for x in (affine() @ [*centre_kji[::-1], 1])[:3]),
        "site": terms.UPPER_LOBE,
        "laterality": terms.RIGHT,
        "mask": mask,
        "measurements": (
            Measurement(terms.LONG_AXIS, 6.4321, terms.MM),
            Measurement(terms.SHORT_AXIS, 5.6, terms.MM),
            Measurement(terms.VOLUME, mask.array.sum() * 1.4, terms.MM3, terms.SUM_OF_VOXELS),
            Measurement(terms.ATTENUATION, -23.456, terms.HU, terms.MEAN),
        ),
        "qualities": ((terms.NODULE_TYPE, terms.PART_SOLID),),
    }
    return Finding(**(values | changes))  # type: ignore[arg-type]


def ball(centre_kji: tuple[int, int, int], radius: int, shape_kji: tuple[int, int, int] = SHAPE_KJI) -> Mask:
    """Return the voxels within `radius` voxels of `centre_kji` that lie in the volume, as a tight crop."""
    k, j, i = np.ogrid[tuple(slice(0, n) for n in shape_kji)]
    distance = (k - centre_kji[0]) ** 2 + (j - centre_kji[1]) ** 2 + (i - centre_kji[2]) ** 2
    full = distance <= radius**2
    inside = np.argwhere(full)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Mask(full[box], (int(low[0]), int(low[1]), int(low[2])))


def _written(folder: Path, k: int, shape_kji: tuple[int, int, int]) -> Instance:
    path = folder / f"ct{k:03}.dcm"
    dataset = _ct_image(k, shape_kji)
    dataset.save_as(path, enforce_file_format=True)
    header = dcmread(path, stop_before_pixels=True)
    return Instance(header.SOPInstanceUID, header.SOPClassUID, path, header)


def _ct_image(k: int, shape_kji: tuple[int, int, int]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = derived_uid("sample image", str(k))
    dataset.StudyDate, dataset.StudyTime = "20260303", "101112"
    dataset.AccessionNumber = "A1"
    dataset.Modality = "CT"
    dataset.Manufacturer = "Phantom maker"
    dataset.ReferringPhysicianName = ""
    dataset.PatientName = "Müller^Änne"
    dataset.PatientID = "P1"
    dataset.PatientBirthDate = "19500101"
    dataset.PatientSex = "F"
    dataset.SliceThickness = SPACING_MM[0]
    dataset.KVP = 120
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = derived_uid("sample study")
    dataset.SeriesInstanceUID = derived_uid("sample series")
    dataset.StudyID = "1"
    dataset.SeriesNumber = 3
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [*ORIGIN_MM[:2], ORIGIN_MM[2] + k * SPACING_MM[0]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.FrameOfReferenceUID = derived_uid("sample frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = shape_kji[1:]
    dataset.PixelSpacing = list(SPACING_MM[1:])
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "HU"
    dataset.PixelData = np.full(shape_kji[1:], -1000, dtype="<i2").tobytes()
    return dataset
