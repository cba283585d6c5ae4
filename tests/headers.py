"""Series that exist only as headers, for tests of what headers decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from pacsai.pipeline import Condition, Manifest
from pacsai.study import Instance, Series, Study

FRAME_OF_REFERENCE = generate_uid()
CHEST_CT: Mapping[str, Any] = {
    "Modality": "CT",
    "BodyPart": "CHEST",
    "SliceThickness": {"max": 3.0},
    "instances": {"min": 4},
}


def accepts(**changes: Any) -> dict[str, Condition]:
    """Return the acceptance rules of a chest CT pipeline; None takes a rule away."""
    rules = {**CHEST_CT, **changes}
    return {key: Condition.model_validate(rule) for key, rule in rules.items() if rule is not None}


def manifest(name: str = "chest", **changes: Any) -> Manifest:
    """Return the manifest of a pipeline with the rules of `accepts`."""
    return Manifest(
        name=name,
        version="1.0.0",
        title=name,
        accepts=accepts(**changes),
        input="volume",
        writes=("SR",),
        intended_use="research",
    )


def ct_header(k: int = 0, spacing_mm: float = 1.0, **changes: Any) -> Dataset:
    """Return the header of the `k`-th axial slice of a chest CT; None takes an attribute away."""
    attributes: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "FrameOfReferenceUID": FRAME_OF_REFERENCE,
        "Modality": "CT",
        "Manufacturer": "Phantom Scanners",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientID": "P1",
        "SeriesNumber": 1,
        "InstanceNumber": k + 1,
        "ConvolutionKernel": "STANDARD",
        "SliceThickness": spacing_mm,
        "ImagePositionPatient": [-100.0, -100.0, k * spacing_mm],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "PixelSpacing": [0.7, 0.7],
        "Rows": 512,
        "Columns": 512,
        "SamplesPerPixel": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        **changes,
    }
    header = Dataset()
    for keyword, value in attributes.items():
        if value is not None:
            setattr(header, keyword, value)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header


def mr_header(k: int = 0, spacing_mm: float = 1.0, **changes: Any) -> Dataset:
    """Return the header of the `k`-th axial slice of a brain MR; None takes an attribute away."""
    attributes: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"],
        "ConvolutionKernel": None,
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "Rows": 256,
        "Columns": 256,
        "PixelSpacing": [1.0, 1.0],
    }
    return ct_header(k, spacing_mm, **{**attributes, **changes})


def mr_series(
    number: int, description: str | None = None, *, count: int = 12, spacing_mm: float = 1.0, **changes: Any
) -> Series:
    """Return a series of `count` axial slices, each with the same changes; `number` makes its UID."""
    told = {"SeriesNumber": number, "SeriesInstanceUID": f"1.2.3.{number}", "SeriesDescription": description, **changes}
    return series(*(mr_header(k, spacing_mm, **told) for k in range(count)))


def instance(header: Dataset) -> Instance:
    """Return the instance of a header; it has no file."""
    return Instance(str(header.SOPInstanceUID), str(header.SOPClassUID), Path("nowhere"), header)


def series(*headers: Dataset) -> Series:
    """Return the series of the headers."""
    first = headers[0]
    uid, modality = str(first.SeriesInstanceUID), str(first.get("Modality", ""))
    return Series(uid, modality, tuple(instance(header) for header in headers))


def ct_series(count: int = 5, spacing_mm: float = 1.0, **changes: Any) -> Series:
    """Return a series of `count` axial slices, each with the same changes."""
    return series(*(ct_header(k, spacing_mm, **changes) for k in range(count)))


def study(*members: Series) -> Study:
    """Return the study of the series."""
    return Study("1.2.3", "P1", "A1", members)
