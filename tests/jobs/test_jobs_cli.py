"""`pacsai jobs` and `pacsai jobs retry`, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pacsai.peers import free_port
from tests.jobs.test_jobs import ToyWork, finished, started
from tests.nodes import write_site


def pacsai(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pacsai", *command], capture_output=True, text=True, timeout=120)


def site(folder: Path, database: str = "sqlite") -> str:
    return str(write_site(folder, archive={"kind": "folder", "path": "./r"}, pipelines={}, database=database))


def test_failed_jobs_are_listed_and_run_again(tmp_path: Path) -> None:
    config = site(tmp_path)
    (tmp_path / "data").mkdir()
    work = ToyWork("chest")
    work.failing = {"analyse 1.2 chest": ValueError("out of memory")}
    with started(work, tmp_path / "data") as jobs:
        jobs.submit("1.2", "r1", urgent=True)
        jobs.submit("3.4", "r1")
        finished(jobs)
        listed = pacsai("jobs", "-c", config, "--failed", "--json")
        assert [(job["study_instance_uid"], job["urgent"]) for job in json.loads(listed.stdout)] == [("1.2", True)]
        assert "out of memory" in " ".join(pacsai("jobs", "-c", config).stdout.split())
        work.failing = {}
        again = pacsai("jobs", "retry", "1.2", "-c", config, "--json")
        assert [job["state"] for job in json.loads(again.stdout)] == ["failed"], again.stderr
        finished(jobs)
        assert {job.state for job in jobs.list()} == {"done"}
    none = pacsai("jobs", "retry", "1.2", "-c", config)
    assert (none.returncode, "no job of this id or study has failed" in none.stderr) == (2, True)
    assert pacsai("jobs", "retry", "--all", "-c", config, "--json").stdout.strip() == "[]"


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    away = site(tmp_path, f"postgresql://pacsai@127.0.0.1:{free_port()}/pacsai")
    for command, words in (
        (("jobs",), "--config is missing"),
        (("jobs", "retry", "-c", away), "give the id of a job"),
        (("jobs", "-c", away), "cannot be reached"),
    ):
        told = pacsai(*command)
        assert (told.returncode, words in told.stderr) == (2, True), told.stderr
        assert "Traceback" not in told.stderr
