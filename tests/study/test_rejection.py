"""Rejection notes: what they reject takes no part, and is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai.study.reading import read_folder
from pacsai.study.rejection import TITLES
from tests.notes import write_note
from tests.phantoms import edit, write_ct_series


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return write_ct_series(tmp_path / "study")


def uids(paths: list[Path]) -> set[str]:
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}


@pytest.mark.parametrize("title", TITLES)
def test_rejected_instances_take_no_part_and_are_told(tmp_path: Path, images: list[Path], title: str) -> None:
    note = write_note(tmp_path / "study" / "note.dcm", images[-2:], title)
    (study,) = read_folder(tmp_path / "study")
    assert {one.sop_instance_uid for one in study.instances} == uids([*images[:-2], note])
    assert study.issues == (f"2 instances were left out: rejected {TITLES[title]} ({title}, DCM)",)


@pytest.mark.parametrize(("title", "scheme"), [("113000", "DCM"), ("113001", "99LOCAL")])
def test_other_key_objects_reject_nothing(tmp_path: Path, images: list[Path], title: str, scheme: str) -> None:
    write_note(tmp_path / "study" / "note.dcm", images[-1:], title, scheme)
    (study,) = read_folder(tmp_path / "study")
    assert len(study.instances) == len(images) + 1
    assert study.issues == ()


def test_an_image_of_another_patient_that_was_rejected_spoils_nothing(tmp_path: Path, images: list[Path]) -> None:
    write_note(tmp_path / "study" / "note.dcm", images[:1])
    edit(images[0], PatientID="OTHER")
    edit(tmp_path / "study" / "note.dcm", PatientID=str(dcmread(images[1]).PatientID))
    (study,) = read_folder(tmp_path / "study")
    assert not study.several_patients


def test_a_study_of_which_all_is_rejected_keeps_the_note_alone(tmp_path: Path, images: list[Path]) -> None:
    note = write_note(tmp_path / "study" / "note.dcm", images)
    (study,) = read_folder(tmp_path / "study")
    assert {one.sop_instance_uid for one in study.instances} == uids([note])


def test_a_note_that_rejects_itself_still_rejects_the_rest(tmp_path: Path, images: list[Path]) -> None:
    note = write_note(tmp_path / "study" / "note.dcm", images[-1:])
    header = dcmread(note)
    itself = Dataset()
    itself.ReferencedSOPClassUID, itself.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    series = header.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence.append(itself)
    header.save_as(note)
    (study,) = read_folder(tmp_path / "study")
    assert {one.sop_instance_uid for one in study.instances} == uids([*images[:-1], note])


def test_a_note_without_evidence_rejects_nothing(tmp_path: Path, images: list[Path]) -> None:
    note = write_note(tmp_path / "study" / "note.dcm", images[-1:])
    edit(note, CurrentRequestedProcedureEvidenceSequence=None)
    (study,) = read_folder(tmp_path / "study")
    assert len(study.instances) == len(images) + 1
