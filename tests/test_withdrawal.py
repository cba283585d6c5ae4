"""Withdrawal decided on what a real spool and outbox hold, without a node around them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai.archive.base import Sent
from pacsai.archive.folder import FolderArchive
from pacsai.bounds import Bounds
from pacsai.config import Site
from pacsai.objects import seg, sr
from pacsai.objects.common import NODE
from pacsai.objects.write import encoded
from pacsai.outbox import Outbox, Parcel
from pacsai.priors import Priors
from pacsai.spool import Arrival, Spool
from pacsai.withdrawal import PART, Withdrawal, parcel_id
from pacsai.work import StudyWork
from tests.notes import write_note
from tests.objects import samples

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class House:
    """A spool with a study, an outbox with results on all but its last slice, and who withdraws them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = samples.ct_source(folder / "ct")
        self.uid = self.source.study.study_instance_uid
        self.images = [instance.path for instance in self.source.instances]
        self.spool = Spool(folder / "data")
        self.spool.start()
        self.outbox = Outbox(folder / "data" / "outbox")
        self.withdrawal = Withdrawal(self.spool, self.outbox, NODE, Bounds())
        self.receive(*self.images)

    def receive(self, *files: Path) -> None:
        for file in files:
            header = dcmread(file)
            self.spool.receive(
                Arrival(
                    study_instance_uid=header.StudyInstanceUID,
                    sop_class_uid=header.SOPClassUID,
                    sop_instance_uid=header.SOPInstanceUID,
                    transfer_syntax_uid=header.file_meta.TransferSyntaxUID,
                    dataset=_dataset_of(file),
                ),
                NOON,
            )

    def reject(self, *places: int, title: str = "113001", name: str = "note") -> Path:
        note = write_note(self.folder / f"{name}.dcm", [self.images[place] for place in places], title)
        self.receive(note)
        return note

    def result(self, name: str = "result", *, inputs: bool = True) -> Parcel:
        segmentation = seg.build(samples.two_nodules(), self.source)
        made = {"SEG": segmentation, "SR": sr.build(samples.two_nodules(), self.source, segmentation)}
        files = []
        for kind, one in made.items():
            files.append(self.folder / f"{name}-{kind}.dcm")
            files[-1].write_bytes(encoded(one))
        objects = [
            {
                "kind": kind,
                "problems": [],
                "series_instance_uid": one.SeriesInstanceUID,
                "sop_class_uid": one.SOPClassUID,
                "sop_instance_uid": one.SOPInstanceUID,
            }
            for kind, one in made.items()
        ]
        rests_on = [instance.sop_instance_uid for instance in self.source.instances[:-1]]
        return self.outbox.pack(
            name,
            files,
            study_instance_uid=self.uid,
            pipeline="toy",
            revision="r1",
            summary={"objects": objects},
            inputs=rests_on if inputs else (),
        )

    def note(self, revision: str = "r2") -> Parcel:
        """Pack our notes of a revision."""
        report = self.withdrawal.report(self.uid, revision, self.folder / revision, NOON)
        assert [one["problems"] for one in report["objects"]] == [[]] * len(report["objects"])
        parcel = self.outbox.pack(
            report["result_id"],
            [Path(one["file"]) for one in report["objects"]],
            study_instance_uid=self.uid,
            pipeline=PART,
            revision=revision,
            summary=report,
        )
        self.withdrawal.settle(parcel)
        return parcel


def _dataset_of(file: Path) -> bytes:
    header = dcmread(file)
    octets = file.read_bytes()
    length = header.file_meta.FileMetaInformationGroupLength
    return octets[132 + 12 + length :]


