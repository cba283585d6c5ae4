"""The measuring itself: it sends, counts, compares, and does not believe a receiver that lost something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from pacsai.bench import figures, ingest, processes, receivers
from pacsai.bench.ingest import BenchError, Run
from pacsai.bench.slices import write_slices
from pacsai.cli import app
from pacsai.cli.common import CommandError
from tests.conftest import needs


def run_of(receiver: str, seconds: float, associations: int = 1) -> Run:
    return Run(
        receiver=receiver, associations=associations, instances=10, megabytes=5.25, seconds=seconds, cpu_s=seconds / 2
    )


def test_the_bench_measures_every_receiver_and_says_so_in_json(tmp_path: Path) -> None:
    needs("storescu", "storescp", "Orthanc")
    command = ["bench", "ingest", "--json", "--instances", "10", "--repeats", "1", "--associations", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "pacsai", *command, "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert {run["receiver"] for run in told["runs"]} == set(receivers.KINDS)
    assert all(run["mb_per_s"] > 0 and run["instances"] == 10 for run in told["medians"])
    assert told["sender_start_s"]["1"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_receiver_that_loses_an_image_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("storescu")

    @contextmanager
    def forgetful(folder: Path):  # type: ignore[no-untyped-def]
        with receivers.KINDS["pacsai"].start(folder) as receiver:
            yield receivers.Running(receiver.pid, receiver.port, receiver.ae_title, folder / "quarantine")

    kind = receivers.Kind(forgetful, receivers.storescu)
    monkeypatch.setitem(receivers.KINDS, "forgetful", kind)
    monkeypatch.setattr(ingest, "KEPT_S", 0.1)
    with pytest.raises(BenchError, match="forgetful kept 0 of 2 images"):
        ingest.measure(["forgetful"], [1], instances=2, repeats=1, folder=tmp_path)


def test_slices_are_the_same_for_the_same_seed_and_one_study(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    first, again = write_slices(one, 3, seed=5), write_slices(other, 3, seed=5)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    headers = [dcmread(path) for path in first]
    assert len({header.StudyInstanceUID for header in headers}) == 1
    assert len({header.SOPInstanceUID for header in headers}) == 3
    assert headers[0].pixel_array.shape == (512, 512)
    assert 524_288 < first[0].stat().st_size < 527_000


def test_medians_ratios_and_missed_targets() -> None:
    runs = [run_of("pacsai", seconds) for seconds in (1, 9, 2)] + [run_of("floor", 1.5), run_of("orthanc", 5)]
    assert [run.seconds for run in ingest.medians(runs)] == [2, 1.5, 5]
    found = figures.ratios(runs)
    assert found["pacsai", "floor", 1] == 0.75
    assert found["pacsai", "orthanc", 1] == 2.5
    assert figures.missed(found) == ["pacsai beside floor at 1 associations: 0.75, wanted 0.9"]


def test_processor_time_counts_children_that_ended() -> None:
    burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); sys.stdin.read()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while processes.cpu_seconds(parent.pid) < 0.3:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        parent.communicate()
    assert processes.cpu_seconds(parent.pid) == 0


def test_usage_counts_what_this_process_holds() -> None:
    before = processes.usage(os.getpid())
    with Path("/dev/null").open() as _:
        assert processes.usage(os.getpid()).descriptors == before.descriptors + 1
    assert before.rss_mb > 10
    assert before.threads >= 1


@pytest.mark.parametrize(("floor_s", "status"), [(1.0, 1), (1.9, 0)])
def test_check_ends_with_1_where_a_target_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor_s: float, status: int
) -> None:
    needs("storescu")
    measured = [run_of("pacsai", 2), run_of("floor", floor_s)]
    monkeypatch.setattr(ingest, "measure", lambda *_, **__: measured)
    command = ["bench", "ingest", "--check", "--associations", "1", "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == status, done.output
    assert "| 1 | pacsai | 3 | 5 | 2.00 | 1.00 |" in done.stdout


def test_what_cannot_be_measured_is_said_in_one_line(tmp_path: Path) -> None:
    for options, words in (
        (["--only", "nothing"], "no such receiver"),
        (["--associations", "one"], "numbers"),
        (["--associations", "400"], "from 1 to the number of instances"),
    ):
        refused = CliRunner().invoke(app, ["bench", "ingest", *options]).exception
        assert isinstance(refused, CommandError)
        assert words in str(refused)
