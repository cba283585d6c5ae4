"""TLS files that vanish while the node runs: told once, no circle of dying processes, and the plain port serves on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pacsai.config import Limits
from pacsai.dicom.scp import backoff
from pacsai.dicom.scp.backoff import Backoff
from pacsai.dicom.tls import client_context
from tests import wire
from tests.dicom.test_scp import Running
from tests.papers import Papers


def until(so: Callable[[], bool], wait_s: float = 20) -> None:
    end = time.monotonic() + wait_s
    while not so():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.1)


def told(node: Running) -> list[object]:
    return [event["reason"] for event in node.events() if event["event"] == "TLS certificate"]


def test_pauses_double_up_to_a_minute_and_begin_anew_after_success(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    again, pauses = Backoff(), []
    assert again.is_due()
    for _ in range(8):
        again.failed()
        begun = now[0]
        while not again.is_due():
            now[0] += 1
        pauses.append(now[0] - begun)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    again.worked()
    assert (again.is_due(), again.pause_s) == (True, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_plain_port_serves_on_and_tls_comes_back_with_its_files(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    tls, limits = papers.settings(), Limits(free_gb=0)
    node = Running(tmp_path / "data", tls=tls, receivers=1, limits=limits)
    try:
        assert wire.echo(node.receiver.port) == 0
        hidden = tls.key.rename(tmp_path / "hidden.key")
        [helper] = node.receiver._helpers
        helper.process.kill()
        until(lambda: bool(told(node)))
        assert wire.echo(node.receiver.port) == 0
        time.sleep(1.5)
        assert len(told(node)) == 1
        assert "plain port only" in str(told(node))
        hidden.rename(tls.key)
        until(lambda: len(told(node)) == 2)
        until(lambda: [one.tls and one.ready for one in node.receiver._helpers] == [True])
        entity = AE("TESTER")
        entity.add_requested_context(Verification)
        tls_args = (client_context(papers.settings("client")), "127.0.0.1")
        association = entity.associate("127.0.0.1", node.receiver.tls_port, ae_title="PACSAI", tls_args=tls_args)
        assert association.is_established
        association.release()
        assert wire.echo(node.receiver.port) == 0
        assert [event["event"] for event in node.events()].count("receiver process ended") == 1
    finally:
        node.stop()