class Meanwhile:
    """An archive to which our note comes before all of the result that it names; `sent` are file names, in order."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.folder = FolderArchive(house.folder / "archive")
        self.sent: list[str] = []

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        if not self.sent:
            self.sent.append("the result begins")
            self.house.reject(0)
            self.house.outbox.deliver(self.house.note().id, self)
        self.sent += [path.parent.name for path in paths]
        return self.folder.send(paths)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.spool.close()


def titles(parcel: Parcel) -> list[str]:
    return [str(dcmread(path).ConceptNameCodeSequence[0].CodeValue) for path in parcel.paths]


def test_without_a_note_or_a_result_nothing_is_due(house: House) -> None:
    result = house.result()
    assert not house.withdrawal.is_due(house.uid)
    assert house.withdrawal.stops(result) == ""


def test_a_result_that_does_not_rest_on_what_is_rejected_stays(house: House) -> None:
    result = house.result()
    house.reject(-1)
    assert not house.withdrawal.is_due(house.uid)
    assert house.withdrawal.stops(result) == ""


def test_what_rests_on_it_is_named_once_and_never_sent_again(house: House) -> None:
    result = house.result()
    house.reject(0, 1)
    assert house.withdrawal.is_due(house.uid)
    ours = house.note()
    assert ours.id == parcel_id(house.uid, "r2")
    assert house.withdrawal.notes_on(result) == [ours]
    reason = "2 of the 11 instances that it rests on were rejected for quality reasons (113001, DCM)"
    assert house.outbox.withdrawn("result") == reason
    assert not house.withdrawal.is_due(house.uid)
    assert house.withdrawal.stops(ours) == ""
    told = [event["event"] for event in house.spool.story_of(house.uid).read()]
    house.withdrawal.settle(ours)
    assert [event["event"] for event in house.spool.story_of(house.uid).read()] == told


def test_a_later_note_names_the_results_that_no_note_of_ours_names_yet(house: House) -> None:
    house.result()
    house.reject(0)
    house.note("r2")
    house.result("later")
    house.reject(1, title="113038", name="second")
    ours = house.note("r3")
    assert [one["parcel"] for one in ours.summary["withdraws"]] == ["later", "later"]  # both notes are against it
    assert sorted(titles(ours)) == ["113001", "113038"]


def test_a_result_that_came_too_late_for_our_note_is_stopped(house: House) -> None:
    house.reject(0)
    result = house.result()
    assert house.withdrawal.stops(result).startswith("1 of the 11 instances")
    house.withdrawal.withdraw(result, "why")
    assert house.withdrawal.stops(result) == "why"


def test_where_a_note_comes_while_a_result_is_sent_the_archive_has_ours_last(house: House) -> None:
    house.result()
    archive, delivered = Meanwhile(house), list[str]()
    site = Site.model_validate(
        {
            "node": {"data": house.folder / "data"},
            "archive": {"kind": "folder", "path": house.folder / "archive"},
            "pipelines": {},
        }
    )
    work = StudyWork(site, house.spool, (), archive, threading.Event(), delivered.append, Priors(site, house.spool))
    work.deliver("result")
    ours = parcel_id(house.uid, "r2")
    assert archive.sent == ["the result begins", ours, "result", "result", ours]
    assert delivered == []
    work.deliver("result")
    assert archive.sent[5:] == [ours]
    told = [event["event"] for event in house.spool.story_of(house.uid).read()]
    assert [event for event in told if event in ("delivered", "withdrawn")] == ["withdrawn", "delivered"]


def test_our_own_note_that_comes_back_leads_to_nothing(house: House) -> None:
    house.result()
    house.reject(0)
    ours = house.note()
    house.receive(*ours.paths)
    (note,) = house.withdrawal.notes(house.uid)
    assert note.instance.header.get("Manufacturer") is None
    assert not house.withdrawal.is_due(house.uid)


def test_results_whose_copies_are_purged_are_withdrawn_all_the_same(house: House) -> None:
    result = house.result()
    house.outbox.purge("result")
    house.reject(0)
    ours = house.note()
    header = dcmread(ours.paths[0])
    assert header.PatientID == dcmread(house.images[0]).PatientID
    (study,) = header.CurrentRequestedProcedureEvidenceSequence
    named = {one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in study.ReferencedSeriesSequence}
    assert named == {one.sop_instance_uid for one in result.objects}


def test_a_parcel_of_an_earlier_version_is_judged_by_what_its_objects_name(house: House) -> None:
    house.result(inputs=False)
    house.reject(0)
    assert house.withdrawal.is_due(house.uid)


def test_the_uids_of_our_note_do_not_change_when_it_is_made_again(house: House) -> None:
    house.result()
    house.reject(0)
    reports = [house.withdrawal.report(house.uid, "r2", house.folder / again, NOON) for again in ("a", "b")]
    first, second = ([one["sop_instance_uid"] for one in report["objects"]] for report in reports)
    assert first == second
