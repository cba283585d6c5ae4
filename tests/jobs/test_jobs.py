"""Jobs: each step once, whatever happens to the node, to a pipeline or to the archive."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pacsai.archive.base import ArchiveUnavailable
from pacsai.jobs import Jobs, database_url, list_jobs, pause_s, workflows
from pacsai.jobs.listing import Job
from tests.conftest import ROOT
from tests.services import postgresql


class ToyWork:
    """Work told in a table: what each pipeline and each delivery does."""

    def __init__(self, *pipelines: str) -> None:
        self.pipelines = list(pipelines)
        self.done: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.archive_is_down = threading.Event()

    def plan(self, study_uid: str, revision: str) -> list[str]:  # noqa: ARG002
        self._do(f"plan {study_uid}")
        return self.pipelines

    def analyse(self, study_uid: str, revision: str, pipeline: str) -> str:  # noqa: ARG002
        self._do(f"analyse {study_uid} {pipeline}")
        return f"{study_uid}-{pipeline}"

    def deliver(self, parcel_id: str) -> None:
        if self.archive_is_down.is_set():
            raise ArchiveUnavailable("nobody answers")
        self._do(f"deliver {parcel_id}")

    def _do(self, what: str) -> None:
        if what in self.failing:
            raise self.failing[what]
        self.done.append(what)


@contextmanager
def started(work: ToyWork, folder: Path, database: str = "sqlite") -> Iterator[Jobs]:
    jobs = Jobs(database, folder, work)
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.stop(grace_s=0)


def wait_for(happens: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def finished(jobs: Jobs) -> Job:
    wait_for(lambda: all(job.state in ("done", "failed") for job in jobs.list()))
    return jobs.list()[0]


def test_a_study_is_planned_analysed_and_delivered(tmp_path: Path) -> None:
    work = ToyWork("chest")
    with started(work, tmp_path) as jobs:
        job_id = jobs.submit("1.2", "r1")
        job = finished(jobs)
    assert work.done == ["plan 1.2", "analyse 1.2 chest", "deliver 1.2-chest"]
    assert (job.id, job.study_instance_uid, job.revision, job.state, job.detail) == (job_id, "1.2", "r1", "done", "")
    assert job.started is not None
    assert job.submitted <= job.started <= job.updated


def test_the_same_revision_twice_is_one_job_and_another_revision_is_another(tmp_path: Path) -> None:
    work = ToyWork("chest")
    with started(work, tmp_path) as jobs:
        assert jobs.submit("1.2", "r1") == jobs.submit("1.2", "r1")
        finished(jobs)
        jobs.submit("1.2", "r1")
        jobs.submit("1.2", "r2")
        finished(jobs)
        assert [job.revision for job in jobs.list("1.2")] == ["r1", "r2"]
        assert jobs.list("9.9") == ()
    assert work.done.count("plan 1.2") == 2


def test_a_pipeline_that_fails_leaves_the_others_alone_and_its_reason_in_the_job(tmp_path: Path) -> None:
    work = ToyWork("head", "chest")
    work.failing["analyse 1.2 head"] = ValueError("slices are missing")
    with started(work, tmp_path) as jobs:
        jobs.submit("1.2", "r1")
        job = finished(jobs)
    assert "deliver 1.2-chest" in work.done
    assert (job.state, job.detail) == ("failed", "head: slices are missing")


def test_a_plan_or_a_delivery_that_fails_ends_the_job_with_its_reason(tmp_path: Path) -> None:
    work = ToyWork("chest")
    work.failing["plan 1.2"] = OSError("the spool cannot be read")
    work.failing["deliver 3.4-chest"] = ValueError("the archive refused 1 of 3 objects")
    with started(work, tmp_path) as jobs:
        jobs.submit("1.2", "r1")
        jobs.submit("3.4", "r1")
        finished(jobs)
        details = [job.detail for job in jobs.list()]
    assert details == [
        "which pipelines to run could not be decided: the spool cannot be read",
        "chest: the archive refused 1 of 3 objects",
    ]


def test_a_study_that_no_pipeline_wants_is_done(tmp_path: Path) -> None:
    with started(ToyWork(), tmp_path) as jobs:
        jobs.submit("1.2", "r1")
        assert finished(jobs).state == "done"


def test_a_delivery_waits_for_its_archive_while_other_studies_are_analysed(tmp_path: Path) -> None:
    work = ToyWork("chest")
    work.archive_is_down.set()
    with started(work, tmp_path) as jobs:
        jobs.submit("1.2", "r1")
        wait_for(lambda: "waits for delivery 2: nobody answers" in jobs.list()[0].detail)
        assert jobs.list()[0].state == "waiting"
        jobs.submit("3.4", "r1")
        wait_for(lambda: "analyse 3.4 chest" in work.done)
        work.archive_is_down.clear()
        assert finished(jobs).state == "done"
    assert sorted(work.done[-2:]) == ["deliver 1.2-chest", "deliver 3.4-chest"]


def test_pauses_between_deliveries_double_up_to_five_minutes() -> None:
    assert [pause_s(attempt) for attempt in (1, 2, 3, 9, 10, 4000)] == [1, 2, 4, 256, 300, 300]


def test_an_archive_is_waited_for_at_least_a_week() -> None:
    pauses = (pause_s(attempt) for attempt in range(1, workflows._attempts()))
    assert sum(pauses) >= 7 * 24 * 3600


def test_a_delivery_is_given_up_in_the_end_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflows, "RETRY_LIMIT_S", 1)
    work = ToyWork("chest")
    work.archive_is_down.set()
    with started(work, tmp_path) as jobs:
        jobs.submit("1.2", "r1")
        job = finished(jobs)
    assert job.state == "failed"
    assert job.detail.startswith("chest: given up after")


def test_there_is_one_engine_in_a_process(tmp_path: Path) -> None:
    with started(ToyWork(), tmp_path), pytest.raises(RuntimeError, match="another Jobs"):
        Jobs("sqlite", tmp_path, ToyWork()).start()


def test_a_start_that_fails_leaves_room_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with pytest.raises(Exception, match="unable to open database file"):
        Jobs("sqlite", tmp_path, ToyWork()).start()
    (tmp_path / "jobs.db").rmdir()
    with started(ToyWork(), tmp_path) as jobs:
        assert jobs.list() == ()


def test_without_a_database_there_are_no_jobs_and_none_is_made(tmp_path: Path) -> None:
    assert list_jobs(database_url("sqlite", tmp_path)) == ()
    assert list(tmp_path.iterdir()) == []


def test_postgresql_does_the_same(tmp_path: Path) -> None:
    work = ToyWork("chest")
    with postgresql(tmp_path) as url, started(work, tmp_path, url) as jobs:
        jobs.submit("1.2", "r1")
        assert finished(jobs).state == "done"
    assert work.done == ["plan 1.2", "analyse 1.2 chest", "deliver 1.2-chest"]


# A node of its own, killed or stopped in the middle.


@contextmanager
def node(folder: Path, *studies: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.jobs.jobs_node", str(folder), "sqlite", *studies]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def steps(folder: Path) -> list[str]:
    written = folder / "steps.txt"
    return written.read_text().splitlines() if written.exists() else []


def jobs_of(folder: Path) -> list[str]:
    return [f"{job.state} {job.detail}".strip() for job in list_jobs(database_url("sqlite", folder))]


def run_until_done(folder: Path) -> None:
    with node(folder):
        wait_for(lambda: jobs_of(folder) == ["done"])


def kill_during(folder: Path, step: str) -> None:
    """Run a node until it is inside `step`, kill it there, and take away what held it."""
    hold = folder / f"hold-{step}"
    hold.touch()
    with node(folder, "1.2") as process:
        wait_for(lambda: any(line.startswith(f"begin {step} ") for line in steps(folder)))
        process.kill()
        process.wait()
    hold.unlink()


def test_killed_during_an_analysis_it_repeats_that_one_and_nothing_before_it(tmp_path: Path) -> None:
    kill_during(tmp_path, "analyse-second")
    run_until_done(tmp_path)
    begun = [line[6:] for line in steps(tmp_path) if line.startswith("begin")]
    assert begun.count("plan 1.2") == 1
    assert begun.count("analyse-first 1.2") == 1
    assert begun.count("analyse-second 1.2") == 2
    assert sorted(line for line in steps(tmp_path) if line.startswith("end")) == [
        "end analyse-first 1.2",
        "end analyse-second 1.2",
        "end deliver 1.2-first",
        "end deliver 1.2-second",
        "end plan 1.2",
    ]


def test_killed_during_a_delivery_it_delivers_once_and_analyses_nothing_again(tmp_path: Path) -> None:
    kill_during(tmp_path, "deliver")
    before = [line for line in steps(tmp_path) if "analyse" in line]
    run_until_done(tmp_path)
    ended = [line for line in steps(tmp_path) if line.startswith("end")]
    assert [line for line in steps(tmp_path) if "analyse-first" in line] == [
        line for line in before if "analyse-first" in line
    ]
    assert ended.count("end deliver 1.2-first") == 1
    assert ended.count("end deliver 1.2-second") == 1


def test_a_delivery_that_waits_goes_on_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "archive-down").touch()
    with node(tmp_path, "1.2"):
        wait_for(lambda: any("first: waits for delivery 3" in words for words in jobs_of(tmp_path)))
    (tmp_path / "archive-down").unlink()
    run_until_done(tmp_path)
    assert steps(tmp_path).count("begin plan 1.2") == 1


def test_told_to_stop_it_ends_in_order_and_goes_on_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "hold-analyse-second").touch()
    with node(tmp_path, "1.2") as process:
        wait_for(lambda: "begin analyse-second 1.2" in steps(tmp_path))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=90)
        assert (process.returncode, output) == (0, b"")
    assert jobs_of(tmp_path) == ["running"]
    (tmp_path / "hold-analyse-second").unlink()
    run_until_done(tmp_path)
    assert steps(tmp_path).count("begin analyse-first 1.2") == 1


def test_the_engine_prints_nothing_and_opens_no_socket(tmp_path: Path) -> None:
    with node(tmp_path, "1.2") as process:
        wait_for(lambda: jobs_of(tmp_path) == ["done"])
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=90)
    assert output == b""
    assert json.loads((tmp_path / "sockets.json").read_text()) == []
