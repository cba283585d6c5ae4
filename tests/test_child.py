"""An analysis runs in a process of its own, under limits, and its end is told in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacsai.child import AnalysisBroke, Ended, Request, run
from pacsai.registry import read_package
from tests.phantoms import write_ct_series
from tests.toys import toy_pipeline


def request_for(tmp_path: Path, pipeline: Path, **changes: Any) -> Request:
    files = write_ct_series(tmp_path / "instances")
    request = Request(
        study_instance_uid=str(pydicom.dcmread(files[0]).StudyInstanceUID),
        instances=str(tmp_path / "instances"),
        pipeline=str(pipeline),
        results=("SR",),
        place=0,
        installation="TEST",
        folder=str(tmp_path / "out"),
        now="2026-01-02T03:04:05+00:00",
    )
    return replace(request, **changes)


def run_toy(tmp_path: Path, ending: threading.Event | None = None, **toy: Any) -> dict[str, Any]:
    pipeline = toy_pipeline(tmp_path / "pipelines", **toy)
    limits = read_package(pipeline).manifest.resources
    return run(request_for(tmp_path, pipeline), limits, ending or threading.Event())


def test_the_report_comes_back_with_objects_that_exist(tmp_path: Path) -> None:
    report = run_toy(tmp_path)
    assert report["outcome"] in {"findings", "no finding"}
    assert [one["kind"] for one in report["objects"]] == ["SR"]
    assert all(Path(one["file"]).is_file() for one in report["objects"])


@pytest.mark.parametrize(
    ("toy", "reason"),
    [
        ({"misbehave": "os.kill(os.getpid(), signal.SIGSEGV)"}, "ended by signal 11"),
        ({"misbehave": "time.sleep(60)", "timeout_s": 5}, "took longer than its limit of 5 s"),
        ({"misbehave": "np.ones(10**9)", "memory_gb": 1.5}, "its memory limit is 1.5 GB"),
        ({"misbehave": "raise RuntimeError('bad luck')"}, "ended with status 1"),
    ],
    ids=["crash", "too long", "too much memory", "error"],
)
def test_an_analysis_that_breaks_is_told_by_its_reason(tmp_path: Path, toy: dict[str, Any], reason: str) -> None:
    with pytest.raises(AnalysisBroke, match=reason):
        run_toy(tmp_path, **toy)


def test_a_refusal_is_made_into_an_sr_without_any_analysis(tmp_path: Path) -> None:
    pipeline = toy_pipeline(tmp_path / "pipelines", misbehave="os.kill(os.getpid(), signal.SIGSEGV)")
    request = request_for(tmp_path, pipeline, refusal="the analysis was ended by signal 11")
    report = run(request, read_package(pipeline).manifest.resources, threading.Event())
    assert (report["outcome"], report["reason"]) == ("not analysed", "the analysis was ended by signal 11")
    assert [one["kind"] for one in report["objects"]] == ["SR"]


def test_a_stopping_node_cuts_the_analysis_off(tmp_path: Path) -> None:
    ending = threading.Event()
    threading.Timer(1, ending.set).start()
    start = time.monotonic()
    with pytest.raises(Ended):
        run_toy(tmp_path, ending, misbehave="time.sleep(60)")
    assert time.monotonic() - start < 10


def test_the_child_dies_with_the_node(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pipeline = toy_pipeline(
        tmp_path / "pipelines", misbehave=f"open({str(pid_file)!r}, 'w').write(str(os.getpid())) and time.sleep(60)"
    )
    code = (
        "import threading\nfrom pathlib import Path\nfrom tests.test_child import request_for\n"
        "from pacsai.child import run\nfrom pacsai.registry import read_package\n"
        f"folder, pipeline = Path({str(tmp_path)!r}), Path({str(pipeline)!r})\n"
        "run(request_for(folder, pipeline), read_package(pipeline).manifest.resources, threading.Event())\n"
    )
    node = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    end = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < end
        time.sleep(0.1)
    child = int(pid_file.read_text())
    node.send_signal(signal.SIGKILL)
    node.wait()
    while Path(f"/proc/{child}").exists() and _alive(child):
        assert time.monotonic() < end
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
