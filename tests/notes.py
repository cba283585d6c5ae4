"""Rejection notes for tests: small Key Object Selections, as an archive's user makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, generate_uid


def write_note(path: Path, rejected: Sequence[Path], title: str = "113001", scheme: str = "DCM") -> Path:
    """Write a Key Object Selection of this document title about files of one series, and return its path."""
    images = [dcmread(image, stop_before_pixels=True) for image in rejected]
    note = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        setattr(note, keyword, images[0].get(keyword))
    note.SOPClassUID, note.SOPInstanceUID = KeyObjectSelectionDocumentStorage, generate_uid()
    note.SeriesInstanceUID, note.Modality, note.SeriesNumber, note.InstanceNumber = generate_uid(), "KO", 99, 1
    note.ValueType, note.ContinuityOfContent = "CONTAINER", "SEPARATE"
    note.ConceptNameCodeSequence = [_code(title, scheme)]
    references = [_reference(image) for image in images]
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedSOPSequence = references
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = images[0].StudyInstanceUID, [series]
    note.CurrentRequestedProcedureEvidenceSequence = [evidence]
    note.ContentSequence = [_item(reference) for reference in references]
    note.file_meta = FileMetaDataset()
    note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    note.save_as(path, enforce_file_format=True)
    return path


def _code(value: str, scheme: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, "Title"
    return code


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return reference


def _item(reference: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ReferencedSOPSequence = "CONTAINS", "IMAGE", [reference]
    return item
