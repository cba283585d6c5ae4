"""A few points of `make crash`, which kills the node at all of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai import faults
from pacsai.peers import free_port
from pacsai.spool import Spool
from tests.conftest import needs
from tests.crash import Account, matrix, table
from tests.phantoms import edit
from tests.services import Orthanc
from tests.trials import Trial, acknowledged


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_where_the_node_is_killed(tmp_path: Path) -> None:
    needs("storescu", "Orthanc")
    accounts = matrix(["intake.named", "completion.submitted", "outbox.sent"], tmp_path, at_once=6)
    assert len(accounts) == 6
    assert all(one.sound for one in accounts), table(accounts)
    assert [(one.before, one.acknowledged) for one in accounts] == [(3, 12)] * 2 + [(12, 12)] * 4


def test_what_is_lost_and_what_is_doubled_is_found(tmp_path: Path) -> None:
    nowhere = Orthanc("ORTHANC", free_port(), free_port(), tmp_path / "none")
    trial = Trial(tmp_path / "trial", nowhere, "sqlite")
    trial.acknowledged = set(trial.study.rglob("*.dcm"))
    kept = trial.data / "spool" / Spool.key(trial.uid) / "instances"
    kept.mkdir(parents=True)
    first, second, *_ = sorted(trial.acknowledged)
    for sent in (first, second):
        shutil.copy(sent, kept / f"{Spool.key(dcmread(sent).SOPInstanceUID)}.dcm")
    assert trial.lost() == 10
    edit(kept / f"{Spool.key(dcmread(second).SOPInstanceUID)}.dcm", PixelData=bytes(48 * 64 * 2))
    assert trial.lost() == 11
    accounts = [Account("intake.kept", "sqlite", **{what: 1}) for what in ("lost", "missing", "doubled")]
    assert not any(one.sound for one in [*accounts, Account("intake.kept", "sqlite", trouble="it never fired")])


def passed(name: str, armed: str) -> subprocess.CompletedProcess[str]:
    script = f"from pacsai import faults\nfor _ in range(3): faults.point({name!r}); print('passed', flush=True)"
    environment = {**os.environ, "PACSAI_FAULT": armed}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)


def test_a_point_kills_where_it_is_armed_at_the_passing_that_is_asked_for() -> None:
    killed = passed("intake.kept", "intake.kept:2")
    assert (killed.returncode, killed.stdout) == (-9, "passed\n")
    assert passed("intake.kept", "intake.named").returncode == 0


def test_a_point_that_does_not_exist_cannot_be_armed() -> None:
    assert "no such point" in passed("intake.kept", "intake.cept").stderr


def test_every_point_stands_in_the_code_and_every_one_there_has_words() -> None:

    sources = "".join(path.read_text() for path in Path(faults.__file__).parent.rglob("*.py"))
    used = set(re.findall(r'faults\.point\("([^"]+)"\)', sources))
    steps = {
        f"jobs.{step}.{when}" for step in ("plan", "analyse", "deliver") for when in ("before", "done", "recorded")
    }
    assert used | steps == set(faults.POINTS)


def test_what_storescu_told_is_read() -> None:
    told = (
        "I: Sending file: /a/1.dcm\nI: Received Store Response (Success)\nI: Sending file: /a/2.dcm\nE: peer aborted\n"
    )
    assert acknowledged(told) == {Path("/a/1.dcm")}
