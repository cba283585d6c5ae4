"""A real node under attack, watched all the while: an honest peer's C-ECHO, and the memory of all its processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pacsai.peers import free_port
from pacsai.spool import Spool
from pacsai.story import Story
from tests import wire
from tests.nodes import RunningNode, serving

ECHO_S = 2.0
MEMORY_MB = 1000


def site_file(
    folder: Path, data: Path | None = None, *, pipelines: Mapping[str, Any] | None = None, **limits: object
) -> Path:
    """Write the settings of a node that gives up on slow peers after seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    site = {
        "node": {
            "port": free_port(),
            "data": str(data or folder / "data"),
            "limits": {"request_timeout_s": 3, "network_timeout_s": 4, "free_gb": 0.001, **limits},
        },
        "study": {"quiet_s": 0.5},
        "archive": {"kind": "folder", "path": str(folder / "archive")},
        "pipelines": dict(pipelines or {}),
    }
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    return path


@dataclass
class Watch:
    """What was seen while something went on."""

    slowest_s: float = 0
    echoes: int = 0
    failures: list[str] = field(default_factory=list)
    memory_mb: float = 0

    def check(self) -> None:
        """Fail unless the node answered in time throughout, and stayed small."""
        assert self.failures == []
        assert self.echoes >= 2
        assert self.slowest_s < ECHO_S
        assert self.memory_mb < MEMORY_MB


@contextmanager
def watched(node: RunningNode) -> Iterator[Watch]:
    """Watch the node while the block runs, and once more after it; then check."""
    watch, done = Watch(), threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            _look(node, watch)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
        time.sleep(0.5)
    finally:
        done.set()
        thread.join()
    _look(node, watch)
    assert node.process.poll() is None, "the node is gone"
    watch.check()


def _look(node: RunningNode, watch: Watch) -> None:
    began = time.monotonic()
    try:
        status = wire.echo(node.port)
        if status:
            watch.failures.append(f"status 0x{status:04X}")
    except (OSError, wire.Closed) as error:
        watch.failures.append(f"{type(error).__name__} {error} after {time.monotonic() - began:.1f} s")
    watch.echoes += 1
    watch.slowest_s = max(watch.slowest_s, time.monotonic() - began)
    watch.memory_mb = max(watch.memory_mb, memory_mb(node.process.pid))


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and all its descendants."""
    total = 0.0
    for one in descendants(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
    return total


def descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def stories(node: RunningNode) -> list[dict[str, Any]]:
    """Return every event that the node told, of itself and of any study."""
    data = Path(yaml.safe_load(node.config.read_text())["node"]["data"])
    return [event for path in sorted(data.rglob("story.jsonl")) for event in Story(path).read()]


def study_story(node: RunningNode, study_instance_uid: str) -> list[dict[str, Any]]:
    """Return the story of one study."""
    data = Path(yaml.safe_load(node.config.read_text())["node"]["data"])
    return Story(data / "spool" / Spool.key(study_instance_uid) / "story.jsonl").read()


@contextmanager
def besieged(
    folder: Path, data: Path | None = None, *, pipelines: Mapping[str, Any] | None = None, **limits: object
) -> Iterator[RunningNode]:
    """Run a node in `folder`."""
    with serving(site_file(folder, data, pipelines=pipelines, **limits)) as node:
        yield node
