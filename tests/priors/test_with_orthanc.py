"""Priors from a real Orthanc: fetched, held for comparison, bounded; and an archive that is down holds nothing up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pydicom
import pytest
import yaml

from pacsai.archive.orthanc import OrthancArchive
from pacsai.config import load
from pacsai.peers import free_port
from pacsai.priors import Choice, Priors
from pacsai.priors.choice import NONE, NOT_FETCHED
from pacsai.registry import read_package
from pacsai.spool import Spool
from tests.nodes import RunningNode, serving, wait_until, write_site
from tests.phantoms import edit
from tests.priors.patients import SLICES, comparing_toy, files, result_of_ours, spooled, study, uid_of
from tests.services import PYNETDICOM_SOCKET, Orthanc, orthanc

NOW, BEFORE = "20260102", "20250103"
KINDS = ("dimse", "dicomweb", "orthanc")


def site(tmp_path: Path, archive: Orthanc, kind: str, port: int = 0, **priors: Any) -> Path:
    where: dict[str, Any] = {"url": archive.http_url if kind == "orthanc" else archive.dicomweb_url}
    if kind == "dimse":
        where = {"ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port}
    toy = comparing_toy(tmp_path / "pipelines", tmp_path / "seen.txt")
    pipelines = {toy.name: {"folder": str(toy), "results": ["SEG", "SR"]}}
    path = write_site(tmp_path, archive={"kind": kind, **where}, pipelines=pipelines, port=port)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"priors": priors}))
    return path


def told(node: RunningNode, uid: str, event: str) -> list[dict[str, Any]]:
    return [one for one in node.events(uid) if one["event"] == event]


def remarks(node: RunningNode) -> list[str]:
    (parcel,) = (node.folder / "data" / "outbox").glob("*/parcel.json")
    said: list[str] = json.loads(parcel.read_text())["summary"]["remarks"]
    return said


def stored(node: RunningNode, folder: Path) -> None:
    sent = node.store(folder)
    assert sent.returncode == 0, sent.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_of_the_archive_is_fetched_compared_with_and_starts_nothing(tmp_path: Path, kind: str) -> None:
    current, prior = study(tmp_path, NOW), study(tmp_path, BEFORE)
    result_of_ours(prior)
    uid, before, port = uid_of(current), uid_of(prior), free_port()
    with orthanc(tmp_path, our_port=port) as archive:
        OrthancArchive(archive.http_url).send(files(prior))
        with serving(site(tmp_path, archive, kind, port)) as node:
            stored(node, current)
            node.wait_for(uid, "delivered", wait_s=150)
            (found,) = told(node, uid, "prior found")
            assert found["detail"] == "study of 2025-01-03, 1 series, from the archive"
            assert len((tmp_path / "seen.txt").read_text().split()) == SLICES + 1
            assert remarks(node) == []
            wait_until(lambda: node.state(before), lambda said: said == "held for comparison", wait_s=60)
            time.sleep(2)  # it would have been quiet long enough
            assert node.jobs() == 1
            assert told(node, before, "analysis started") == []
            assert len(archive.instances(before)) == SLICES + 1
            assert not list((tmp_path / "data" / "work").iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_an_archive_that_is_down_holds_nothing_up_and_the_result_says_so(tmp_path: Path) -> None:
    current = study(tmp_path, NOW)
    uid = uid_of(current)
    nobody = Orthanc("ORTHANC", free_port(), free_port(), tmp_path / "none")
    with serving(site(tmp_path, nobody, "dimse")) as node:
        stored(node, current)
        node.wait_for(uid, "waiting for the archive", wait_s=150)
        assert remarks(node) == [NOT_FETCHED]
        assert "cannot be reached" in told(node, uid, "prior not used")[0]["reason"]
        assert (tmp_path / "seen.txt").read_text() == ""


@pytest.mark.slow
def test_an_archive_that_says_nothing_holds_a_study_up_for_the_time_that_is_allowed(tmp_path: Path) -> None:
    current = study(tmp_path, NOW)
    uid = uid_of(current)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = Orthanc("ORTHANC", silent.getsockname()[1], free_port(), tmp_path / "none")
        with serving(site(tmp_path, nobody, "dimse", wait_s=2)) as node:
            stored(node, current)
            node.wait_for(uid, "waiting for the archive", wait_s=150)
            assert remarks(node) == [NOT_FETCHED]
            assert len(told(node, uid, "prior not used")) == 1
            node.kill()  # its delivery waits for the same archive, for longer than a test should


@pytest.mark.slow
def test_the_study_before_is_found_in_the_spool_with_its_results(tmp_path: Path) -> None:
    prior, current = study(tmp_path, BEFORE), study(tmp_path, NOW)
    toy = comparing_toy(tmp_path / "pipelines", tmp_path / "seen.txt")
    archive = {"kind": "folder", "path": str(tmp_path / "results")}
    with serving(write_site(tmp_path, archive=archive, pipelines={toy.name: {"folder": str(toy)}})) as node:
        stored(node, prior)
        node.wait_for(uid_of(prior), "delivered", wait_s=150)
        stored(node, current)
        node.wait_for(uid_of(current), "delivered", wait_s=150)
        (found,) = told(node, uid_of(current), "prior found")
        assert found["detail"] == "study of 2025-01-03, 1 series, from the spool"
        assert len((tmp_path / "seen.txt").read_text().split()) == SLICES + 2  # SEG and SR


class Asker:
    """A spool with a patient's present study, beside a real archive that is asked without a node around."""

    def __init__(self, folder: Path, archive: Orthanc, patient_id: str) -> None:
        self.folder = folder
        self.archive = archive
        self.patient_id = patient_id
        self.manifest = read_package(comparing_toy(folder / "toys")).manifest
        self.path = site(folder, archive, "dicomweb")
        self.spool = Spool(folder / "data")
        self.spool.start()
        self.current = spooled(self.spool, self.study(NOW))

    def study(self, day: str, **header: Any) -> Path:
        return study(self.folder, day, PatientID=self.patient_id, **header)

    def holds(self, *studies: Path) -> None:
        OrthancArchive(self.archive.http_url).send([path for one in studies for path in files(one)])

    def found(self, **settings: Any) -> Choice:
        self.path.write_text(yaml.safe_dump(yaml.safe_load(self.path.read_text()) | {"priors": settings}))
        priors = Priors(load(self.path), self.spool)
        priors.start()
        choice = priors.found(self.current, self.spool.revision(self.current), self.manifest, lambda: None)
        priors.stop()
        return choice


