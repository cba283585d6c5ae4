"""The node, from outside: real storescu in, real Orthanc out, and what happens when something breaks between."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pacsai.peers import free_port
from tests.nodes import RunningNode, serving, wait_until, write_site
from tests.phantoms import write_ct_series
from tests.services import Orthanc, answering_scp, orthanc
from tests.toys import toy_pipeline


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder with a small CT that holds two bright balls."""
    return ct_with_balls(tmp_path / "study")


def ct_with_balls(folder: Path, *, z_mm: float = 0, **headers: Any) -> Path:
    array = np.full((12, 48, 64), -800, np.int16)
    array[3:6, 10:16, 20:27] = 40
    array[7:10, 30:34, 40:45] = 60
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    affine[2, 3] = z_mm
    write_ct_series(folder, array, affine, **headers)
    return folder


def uid_of(study: Path) -> str:
    return str(pydicom.dcmread(next(study.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)


def site(tmp_path: Path, archive: Orthanc, **toy: Any) -> Path:
    folder = toy_pipeline(tmp_path / "pipelines", **toy)
    return write_site(
        tmp_path,
        archive={"kind": "dimse", "ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port},
        pipelines={folder.name: {"folder": str(folder), "results": ["SEG", "SR", "GSPS"]}},
    )


def kinds(archive: Orthanc, study_instance_uid: str) -> Counter[str]:
    return Counter(one["Modality"] for one in archive.instances(study_instance_uid))


def stored(node: RunningNode, folder: Path) -> None:
    sent = node.store(folder)
    assert sent.returncode == 0, sent.stderr


def test_results_reach_the_archive_and_a_second_sending_adds_nothing(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive)) as node:
        stored(node, study)
        assert node.wait_for(uid, "delivered") == "findings (2), delivered"
        assert kinds(archive, uid) == {"SEG": 1, "SR": 1, "PR": 1}

        before = {one["SOPInstanceUID"] for one in archive.instances(uid)}
        stored(node, study)
        stored(node, study)
        wait_until(lambda: str(node.jobs()), lambda count: count == "1", wait_s=5)
        assert {one["SOPInstanceUID"] for one in archive.instances(uid)} == before


def test_the_story_of_a_study_can_be_read_from_arrival_to_delivery(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive)) as node:
        stored(node, study)
        node.wait_for(uid, "delivered")
        events = node.events(uid)
        assert node.ask("studies") == [{"study_instance_uid": uid, "instances": 12, "state": "findings (2), delivered"}]
        assert node.ask("study", uid)["events"] == events
        assert [job["state"] for job in node.ask("jobs")] == ["done"]
    told = [event["event"] for event in events]
    assert [event for event in told if event in {"complete", "routed", "analysed", "delivered"}] == [
        "complete",
        "routed",
        "analysed",
        "delivered",
    ]
    analysed = next(event for event in events if event["event"] == "analysed")
    assert len(analysed["findings"]) == 2
    assert [series["taken"] for series in analysed["series"]] == [True]


def test_a_node_killed_during_the_analysis_gives_one_set_of_results_after_a_restart(
    tmp_path: Path, study: Path
) -> None:
    uid = uid_of(study)
    with orthanc(tmp_path) as archive:
        config = site(tmp_path, archive, misbehave="time.sleep(4)")
        with serving(config) as node:
            stored(node, study)
            node.wait_for(uid, "being analysed")
            node.kill()
        assert kinds(archive, uid) == {}
        with serving(config) as node:
            node.wait_for(uid, "delivered")
            assert kinds(archive, uid) == {"SEG": 1, "SR": 1, "PR": 1}
        assert list((tmp_path / "data" / "work").iterdir()) == []


def test_an_archive_that_is_down_gets_the_results_when_it_is_back_even_over_a_restart(
    tmp_path: Path, study: Path
) -> None:
    uid = uid_of(study)
    ports = {"dicom_port": free_port(), "http_port": free_port()}
    down = Orthanc("ORTHANC", ports["dicom_port"], ports["http_port"], tmp_path / "none")
    config = site(tmp_path, down)
    with serving(config) as node:
        stored(node, study)
        node.wait_for(uid, "waiting for the archive")
    with serving(config) as node, orthanc(tmp_path, **ports) as archive:
        node.wait_for(uid, "delivered")
        assert kinds(archive, uid) == {"SEG": 1, "SR": 1, "PR": 1}


def test_an_analysis_that_breaks_is_told_in_an_sr_and_the_node_stays_up(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    crash = "os.kill(os.getpid(), signal.SIGSEGV)"
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive, misbehave=crash)) as node:
        stored(node, study)
        state = node.wait_for(uid, "delivered")
        assert state.startswith("not analysed because the analysis was ended by signal 11")
        assert kinds(archive, uid) == {"SR": 1}
        stored(node, ct_with_balls(tmp_path / "another", z_mm=100))


