"""Completion by evidence, from outside: a real Orthanc that knows more of a study than what was sent to the node."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from pydicom.dataset import Dataset

from pacsai.archive import ArchiveUnavailable
from pacsai.archive.dicomweb import StowArchive
from pacsai.archive.dimse import CStoreArchive
from pacsai.archive.orthanc import OrthancArchive
from pacsai.config import Limits, Site
from pacsai.peers import free_port
from pacsai.queries import Listed
from pacsai.queries.dicomweb import QidoWado
from pacsai.queries.dimse import QueryRetrieve
from pacsai.spool import Spool
from tests.nodes import RunningNode, serving, wait_until, write_site
from tests.phantoms import edit, write_ct_series
from tests.services import PYNETDICOM_SOCKET, Orthanc, orthanc
from tests.toys import toy_pipeline

IMAGES = 20
HELD_BACK = 3
KINDS = ("dimse", "dicomweb")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder with a CT of 20 slices that holds one bright ball."""
    array = np.full((IMAGES, 24, 32), -800, np.int16)
    array[3:6, 10:16, 12:18] = 40
    write_ct_series(tmp_path / "study", array, np.diag([0.8, 0.8, 2.5, 1.0]))
    return tmp_path / "study"


def by_position(study: Path) -> list[Path]:
    return sorted(study.rglob("*.dcm"), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])


def uid_of(study: Path) -> str:
    return str(pydicom.dcmread(by_position(study)[0], stop_before_pixels=True).StudyInstanceUID)


def without_last(study: Path, folder: Path, number: int = HELD_BACK) -> Path:
    """Copy the study without its last slices."""
    folder.mkdir()
    for path in by_position(study)[:-number]:
        shutil.copy(path, folder)
    return folder


@contextmanager
def site_with_archive(tmp_path: Path, kind: str, study: Path, **limits: Any) -> Iterator[tuple[Path, Orthanc]]:
    """Give the site of a node that completes by evidence, and its running Orthanc that holds the whole study."""
    port = free_port()
    with orthanc(tmp_path, our_port=port) as archive:
        OrthancArchive(archive.http_url).send(by_position(study))
        yield site(tmp_path, archive, kind, port, **limits), archive


