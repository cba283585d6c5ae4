"""Withdrawal: rejection notes against images reach the results that rest on them, in the node and in the archive."""

from __future__ import annotations

import signal
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai.peers import free_port
from tests.nodes import RunningNode, serving, wait_until
from tests.notes import write_note
from tests.objects.tools import dciodvfy
from tests.services import Orthanc, orthanc
from tests.test_node import ct_with_balls, kinds, site, stored, uid_of


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return ct_with_balls(tmp_path / "study", StudyID="1")


def note_on(study: Path, folder: Path, *numbers: int, title: str = "113001") -> Path:
    """Write a note on slices of a study, by their places from the lowest, and return its folder."""
    slices = sorted(study.rglob("*.dcm"), key=lambda path: dcmread(path).ImagePositionPatient[2])
    write_note(folder / "note.dcm", [slices[number] for number in numbers], title)
    return folder


def notes_in(archive: Orthanc, uid: str) -> list[Dataset]:
    """Return the Key Object Selections of a study in the archive."""
    return [dcmread(BytesIO(archive.file(one["ID"]))) for one in archive.instances(uid) if one["Modality"] == "KO"]


def named(note: Dataset) -> set[str]:
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    return {
        str(one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def objects_of(events: list[dict[str, Any]]) -> list[set[str]]:
    """Return the objects of each analysis, in order."""
    analysed = [event for event in events if event["event"] == "analysed"]
    return [{one["sop_instance_uid"] for one in event["objects"]} for event in analysed]


def told(node: RunningNode, uid: str, event: str) -> list[dict[str, Any]]:
    return [one for one in node.events(uid) if one["event"] == event]


@pytest.mark.slow
def test_results_on_a_rejected_image_are_withdrawn_in_the_archive(tmp_path: Path, study: Path) -> None:
    uid, rejects = uid_of(study), note_on(study, tmp_path / "note", 11, title="113037")
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive)) as node:
        stored(node, study)
        node.wait_for(uid, "delivered")
        stored(node, rejects)
        expected = "findings (2), delivered; results withdrawn, rejection note delivered"
        wait_until(lambda: node.state(uid), expected.__eq__)
        (note,) = notes_in(archive, uid)
        before, after = objects_of(node.events(uid))
        assert named(note) == before
        assert not before & after
        assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
        note.save_as(tmp_path / "ours.dcm")
        assert dciodvfy(tmp_path / "ours.dcm") == []
        (withdrawn,) = told(node, uid, "withdrawn")
        reason = "1 of the 12 instances that it rests on was rejected for patient safety reasons (113037, DCM)"
        assert withdrawn["reason"] == reason
        reports = [dcmread(BytesIO(archive.file(one["ID"]))) for one in archive.instances(uid)]
        (second,) = [one for one in reports if "PredecessorDocumentsSequence" in one]
        assert second.SOPInstanceUID in after

        nothing_more_happens(node, archive, study, tmp_path)

        stored(node, note_on(study, tmp_path / "rest", *range(11)))
        wait_until(lambda: str(kinds(archive, uid)["KO"]), "2".__eq__)
        expected = "not analysed: it has no images but rejected ones; results withdrawn, rejection note delivered"
        wait_until(lambda: node.state(uid), expected.__eq__)
        assert Counter(map(frozenset, map(named, notes_in(archive, uid)))) == Counter(map(frozenset, (before, after)))


def nothing_more_happens(node: RunningNode, archive: Orthanc, study: Path, tmp_path: Path) -> None:
    """The same note again, another on the same image, and all that the archive has: none leads to another note."""
    uid = uid_of(study)
    everything, jobs = kinds(archive, uid), node.jobs()
    stored(node, tmp_path / "note")
    back = note_on(study, tmp_path / "back", 11)
    for one in archive.instances(uid):
        (back / f"{one['ID']}.dcm").write_bytes(archive.file(one["ID"]))
    stored(node, back)
    wait_until(lambda: str(node.jobs()), str(jobs + 1).__eq__)
    wait_until(lambda: str({job["state"] for job in node.ask("jobs")}), "{'done'}".__eq__)
    assert kinds(archive, uid) == everything == Counter(SEG=2, SR=2, PR=2, KO=1)
    assert len(told(node, uid, "withdrawn")) == 1


@pytest.mark.slow
def test_what_was_not_delivered_is_not_sent_any_more_even_over_a_kill(
    tmp_path: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, rejects = uid_of(study), note_on(study, tmp_path / "note", *range(12))
    ports = {"dicom_port": free_port(), "http_port": free_port()}
    config = site(tmp_path, Orthanc("ORTHANC", ports["dicom_port"], ports["http_port"], tmp_path / "none"))
    monkeypatch.setenv("PACSAI_FAULT", "withdrawal.packed")
    with serving(config) as node:
        stored(node, study)
        node.wait_for(uid, "waiting for the archive")
        stored(node, rejects)
        assert node.process.wait(60) == -signal.SIGKILL
    monkeypatch.delenv("PACSAI_FAULT")
    with serving(config) as node, orthanc(tmp_path, **ports) as archive:
        node.wait_for(uid, "rejection note delivered")
        wait_until(lambda: str({job["state"] for job in node.ask("jobs")}), "{'done'}".__eq__)
        (note,) = notes_in(archive, uid)
        assert [named(note)] == objects_of(node.events(uid))
        assert kinds(archive, uid) == {"KO": 1}
        assert told(node, uid, "delivered") == []
