"""A node that only runs jobs, to be killed by tests: ``python -m tests.jobs.jobs_node FOLDER DATABASE [STUDY ...]``.

Its work writes what it does to FOLDER/steps.txt, a line at the beginning and one at the end of each step. A step waits
while a file FOLDER/hold-<step> exists, and gives up waiting as interrupted when the node is told to stop. LEASE_S in
the environment is how long its lease lasts; FOLDER/lost-<process id> is made when it was lost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pacsai.archive.base import ArchiveUnavailable
from pacsai.jobs import Interrupted, Jobs


class RecordedWork:
    """Two pipelines, each with one parcel; the archive is down while FOLDER/archive-down exists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told_to_stop = threading.Event()
        self.check_lease: Callable[[], None] = lambda: None

    def plan(self, study_uid: str, revision: str) -> list[str]:  # noqa: ARG002
        with self._step("plan", study_uid):
            return ["first", "second"]

    def analyse(self, study_uid: str, revision: str, pipeline: str) -> str:  # noqa: ARG002
        with self._step(f"analyse-{pipeline}", study_uid):
            return f"{study_uid}-{pipeline}"

    def deliver(self, parcel_id: str) -> None:
        with self._step("deliver", parcel_id):
            if (self.folder / "archive-down").exists():
                raise ArchiveUnavailable("nobody answers")

    @contextmanager
    def _step(self, name: str, subject: str) -> Iterator[None]:
        self._write(f"begin {name} {subject}")
        while (self.folder / f"hold-{name}").exists():
            if self.told_to_stop.is_set():
                raise Interrupted
            time.sleep(0.02)
        yield
        self.check_lease()
        self._write(f"end {name} {subject}")

    def _write(self, line: str) -> None:
        with (self.folder / "steps.txt").open("a") as file:
            file.write(line + "\n")


def internet_sockets() -> list[str]:
    """Return this process's TCP and UDP sockets, as lines of /proc/net."""
    mine = {_target(link)[8:-1] for link in Path("/proc/self/fd").iterdir() if "socket:" in _target(link)}
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6", "udp", "udp6")]
    return [line for table in tables for line in table if line.split()[9] in mine]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def main(folder: Path, database: str, studies: list[str]) -> None:
    work = RecordedWork(folder)

    def lost() -> None:
        (folder / f"lost-{os.getpid()}").touch()
        work.told_to_stop.set()

    jobs = Jobs(database, folder, work, lease_s=float(os.environ.get("LEASE_S", "10")), lost=lost)
    work.check_lease = jobs.check_lease
    signal.signal(signal.SIGTERM, lambda *_: work.told_to_stop.set())
    jobs.start()
    for study in studies:
        jobs.submit(study, "r1")
    (folder / "sockets.json").write_text(json.dumps(internet_sockets()))
    work.told_to_stop.wait()
    jobs.stop(grace_s=5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
