"""Completion by what is announced: a real node, images from storescu, MPPS and IAN from pynetdicom."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import InstanceAvailabilityNotification, ModalityPerformedProcedureStep

from pacsai.completion.announced import Announcement, Board, made_available, step_begun, step_changed
from pacsai.completion.steps import Steps
from pacsai.config import load
from pacsai.notices import Notice, Service
from pacsai.spool import Spool
from tests.nodes import RunningNode, serving, wait_until, write_site
from tests.phantoms import write_ct_series
from tests.toys import toy_pipeline

CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.34"
IMAGES = 8
LONG_S = 300


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """Return the files of a CT of 8 slices with one bright ball."""
    array = np.full((IMAGES, 24, 32), -800, np.int16)
    array[3:6, 10:16, 12:18] = 40
    return write_ct_series(tmp_path / "study", array, np.diag([0.8, 0.8, 2.5, 1.0]))


@contextmanager
def node_of(tmp_path: Path, *, quiet_s: float, mpps_wait_s: float) -> Iterator[RunningNode]:
    with serving(site(tmp_path, quiet_s=quiet_s, mpps_wait_s=mpps_wait_s)) as node:
        yield node


def site(tmp_path: Path, *, quiet_s: float, mpps_wait_s: float) -> Path:
    toy = toy_pipeline(tmp_path / "pipelines")
    archive = {"kind": "folder", "path": str(tmp_path / "results")}
    path = write_site(tmp_path, archive=archive, pipelines={toy.name: {"folder": str(toy)}}, quiet_s=quiet_s)
    settings = yaml.safe_load(path.read_text())
    settings["study"]["mpps_wait_s"] = mpps_wait_s
    path.write_text(yaml.safe_dump(settings))
    return path


def headers(paths: Sequence[Path]) -> list[Dataset]:
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]


def uid_of(paths: Sequence[Path]) -> str:
    return str(headers(paths)[0].StudyInstanceUID)


def data(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def reference(uid: str, sop_class: str = CT, **more: str) -> Dataset:
    return data(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid, **more)


def begun(*studies: str) -> Dataset:
    scheduled = [data(StudyInstanceUID=uid) for uid in studies]
    return data(ScheduledStepAttributesSequence=scheduled, PerformedProcedureStepStatus="IN PROGRESS")


def ended(paths: Sequence[Path], status: str = "COMPLETED", more: Sequence[Dataset] = ()) -> Dataset:
    images = [*(reference(one.SOPInstanceUID) for one in headers(paths)), *more]
    series = data(SeriesInstanceUID=headers(paths)[0].SeriesInstanceUID, ReferencedImageSequence=images)
    return data(PerformedProcedureStepStatus=status, PerformedSeriesSequence=[series])


def available(paths: Sequence[Path], availability: str = "ONLINE") -> Dataset:
    items = [
        reference(one.SOPInstanceUID, InstanceAvailability=availability, RetrieveAETitle="ARCHIVE")
        for one in headers(paths)
    ]
    series = data(SeriesInstanceUID=headers(paths)[0].SeriesInstanceUID, ReferencedSOPSequence=items)
    return data(StudyInstanceUID=uid_of(paths), ReferencedSeriesSequence=[series])


class Modality:
    """A scanner that tells the node of one procedure step."""

    def __init__(self, node: RunningNode) -> None:
        self._port = node.port
        self._step = generate_uid()

    def begins(self, dataset: Dataset) -> None:
        self._tell("send_n_create", ModalityPerformedProcedureStep, dataset, self._step)

    def ends(self, dataset: Dataset) -> None:
        self._tell("send_n_set", ModalityPerformedProcedureStep, dataset, self._step)

    def notifies(self, dataset: Dataset) -> None:
        self._tell("send_n_create", InstanceAvailabilityNotification, dataset, generate_uid())

    def _tell(self, how: str, sop_class: str, dataset: Dataset, uid: str) -> None:
        ae = AE("CT1")
        ae.add_requested_context(sop_class)
        association = ae.associate("127.0.0.1", self._port, ae_title="PACSAI")
        assert association.is_established
        status, _ = getattr(association, how)(dataset, sop_class, uid)
        association.release()
        assert status.Status == 0


def stored(node: RunningNode, paths: Sequence[Path], folder: Path) -> None:
    folder.mkdir()
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    sent = node.store(folder)
    assert sent.returncode == 0, sent.stderr


def told(node: RunningNode, uid: str) -> list[str]:
    return [event["event"] for event in node.events(uid)]


def wait_to_hear(node: RunningNode, uid: str, event: str) -> None:
    wait_until(lambda: " ".join(told(node, uid)), lambda said: event in said, wait_s=30)


def test_a_study_waits_for_its_step_and_is_complete_at_once_when_that_is_done(
    tmp_path: Path, study: list[Path]
) -> None:
    uid = uid_of(study)
    with node_of(tmp_path, quiet_s=1, mpps_wait_s=LONG_S) as node:
        scanner = Modality(node)
        scanner.begins(begun(uid))
        stored(node, study[:-1], tmp_path / "first")
        wait_to_hear(node, uid, "waits for images")
        stored(node, study[-1:], tmp_path / "last")
        time.sleep(2.5)  # it would have been quiet long enough
        assert "analysis started" not in told(node, uid)
        scanner.ends(ended(study))
        node.wait_for(uid, "delivered", wait_s=60)
        assert node.jobs() == 1
        assert "incomplete" not in told(node, uid)
        assert not list((tmp_path / "data" / "announced").glob("*/*.json"))


def test_a_completed_step_whose_images_are_here_needs_no_quiet_time(tmp_path: Path, study: list[Path]) -> None:
    uid = uid_of(study)
    config = site(tmp_path, quiet_s=4, mpps_wait_s=LONG_S)
    with serving(config) as node:
        scanner = Modality(node)
        scanner.begins(begun(uid))
        time.sleep(1.5)
        node.kill()  # what was announced is not lost
    config.write_text(config.read_text().replace("quiet_s: 4", "quiet_s: 5"))
    with serving(config) as node:
        time.sleep(4)  # senders are heard for the quiet time after a start
        stored(node, study, tmp_path / "all")
        sent = time.time()
        scanner.ends(ended(study))
        wait_to_hear(node, uid, "analysis started")
        assert time.time() - sent < 4.5


def test_announced_images_that_do_not_come_are_told_in_the_report(tmp_path: Path, study: list[Path]) -> None:
    uid = uid_of(study)
    with node_of(tmp_path, quiet_s=1, mpps_wait_s=2) as node:
        Modality(node).notifies(available(study))
        stored(node, study[:-1], tmp_path / "part")
        node.wait_for(uid, "delivered", wait_s=60)
        assert told(node, uid).count("waits for images") == 1
        assert told(node, uid).count("incomplete") == 1
    texts = [text for path in (tmp_path / "results").rglob("*.dcm") for text in _texts(pydicom.dcmread(path))]
    assert "1 of 8 images that were announced had not arrived when this was analysed." in texts


def test_a_step_that_never_ends_holds_a_study_up_for_the_time_that_is_allowed(
    tmp_path: Path, study: list[Path]
) -> None:
    uid = uid_of(study)
    spool = Spool(tmp_path / "data")
    steps = Steps(load(site(tmp_path, quiet_s=1, mpps_wait_s=0.4)), spool)
    (heard,) = (handler for (service, _), handler in steps.handlers().items() if service == "N-SET")
    begin = steps.handlers()[("N-CREATE", str(ModalityPerformedProcedureStep))]
    begin(notice("N-CREATE", begun(uid)))
    assert steps.running(uid, "first")
    time.sleep(0.5)
    assert not steps.running(uid, "first")
    assert steps.running(uid, "second"), "a new image starts the time anew"
    heard(notice("N-SET", ended(study)))
    begin(notice("N-CREATE", begun(uid)))  # dealt with again after a crash
    assert not steps.running(uid, "third")
    assert steps.complete() == frozenset()
    spool.close()


def notice(service: Service, dataset: Dataset) -> Notice:
    return Notice(
        service=service,
        sop_class_uid=str(ModalityPerformedProcedureStep),
        sop_instance_uid="2.25.4711",
        type_id=0,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        dataset=encode(dataset, False, True) or b"",
        calling_ae_title="CT1",
        address="127.0.0.1",
        at="2026-01-02T03:04:05+00:00",
    )


def _texts(item: Dataset) -> list[str]:
    below = [text for child in item.get("ContentSequence", ()) for text in _texts(child)]
    return [str(item.TextValue), *below] if "TextValue" in item else below


def test_results_and_what_is_offline_are_not_expected(study: list[Path]) -> None:
    (step,) = step_begun(begun("2.25.1"))
    done = step_changed(step, ended(study, more=[reference("2.25.9", SR)]), alone=True)
    assert (done.state, len(done.images)) == ("COMPLETED", IMAGES)
    assert made_available(available(study, "OFFLINE")).images == ()


def test_a_final_state_stays(study: list[Path]) -> None:
    (step,) = step_begun(begun("2.25.1"))
    broken_off = step_changed(step, ended(study, "DISCONTINUED"), alone=True)
    assert step_changed(broken_off, ended(study), alone=True) == broken_off


def test_a_step_for_two_studies_tells_of_neither_what_to_expect(study: list[Path]) -> None:
    first, second = step_begun(begun("2.25.1", "2.25.2"))
    assert {first.study_instance_uid, second.study_instance_uid} == {"2.25.1", "2.25.2"}
    assert step_changed(first, ended(study), alone=False).images == ()


@pytest.mark.parametrize("dataset", [begun("2.25.1"), Dataset()], ids=["state", "study"])
def test_what_makes_no_sense_is_refused(dataset: Dataset) -> None:
    if dataset:
        dataset.PerformedProcedureStepStatus = "PERHAPS"
        with pytest.raises(ValueError, match="status"):
            step_begun(dataset)
    else:
        with pytest.raises(ValueError, match="names no study"):
            made_available(dataset)


def test_the_board_is_the_same_after_a_restart_and_names_no_file_by_what_a_peer_says(tmp_path: Path) -> None:
    board = Board(tmp_path / "announced")
    known = Announcement("../../x", "IN PROGRESS", ("2.25.3",), time.time())
    old = Announcement("2.25.5", "COMPLETED", (), time.time() - 8 * 86400)
    board.put(Spool.key("old"), old)
    board.put(Spool.key("../y"), known)
    next((tmp_path / "announced").glob("*/*.json")).with_name("torn.json").write_text('{"state": ')
    again = Board(tmp_path / "announced")
    again.load()
    assert again.under(Spool.key("../y")) == again.of("../../x") == [known]
    assert again.studies() == {"../../x"}
    again.forget("../../x")
    assert again.studies() == {"../../x"}, "a step that goes on is not forgotten"