@pytest.fixture(scope="module")
def shared_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("archive")) as archive:
        yield archive


@pytest.fixture
def asker(tmp_path: Path, shared_archive: Orthanc, request: pytest.FixtureRequest) -> Iterator[Asker]:
    """Return an asker for a patient of the test's own."""
    named = str(getattr(request, "param", f"P{crc32(request.node.name.encode())}"))
    asker = Asker(tmp_path, shared_archive, named)
    yield asker
    asker.spool.close()


def test_another_patient_of_the_archive_is_not_fetched_and_the_next_one_is(asker: Asker) -> None:
    other, older = asker.study(BEFORE, PatientBirthDate="19710101"), asker.study("20240103")
    asker.holds(other, older, asker.study("20260301"), asker.study("20100101"))
    choice = asker.found()
    assert choice.study_instance_uid == uid_of(older)
    assert choice.reasons == ("the archive says that the birth date differs",)
    assert len(choice.remarks) == 1
    assert sorted(asker.spool.studies()) == sorted([asker.current, uid_of(older)])


def test_what_arrives_is_judged_whatever_the_archive_said(asker: Asker) -> None:
    mixed = asker.study(BEFORE)
    edit(files(mixed)[3], PatientSex="M")
    asker.holds(mixed)
    choice = asker.found()
    assert (choice.study_instance_uid, choice.reasons) == ("", ("the sex differs",))


@pytest.mark.parametrize("settings", [{"max_instances": 3}, {"max_age_days": 100}, {"archive": False}], ids=str)
def test_what_is_taken_is_bounded(asker: Asker, settings: dict[str, Any]) -> None:
    asker.holds(asker.study(BEFORE))
    choice = asker.found(**settings)
    assert (choice.study_instance_uid, choice.remarks) == ("", (NONE,))
    assert asker.spool.studies() == (asker.current,)


def test_the_largest_series_are_left_out_where_there_are_too_many_images(asker: Asker) -> None:
    prior = asker.study(BEFORE)
    few = study(
        asker.folder / "few",
        BEFORE,
        PatientID=asker.patient_id,
        StudyTime="010101",
        StudyInstanceUID=uid_of(prior),
    )
    for path in files(few)[3:]:
        path.unlink()
    asker.holds(prior, few)
    choice = asker.found(max_instances=SLICES)
    assert (choice.study_instance_uid, choice.series, len(choice.files)) == (uid_of(prior), 1, 3)


def test_how_many_are_looked_at_is_bounded(asker: Asker) -> None:
    asker.holds(asker.study(BEFORE, PatientSex="M"), asker.study("20240103"))
    assert asker.found(max_studies=1).study_instance_uid == ""


@pytest.mark.parametrize("asker", ["PHAN*"], indirect=True)
def test_an_id_that_stands_for_others_is_not_asked_for(asker: Asker) -> None:
    asker.holds(asker.study(BEFORE))
    assert asker.found().reasons == ("its Patient ID has characters that archives take for wildcards",)


def test_what_came_in_part_is_asked_for_again(asker: Asker) -> None:
    prior = asker.study(BEFORE)
    asker.holds(prior)
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in files(prior)]
    asker.spool.expect(uid_of(prior), "another", uids, time.time() + 60)
    part = asker.folder / "part"
    part.mkdir()
    for path in files(prior)[:3]:
        (part / path.name).write_bytes(path.read_bytes())
    spooled(asker.spool, part, handed_on=False)
    choice = asker.found()
    assert (choice.source, len(choice.files)) == ("from the archive", SLICES)
