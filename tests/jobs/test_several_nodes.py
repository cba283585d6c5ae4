"""Several nodes on one PostgreSQL and one data folder: a dead one's jobs are taken over, never done by two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml

from pacsai.jobs import list_jobs
from pacsai.jobs.lease import Lease, LeaseLost
from pacsai.peers import free_port
from tests.conftest import ROOT
from tests.jobs.test_jobs import steps, wait_for
from tests.nodes import serving, write_site
from tests.services import orthanc, postgresql
from tests.test_node import ct_with_balls, uid_of
from tests.toys import toy_pipeline


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    return f"{server}_{zlib.crc32(request.node.name.encode())}"


@contextmanager
def node(folder: Path, database: str, *studies: str, lease_s: float = 10) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.jobs_node", str(folder), database, *studies],
        cwd=ROOT,
        env={**os.environ, "LEASE_S": str(lease_s)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _let_time_pass(database: str, time: str) -> None:
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(f"UPDATE pacsai_lease SET ended_at = ended_at - interval '{time}'")


def begun(folder: Path, step: str) -> int:
    return sum(line.startswith(f"begin {step} ") for line in steps(folder))


def ended(folder: Path) -> list[str]:
    return sorted(line[4:] for line in steps(folder) if line.startswith("end"))


DONE_ONCE = ["analyse-first 1.2", "analyse-second 1.2", "deliver 1.2-first", "deliver 1.2-second", "plan 1.2"]


def states(database: str) -> list[str]:
    return [job.state for job in list_jobs(database)]


@pytest.mark.slow
def test_a_node_that_dies_is_taken_over_from_within_15_s(tmp_path: Path, database: str) -> None:
    hold = tmp_path / "hold-analyse-second"
    hold.touch()
    with node(tmp_path, database, "1.2") as dying:
        wait_for(lambda: "begin analyse-second 1.2" in steps(tmp_path))
        (tmp_path / "sockets.json").unlink()
        with node(tmp_path, database):
            wait_for((tmp_path / "sockets.json").exists)
            wait_for(lambda: "end deliver 1.2-first" in steps(tmp_path))
            dying.kill()
            died = time.monotonic()
            hold.unlink()
            wait_for(lambda: states(database) == ["done"], 30)
            assert time.monotonic() - died < 15
    assert ended(tmp_path) == DONE_ONCE
    assert begun(tmp_path, "analyse-second") == 2


def test_a_node_that_was_only_away_does_nothing_more_and_ends(tmp_path: Path, database: str) -> None:
    hold = tmp_path / "hold-analyse-first"
    hold.touch()
    with node(tmp_path, database, "1.2", lease_s=2) as away:
        wait_for(lambda: "begin analyse-first 1.2" in steps(tmp_path))
        away.send_signal(signal.SIGSTOP)
        with node(tmp_path, database, lease_s=2):
            wait_for(lambda: begun(tmp_path, "analyse-first") == 2)
            hold.unlink()
            away.send_signal(signal.SIGCONT)
            assert away.wait(30) == 0
            assert (tmp_path / f"lost-{away.pid}").exists()
            wait_for(lambda: states(database) == ["done"])
    assert ended(tmp_path) == DONE_ONCE


def test_what_a_node_left_that_was_stopped_is_taken_over_however_long_ago(tmp_path: Path, database: str) -> None:
    hold = tmp_path / "hold-analyse-first"
    hold.touch()
    with node(tmp_path, database, "1.2", lease_s=60) as stopped:
        wait_for(lambda: "begin analyse-first 1.2" in steps(tmp_path))
        stopped.terminate()
        assert stopped.wait(30) == 0
    _let_time_pass(database, "30 days")
    hold.unlink()
    with node(tmp_path, database, lease_s=3):
        wait_for(lambda: states(database) == ["done"], 30)
    assert ended(tmp_path) == DONE_ONCE


def test_a_node_with_data_of_its_own_takes_nothing_over(tmp_path: Path, database: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "hold-analyse-first").touch()
    with node(here, database, "1.2", lease_s=1) as dying:
        wait_for(lambda: "begin analyse-first 1.2" in steps(here))
        dying.kill()
    with node(there, database, "1.2", lease_s=1):
        wait_for(lambda: ended(there) == DONE_ONCE)
        time.sleep(2)
        assert ended(there) == DONE_ONCE
    assert sorted(states(database)) == ["done", "running"]


def test_a_lease_that_runs_out_is_ended_once_and_cannot_be_renewed(server: str) -> None:
    url = f"{server.rpartition('/')[0]}/postgres"
    dying, one, two = (Lease(url, f"lease-{name}", "place", lease_s=0.5) for name in ("dying", "one", "two"))
    elsewhere = Lease(url, "lease-elsewhere", "another place", lease_s=0.5)
    for lease in (dying, one, two, elsewhere):
        lease.acquire()
    time.sleep(0.6)
    for lease in (one, two, elsewhere):
        lease.renew()
    assert [*one.end_dead(), *two.end_dead(), *elsewhere.end_dead()] == ["lease-dying"]
    assert one.ended() == two.ended() == ("lease-dying",)
    assert elsewhere.ended() == ()
    with pytest.raises(LeaseLost):
        dying.renew()
    for lease in (dying, one, two, elsewhere):
        lease.release()


def test_the_first_of_a_place_leads_and_the_next_only_after_its_end(server: str) -> None:
    url = f"{server.rpartition('/')[0]}/postgres"
    first, second = (Lease(url, f"lead-{name}", "led", lease_s=0.5) for name in ("second", "first"))
    elsewhere = Lease(url, "lead-elsewhere", "led elsewhere", lease_s=0.5)
    for lease in (first, second, elsewhere):
        lease.acquire()
    assert [one.leads() for one in (first, second, elsewhere)] == [True, False, True]
    time.sleep(0.6)
    assert not second.leads(), "the first may still be at it"
    assert second.end_dead() == ("lead-second",)
    assert [one.leads() for one in (first, second)] == [False, True]
    for lease in (first, second, elsewhere):
        lease.release()


# Whole nodes.


@pytest.mark.slow
def test_two_nodes_make_one_set_of_results_though_one_was_away(tmp_path: Path, database: str) -> None:
    study = ct_with_balls(tmp_path / "study")
    uid = uid_of(study)
    pipeline = toy_pipeline(tmp_path / "pipelines", misbehave="time.sleep(3)")
    with orthanc(tmp_path) as archive:
        one = write_site(
            tmp_path,
            archive={"kind": "dimse", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": archive.dicom_port},
            pipelines={pipeline.name: {"folder": str(pipeline)}},
            database=database,
        )
        settings = yaml.safe_load(one.read_text())
        settings["jobs"]["lease_s"] = 2
        one.write_text(yaml.safe_dump(settings))
        settings["node"] |= {"port": free_port(), "ae_title": "PACSAI2", "receivers": 1}
        two = tmp_path / "two.yaml"
        two.write_text(yaml.safe_dump(settings))
        with serving(one) as away:
            assert away.store(study).returncode == 0
            away.wait_for(uid, "being analysed")
            away.process.send_signal(signal.SIGSTOP)
            with serving(two) as other:
                other.wait_for(uid, "delivered")
                away.process.send_signal(signal.SIGCONT)
                assert away.process.wait(60) == 2
                assert states(database) == ["done"]
        assert Counter(found["Modality"] for found in archive.instances(uid)) == {"SEG": 1, "SR": 1, "PR": 1}
    told = [event["event"] for event in other.events(uid)]
    assert (told.count("analysis started"), told.count("analysed"), told.count("delivered")) == (2, 1, 1)
    assert "another took its jobs over" in (tmp_path / "node.log").read_text()
