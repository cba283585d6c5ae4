"""Who goes first, how many go at once, and what is run again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pacsai.config import PriorityRule, StudySettings
from pacsai.jobs import Interrupted, Jobs, database_url, retry_jobs
from pacsai.urgency import is_urgent
from tests.jobs.test_jobs import ToyWork, finished, started, wait_for
from tests.phantoms import edit, write_ct_series

DEFAULT_RULES = StudySettings().priority


class HeldWork(ToyWork):
    """Work whose analyses wait until they are let go, and count how many wait."""

    def __init__(self, *pipelines: str) -> None:
        super().__init__(*pipelines)
        self.let_go = threading.Event()
        self.begun: list[str] = []

    def analyse(self, study_uid: str, revision: str, pipeline: str) -> str:
        self.begun.append(f"{study_uid} {pipeline}")
        if not self.let_go.wait(60):
            raise Interrupted
        return super().analyse(study_uid, revision, pipeline)


def planned(jobs: Jobs, count: int) -> Callable[[], bool]:
    """Tell whether so many studies are planned and wait for an analysis."""
    return lambda: sum(job.state == "waiting" and job.started is not None for job in jobs.list()) == count


def test_an_urgent_study_overtakes_those_that_wait(tmp_path: Path) -> None:
    work = HeldWork("chest")
    with started(work, tmp_path) as jobs:
        jobs.submit("1.1", "r1")
        wait_for(lambda: work.begun == ["1.1 chest"])
        jobs.submit("1.2", "r1")
        wait_for(planned(jobs, 1))
        jobs.submit("1.3", "r1")
        wait_for(planned(jobs, 2))
        jobs.submit("9.9", "r1", urgent=True)
        wait_for(planned(jobs, 3))
        work.let_go.set()
        finished(jobs)
        assert [job.urgent for job in jobs.list()] == [False, False, False, True]
    assert work.begun == ["1.1 chest", "9.9 chest", "1.2 chest", "1.3 chest"]


def test_each_pipeline_analyses_as_many_at_once_as_the_site_says(tmp_path: Path) -> None:
    work = HeldWork("small", "large")
    jobs = Jobs("sqlite", tmp_path, work, at_once={"small": 2, "large": 1})
    jobs.start()
    try:
        for study in ("1.1", "1.2", "1.3"):
            jobs.submit(study, "r1")
        wait_for(lambda: len(work.begun) == 3)
        threading.Event().wait(1.5)
        assert sorted(one.split()[1] for one in work.begun) == ["large", "small", "small"]
        work.let_go.set()
        finished(jobs)
    finally:
        work.let_go.set()
        jobs.stop(grace_s=0)
    assert len(work.begun) == 6


def test_what_failed_is_run_again_and_nothing_else(tmp_path: Path) -> None:
    work = ToyWork("head", "chest")
    work.failing = {
        "analyse 1.2 head": ValueError("out of memory"),
        "deliver 1.2-chest": ValueError("the archive refused it"),
        "plan 3.4": OSError("the disk is away"),
    }
    url = database_url("sqlite", tmp_path)
    with started(work, tmp_path) as jobs:
        first = jobs.submit("1.2", "r1")
        jobs.submit("3.4", "r1")
        finished(jobs)
        assert [job.state for job in jobs.list()] == ["failed", "failed"]
        work.failing = {"deliver 1.2-chest": ValueError("the archive refused it again")}
        assert [job.id for job in retry_jobs(url, first)] == [first]
        assert finished(jobs).detail == "chest: the archive refused it again"
        work.failing = {}
        assert [job.study_instance_uid for job in retry_jobs(url)] == ["1.2", "3.4"]
        finished(jobs)
        assert [(job.state, job.detail) for job in jobs.list()] == [("done", "")] * 2
        assert retry_jobs(url) == ()
    assert sorted(work.done) == [
        "analyse 1.2 chest",
        "analyse 1.2 head",
        "analyse 3.4 chest",
        "analyse 3.4 head",
        "deliver 1.2-chest",
        "deliver 1.2-head",
        "deliver 3.4-chest",
        "deliver 3.4-head",
        "plan 1.2",
        "plan 3.4",
    ]


def test_nothing_is_run_again_where_there_are_no_jobs(tmp_path: Path) -> None:
    assert retry_jobs(database_url("sqlite", tmp_path)) == ()


@pytest.mark.parametrize(("priority", "urgent"), [("STAT", True), ("high ", True), ("ROUTINE", False), (None, False)])
def test_a_study_is_urgent_by_the_priority_of_its_procedure(tmp_path: Path, priority: str | None, urgent: bool) -> None:
    files = write_ct_series(tmp_path)
    if priority:
        edit(files[0], RequestedProcedurePriority=priority)
    assert is_urgent(files, DEFAULT_RULES) == urgent


def test_the_priority_may_stand_in_the_request(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    request = Dataset()
    request.RequestedProcedurePriority = "STAT"
    files = write_ct_series(tmp_path, RequestAttributesSequence=[request])
    assert is_urgent(files, DEFAULT_RULES)


def test_a_site_has_rules_of_its_own(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path, StationName="CT-EMERGENCY", RequestedProcedurePriority="STAT")
    assert is_urgent(files, [PriorityRule(attribute="StationName", values=("ct-emergency",))])
    assert not is_urgent(files, [PriorityRule(attribute="StationName", values=("CT1",))])
    assert not is_urgent(files, [])


def test_a_file_that_cannot_be_read_makes_nothing_urgent(tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no DICOM")
    assert not is_urgent([broken, tmp_path / "missing.dcm"], DEFAULT_RULES)


def test_a_rule_names_a_dicom_keyword() -> None:
    with pytest.raises(ValueError, match="expected a DICOM keyword"):
        PriorityRule(attribute="Urgency", values=("1",))