def site(tmp_path: Path, archive: Orthanc, kind: str, port: int = 0, wait_s: float = 30, **limits: Any) -> Path:
    where: dict[str, Any] = {"url": archive.dicomweb_url}
    if kind == "dimse":
        where = {"ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port}
    toy = toy_pipeline(tmp_path / "pipelines")
    pipelines = {toy.name: {"folder": str(toy), "results": ["SEG", "SR"]}}
    path = write_site(tmp_path, archive={"kind": kind, **where}, pipelines=pipelines, port=port)
    settings = yaml.safe_load(path.read_text())
    settings["study"] |= {"evidence": True, "fetch_wait_s": wait_s}
    settings["node"]["limits"] = limits
    path.write_text(yaml.safe_dump(settings))
    return path


def stored(node: RunningNode, folder: Path) -> None:
    sent = node.store(folder)
    assert sent.returncode == 0, sent.stderr


def told(node: RunningNode, study_instance_uid: str, event: str) -> list[dict[str, Any]]:
    return [one for one in node.events(study_instance_uid) if one["event"] == event]


def reports(archive: Orthanc, study_instance_uid: str, folder: Path) -> list[Dataset]:
    """Return the SRs in the archive."""
    found = []
    for one in archive.instances(study_instance_uid):
        if one["Modality"] == "SR":
            path = folder / f"{one['ID']}.dcm"
            path.write_bytes(archive.file(one["ID"]))
            found.append(pydicom.dcmread(path))
    return found


def _texts(item: Dataset) -> list[str]:
    below = [text for child in item.get("ContentSequence", ()) for text in _texts(child)]
    return [str(item.TextValue), *below] if "TextValue" in item else below


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_images_that_did_not_arrive_are_fetched_before_the_analysis(tmp_path: Path, study: Path, kind: str) -> None:
    uid = uid_of(study)
    with site_with_archive(tmp_path, kind, study) as (config, archive), serving(config) as node:
        stored(node, without_last(study, tmp_path / "part"))
        node.wait_for(uid, "delivered")
        assert node.jobs() == 1
        (asked,) = told(node, uid, "missing images asked for")
        assert (asked["listed"], asked["missing"]) == (IMAGES, HELD_BACK)
        assert told(node, uid, "complete")[-1]["instances"] == IMAGES
        assert told(node, uid, "incomplete") == []
        (report,) = reports(archive, uid, tmp_path)
        assert not any("archive lists" in text for text in _texts(report))


@pytest.mark.slow
def test_what_the_archive_lists_and_cannot_give_is_written_in_the_report(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    part = without_last(study, tmp_path / "part", number=1)
    edit(by_position(study)[-1], ImageComments="long " * 1900)  # more than this node takes
    with site_with_archive(tmp_path, "dimse", study, dataset_mb=0.008) as (config, archive), serving(config) as node:
        stored(node, part)
        node.wait_for(uid, "delivered")
        (incomplete,) = told(node, uid, "incomplete")
        assert (incomplete["listed"], incomplete["missing"]) == (IMAGES, 1)
        (report,) = reports(archive, uid, tmp_path)
        wanted = "1 of 20 images that the archive lists had not arrived when this was analysed."
        assert wanted in _texts(report)
        assert node.jobs() == 1


@pytest.mark.slow
@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_an_archive_that_does_not_answer_holds_nothing_up(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    nobody = Orthanc("ORTHANC", free_port(), free_port(), tmp_path / "none")
    with serving(site(tmp_path, nobody, "dicomweb")) as node:
        stored(node, study)
        node.wait_for(uid, "waiting for the archive", wait_s=30)
        (only,) = told(node, uid, "archive of no help")
        assert "cannot be asked" in only["reason"]


@pytest.mark.slow
def test_an_archive_that_accepts_and_says_nothing_holds_a_study_up_for_the_time_that_is_allowed(
    tmp_path: Path, study: Path
) -> None:
    uid = uid_of(study)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = Orthanc("ORTHANC", silent.getsockname()[1], free_port(), tmp_path / "none")
        with serving(site(tmp_path, nobody, "dimse", wait_s=2)) as node:
            stored(node, study)
            wait_until(lambda: str(len(told(node, uid, "analysis started"))), lambda count: count == "1", wait_s=30)
            assert len(told(node, uid, "archive of no help")) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_not_listed_and_an_unknown_study_has_nothing(tmp_path: Path, study: Path, kind: str) -> None:
    result = tmp_path / "result" / "result.dcm"
    result.parent.mkdir()
    shutil.copy(by_position(study)[0], result)
    edit(result, SOPInstanceUID="2.25.77", SeriesInstanceUID="2.25.78", Modality="SR")
    with orthanc(tmp_path) as archive:
        OrthancArchive(archive.http_url).send([*by_position(study), result])
        spool = Spool(tmp_path / "data")
        dimse = QueryRetrieve(CStoreArchive("PACSAI", archive.ae_title, "127.0.0.1", archive.dicom_port))
        web = QidoWado(StowArchive(archive.dicomweb_url), Limits(), spool)
        holdings = dimse if kind == "dimse" else web
        listed = holdings.listed(uid_of(study), 10)
        assert holdings.listed("2.25.4711", 10) == ()
        spool.close()
    here = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in by_position(study)}
    assert {one.sop_instance_uid for one in listed} == here
    assert len(listed) == IMAGES


def test_an_archive_that_does_not_know_this_node_says_so(tmp_path: Path) -> None:
    with orthanc(tmp_path) as archive:
        unknown = CStoreArchive("NOBODY", archive.ae_title, "127.0.0.1", archive.dicom_port)
        with pytest.raises(ArchiveUnavailable, match="ORTHANC"):
            QueryRetrieve(unknown).listed("2.25.4711", 10)


@pytest.mark.parametrize(
    ("sop_class_uid", "modality", "result"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "CT", False),
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", True),
        ("1.2.840.10008.5.1.4.1.1.88.34", "SR", True),
        ("1.2.840.10008.5.1.4.1.1.7", "OT", True),
        ("1.2.840.10008.5.1.4.1.1.77.1.1", "ES", False),
        ("", "PR", True),
        ("", "", False),
    ],
)
def test_kinds_that_nodes_make_are_results(sop_class_uid: str, modality: str, *, result: bool) -> None:
    assert Listed("1", "2", sop_class_uid, modality).is_result is result


def test_evidence_needs_an_archive_that_answers_queries(tmp_path: Path) -> None:
    settings = {
        "node": {"data": str(tmp_path)},
        "study": {"evidence": True},
        "archive": {"kind": "folder", "path": str(tmp_path)},
        "pipelines": {},
    }
    with pytest.raises(ValueError, match=r"study\.evidence needs an archive of kind dimse or dicomweb, not folder"):
        Site.model_validate(settings)
