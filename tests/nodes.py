"""A real node for tests: `pacsai serve` in a process of its own, on free loopback ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pacsai.jobs import database_url, list_jobs
from pacsai.peers import free_port
from pacsai.spool import Spool
from pacsai.state import state_of
from pacsai.story import Story
from tests.conftest import needs


@dataclass
class RunningNode:
    """A node and what one asks it from outside."""

    folder: Path
    config: Path
    port: int
    process: subprocess.Popen[str]

    def store(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Send every file under `folder` with DCMTK's storescu."""
        command = ["storescu", "-aec", "PACSAI", "+sd", "+r", "-R", "127.0.0.1", str(self.port), str(folder)]
        environment = {**os.environ, "TCP_NODELAY": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    def ask(self, *command: str) -> Any:
        """Return the JSON that a `pacsai` command on this node's site prints."""
        return pacsai_json(*command, "--config", str(self.config))

    def state(self, study_instance_uid: str) -> str:
        """Return the state of a study, from the files that the node writes."""
        return state_of(self.events(study_instance_uid))

    def events(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the story of a study so far."""
        key = Spool.key(study_instance_uid)
        return Story(self.folder / "data" / "spool" / key / "story.jsonl").read()

    def jobs(self) -> int:
        """Return how many jobs the node has had."""
        return len(list_jobs(database_url("sqlite", self.folder / "data")))

    def wait_for(self, study_instance_uid: str, words: str, *, wait_s: float = 120) -> str:
        """Return the study's state once it holds `words`."""
        return wait_until(lambda: self.state(study_instance_uid), lambda state: words in state, wait_s=wait_s)

    def kill(self) -> None:
        """End the node as a power cut would."""
        self.process.kill()
        self.process.wait()


def wait_until(ask: Callable[[], str], enough: Callable[[str], bool], *, wait_s: float = 120) -> str:
    """Ask until the answer is enough, and return it."""
    end = time.monotonic() + wait_s
    while not enough(answer := ask()):
        assert time.monotonic() < end, f"after {wait_s:g} s it still says {answer!r}"
        time.sleep(0.3)
    return answer


def write_site(
    folder: Path,
    *,
    archive: Mapping[str, Any],
    pipelines: Mapping[str, Any],
    quiet_s: float = 1,
    database: str = "sqlite",
    port: int = 0,
) -> Path:
    """Write a site file into `folder` and return its path."""
    site = {
        "node": {"ae_title": "PACSAI", "host": "127.0.0.1", "port": port or free_port(), "data": "./data"},
        "study": {"quiet_s": quiet_s},
        "archive": dict(archive),
        "jobs": {"database": database},
        "pipelines": dict(pipelines),
    }
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    return path


@contextmanager
def serving(config: Path) -> Iterator[RunningNode]:
    """Run the node of a site file until the block ends; it must then drain and exit with 0, unless it was killed."""
    needs("storescu")
    port = yaml.safe_load(config.read_text())["node"]["port"]
    with (config.parent / "node.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pacsai", "serve", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    node = RunningNode(config.parent, config, port, process)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready "), (config.parent / "node.log").read_text()[-3000:]
        yield node
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def pacsai_json(*command: str) -> Any:
    """Run a `pacsai` command with --json and return what it printed."""
    finished = subprocess.run(
        [sys.executable, "-m", "pacsai", *command, "--json"], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout)
