"""The soak itself: a node, senders, a watcher, and the count afterwards."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from pacsai.bench.processes import Usage, usage
from pacsai.dicom import part10
from pacsai.peers import free_port
from pacsai.spool import Spool
from tests.soak.instances import make
from tests.soak.sender import Tally, send_share
from tests.soak.watch import Trend, trend, unfinished, watched

SPARE = 4
"""Descriptors and threads that a node at rest may have more than before: a pool's size is not a leak."""
REST_S = 90
"""A node comes to rest in so long: above its network timeout, after which it drops whoever went without a word."""
HIGHEST_MB = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a soak; `before` and `after` are the node at rest, warm."""

    instances: int
    megabytes: float
    seconds: float
    events: dict[str, int]
    before: Usage
    after: Usage
    memory: Trend
    most_unfinished: int
    left_unfinished: list[str]
    left_temporary: list[str]
    unacknowledged: int
    lost: int

    def violations(self) -> list[str]:
        """Return what must not be, a line each."""
        checks = {
            f"{self.unacknowledged} instances were never acknowledged": self.unacknowledged > 0,
            f"{self.lost} acknowledged instances are not in the spool as they were sent": self.lost > 0,
            f"memory grew by {self.memory.gain_mb:.0f} MB after the first fifth": not self.memory.flat,
            f"memory reached {self.memory.highest_mb:.0f} MB": self.memory.highest_mb > HIGHEST_MB,
            f"descriptors at rest: {self.before.descriptors} before, {self.after.descriptors} after": (
                self.after.descriptors > self.before.descriptors + SPARE
            ),
            f"threads at rest: {self.before.threads} before, {self.after.threads} after": (
                self.after.threads > self.before.threads + SPARE
            ),
            f"unfinished files are left: {self.left_unfinished[:3]}": bool(self.left_unfinished),
            f"temporary files are left: {self.left_temporary[:3]}": bool(self.left_temporary),
        }
        return [line for line, violated in checks.items() if violated]


@dataclass(frozen=True, slots=True)
class Node:
    """A running node, its data folder, and the only folder it may put temporary files into."""

    pid: int
    port: int
    data: Path
    temporary: Path


def soak(folder: Path, *, instances: int, senders: int, seed: int, break_rate: float = 0.03) -> Outcome:
    """Send `instances` from `senders` processes to a node in `folder`, and count.

    `break_rate` is the part of attempts that are broken off and made again.
    """
    with node(folder) as served, _pool(senders) as pool:
        warm = 4 * senders
        tallies = _send(pool, served.port, range(warm), senders, seed, 0)
        before = at_rest(served.pid)
        start = time.monotonic()
        with watched(served.pid, served.data) as samples:
            tallies += _send(pool, served.port, range(warm, instances), senders, seed, break_rate)
            time.sleep(max(0.0, 3 - (time.monotonic() - start)))  # a few samples, however short the soak
        seconds = time.monotonic() - start
        after = at_rest(served.pid, wanted=before)
        left = [str(path) for path in served.temporary.rglob("*")]
    acknowledged = [number for tally in tallies for number in tally.acknowledged]
    lost, size = count(folder / "data", acknowledged, seed)
    return Outcome(
        instances=instances,
        megabytes=size / 1e6,
        seconds=seconds,
        events=dict(sum((tally.events for tally in tallies), Counter())),
        before=before,
        after=after,
        memory=trend(samples),
        most_unfinished=max(sample.unfinished for sample in samples),
        left_unfinished=unfinished(folder / "data"),
        left_temporary=left,
        unacknowledged=instances - len(set(acknowledged)),
        lost=lost,
    )


def count(data: Path, acknowledged: Sequence[int], seed: int) -> tuple[int, int]:
    """Return how many of the acknowledged instances are not kept as they were sent, and the bytes of all."""
    spool, kept, lost, size = Spool(data), {}, 0, 0
    for number in acknowledged:
        made = make(seed, number)
        if made.study_instance_uid not in kept:
            files = spool.instances(made.study_instance_uid)
            kept[made.study_instance_uid] = {part10.digest_of_file(path) for path in files}
        lost += made.digest not in kept[made.study_instance_uid]
        size += len(made.dataset)
    spool.close()
    return lost, size


def at_rest(pid: int, wanted: Usage | None = None) -> Usage:
    """Return what the node holds once that stays the same for 2 s, or is no more than wanted, or does not get less."""
    end, last = time.monotonic() + REST_S, usage(pid)
    while time.monotonic() < end:
        time.sleep(2)
        now = usage(pid)
        same = (now.descriptors, now.threads) == (last.descriptors, last.threads)
        enough = wanted is None or (
            now.descriptors <= wanted.descriptors + SPARE and now.threads <= wanted.threads + SPARE
        )
        if same and enough:
            return now
        last = now
    return last


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    """Run `pacsai serve` without pipelines until the block ends; it must drain and end with 0."""
    temporary, config = folder / "temporary", folder / "site.yaml"
    temporary.mkdir(parents=True)
    site = {
        "node": {"port": free_port(), "data": "./data", "limits": {"free_gb": 0.1}},
        "study": {"quiet_s": 3},
        "archive": {"kind": "folder", "path": "./archive"},
        "pipelines": {},
    }
    config.write_text(yaml.safe_dump(site))
    command = [sys.executable, "-m", "pacsai", "serve", "--config", str(config)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready "), (folder / "node.log").read_text()[-3000:]
            yield Node(process.pid, site["node"]["port"], folder / "data", temporary)  # type: ignore[index]
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def _pool(senders: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(senders, mp_context=multiprocessing.get_context("spawn"))


def _send(
    pool: ProcessPoolExecutor, port: int, numbers: range, senders: int, seed: int, break_rate: float
) -> list[Tally]:
    shares = [numbers[sender::senders] for sender in range(senders)]
    return list(pool.map(send_share, *zip(*[(port, share, seed, break_rate) for share in shares], strict=True)))