def test_a_late_instance_reopens_the_study_and_makes_a_new_revision(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    late = tmp_path / "late"
    late.mkdir()
    last = max(study.rglob("*.dcm"), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    shutil.move(last, late / last.name)
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive)) as node:
        stored(node, study)
        node.wait_for(uid, "delivered")
        stored(node, late)
        wait_until(lambda: str(kinds(archive, uid)["SR"]), lambda count: count == "2")
        assert node.jobs() == 2


def test_results_that_come_back_to_the_node_are_never_analysed(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive)) as node:
        stored(node, study)
        node.wait_for(uid, "delivered")
        back = tmp_path / "back"
        back.mkdir()
        for one in archive.instances(uid):
            (back / f"{one['ID']}.dcm").write_bytes(archive.file(one["ID"]))
        stored(node, back)
        wait_until(lambda: str(node.jobs()), lambda count: count == "2")
        node.wait_for(uid, "delivered")
        assert kinds(archive, uid) == {"SEG": 1, "SR": 1, "PR": 1}


def test_two_patients_under_one_study_uid_are_told_and_nothing_is_made_of_them(tmp_path: Path, study: Path) -> None:
    uid = uid_of(study)
    other = ct_with_balls(tmp_path / "other", z_mm=100, StudyInstanceUID=uid, PatientID="OTHER", PatientName="Other")
    with orthanc(tmp_path) as archive, serving(site(tmp_path, archive)) as node:
        stored(node, study)
        stored(node, other)
        assert "more than one patient" in node.wait_for(uid, "not analysed")
        assert archive.count() == 0


def test_an_archive_that_refuses_is_told_in_its_words(tmp_path: Path, study: Path) -> None:
    folder = toy_pipeline(tmp_path / "pipelines")
    with answering_scp(0xA900) as (port, received):
        config = write_site(
            tmp_path,
            archive={"kind": "dimse", "ae_title": "ANSWERS", "host": "127.0.0.1", "port": port},
            pipelines={folder.name: {"folder": str(folder)}},
        )
        with serving(config) as node:
            stored(node, study)
            state = node.wait_for(uid_of(study), "refused by the archive")
            assert "3 of 3 objects" in state
            assert [job["state"] for job in node.ask("jobs")] == ["failed"]
    assert len(received) == 3


def test_a_folder_takes_the_results_too(tmp_path: Path, study: Path) -> None:
    folder = toy_pipeline(tmp_path / "pipelines")
    config = write_site(
        tmp_path,
        archive={"kind": "folder", "path": "./results"},
        pipelines={folder.name: {"folder": str(folder), "results": ["SEG", "SR", "GSPS", "SC", "KO"]}},
    )
    with serving(config) as node:
        stored(node, study)
        node.wait_for(uid_of(study), "delivered")
    assert len(list((tmp_path / "results").rglob("*.dcm"))) == 5


def test_a_site_file_that_cannot_be_used_ends_the_start_in_one_line(tmp_path: Path) -> None:
    config = write_site(tmp_path, archive={"kind": "folder", "path": "./r"}, pipelines={"chest_ct_nodles": {}})
    finished = subprocess.run(
        [sys.executable, "-m", "pacsai", "serve", "--config", str(config)], capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 2
    assert re.search("pipelines.chest_ct_nodles: no such pipeline; there are .*chest_ct_nodules", finished.stderr)
    assert "Traceback" not in finished.stderr
