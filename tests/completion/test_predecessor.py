"""Late images: the new revision's SR names the one before, the same however often the step is repeated."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pacsai.completion import predecessors
from pacsai.outbox import Outbox
from pacsai.spool import Spool
from tests.nodes import RunningNode, serving, wait_until, write_site
from tests.objects.tools import dciodvfy
from tests.phantoms import write_ct_series
from tests.toys import toy_pipeline

STUDY = "2.25.1"
Pack = Callable[..., None]


def ct(folder: Path) -> list[Path]:
    array = np.full((12, 24, 32), -800, np.int16)
    array[3:6, 10:16, 12:18] = 40
    return write_ct_series(folder, array, np.diag([0.8, 0.8, 2.5, 1.0]))


def references(report: Dataset) -> list[tuple[str, str, str, str]]:
    return [
        (item.StudyInstanceUID, series.SeriesInstanceUID, one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for item in report.get("PredecessorDocumentsSequence", ())
        for series in item.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


def delivered(node: RunningNode, uid: str) -> int:
    return sum(event["event"] == "delivered" for event in node.events(uid))


@pytest.mark.slow
def test_the_report_of_a_late_image_names_the_report_before(tmp_path: Path) -> None:
    paths = ct(tmp_path / "study")
    late = tmp_path / "late"
    late.mkdir()
    shutil.move(paths[-1], late)
    toy = toy_pipeline(tmp_path / "pipelines")
    pipelines = {toy.name: {"folder": str(toy), "results": ["SEG", "SR"]}}
    config = write_site(tmp_path, archive={"kind": "folder", "path": "./results"}, pipelines=pipelines)
    uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    with serving(config) as node:
        for folder, reports_by_then in ((tmp_path / "study", "1"), (late, "2")):
            assert node.store(folder).returncode == 0
            wait_until(lambda: str(delivered(node, uid)), reports_by_then.__eq__)
        analysed = [event for event in node.events(uid) if event["event"] == "analysed"]
    assert [one["problems"] for event in analysed for one in event["objects"]] == [[]] * 4
    reports = [path for path in (tmp_path / "results").rglob("*.dcm") if pydicom.dcmread(path).Modality == "SR"]
    second, first = sorted(map(pydicom.dcmread, reports), key=lambda one: "PredecessorDocumentsSequence" not in one)
    assert references(first) == []
    assert references(second) == [(uid, first.SeriesInstanceUID, first.SOPClassUID, first.SOPInstanceUID)]
    assert [line for path in reports for line in dciodvfy(path) if line.startswith("Error")] == []


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path)
    spool.instances_folder(STUDY).mkdir(parents=True)
    return spool


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


@pytest.fixture
def pack(spool: Spool, outbox: Outbox) -> Pack:
    """Pack a parcel without files for a revision, and tell it."""

    def packed(parcel: str, revision: str, pipeline: str = "balls", problems: tuple[str, ...] = ()) -> None:
        uids = {"sop_class_uid": "1.2", "sop_instance_uid": f"{parcel}.1", "series_instance_uid": f"{parcel}.2"}
        summary = {"objects": [{"kind": "SR", "problems": list(problems), **uids}]}
        outbox.pack(parcel, [], study_instance_uid=STUDY, pipeline=pipeline, revision=revision, summary=summary)
        spool.story_of(STUDY).tell("analysed", parcel=parcel, pipeline=pipeline)

    return packed


def chosen(spool: Spool, outbox: Outbox, revision: str) -> list[str]:
    return [one["SOPInstanceUID"] for one in predecessors(spool, outbox, STUDY, revision, "balls")]


def test_the_last_report_of_the_same_pipeline_is_the_predecessor(spool: Spool, outbox: Outbox, pack: Pack) -> None:
    assert chosen(spool, outbox, "first") == []
    pack("2.25.10", "first")
    pack("2.25.11", "second")
    pack("2.25.12", "second", pipeline="another")
    assert chosen(spool, outbox, "third") == ["2.25.11.1"]
    (reference,) = predecessors(spool, outbox, STUDY, "third", "balls")
    assert reference == {
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": "2.25.11.2",
        "SOPClassUID": "1.2",
        "SOPInstanceUID": "2.25.11.1",
    }


def test_a_repeated_step_names_the_same_predecessor(spool: Spool, outbox: Outbox, pack: Pack) -> None:
    pack("2.25.10", "first")
    assert chosen(spool, outbox, "second") == ["2.25.10.1"]
    pack("2.25.12", "third")
    assert chosen(spool, outbox, "second") == ["2.25.10.1"]


def test_a_revision_does_not_come_before_itself(spool: Spool, outbox: Outbox, pack: Pack) -> None:
    pack("2.25.10", "first")
    assert chosen(spool, outbox, "first") == []


def test_a_report_that_was_kept_back_is_no_predecessor(spool: Spool, outbox: Outbox, pack: Pack) -> None:
    pack("2.25.10", "first")
    pack("2.25.11", "second", problems=("a code is wrong",))
    assert chosen(spool, outbox, "third") == ["2.25.10.1"]
