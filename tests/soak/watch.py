"""What the node's processes hold while they are watched, second by second, and what is said of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pacsai.bench.processes import Usage, usage

SKIPPED = 0.2
"""The first part of the time, in which memory may grow: caches, threads and buffers come into being."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the first, what the processes hold, unfinished files on the disk."""

    at_s: float
    usage: Usage
    unfinished: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Memory after the first part: its median, its highest, and what the straight line through it gains in all."""

    median_mb: float
    highest_mb: float
    gain_mb: float

    @property
    def flat(self) -> bool:
        """Tell whether the line gains less than 5 % or less than 20 MB."""
        return self.gain_mb < max(20, 0.05 * self.median_mb)


@contextmanager
def watched(pid: int, *folders: Path, period_s: float = 1) -> Iterator[list[Sample]]:
    """Look at a process, its children and the folders they write into every `period_s` until the block ends."""
    samples: list[Sample] = []
    ending = threading.Event()
    start = time.monotonic()

    def look() -> None:
        while not ending.wait(period_s):
            samples.append(Sample(time.monotonic() - start, usage(pid), len(unfinished(*folders))))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield samples
    finally:
        ending.set()
        watcher.join()


def unfinished(*folders: Path) -> list[str]:
    """Return the files that stand under a temporary name: hidden, or *.part."""
    names = (name for folder in folders for _, _, names in os.walk(folder) for name in names)
    return [name for name in names if name.startswith(".") or name.endswith(".part")]


def trend(samples: Sequence[Sample]) -> Trend:
    """Return how memory went after the first part of the time."""
    end = samples[-1].at_s
    later = [sample for sample in samples if sample.at_s >= SKIPPED * end]
    at_s = np.array([sample.at_s for sample in later])
    mb = np.array([sample.usage.rss_mb for sample in later])
    slope = np.polyfit(at_s, mb, 1)[0] if len(later) > 2 else 0.0
    return Trend(float(np.median(mb)), float(mb.max()), float(slope * (at_s[-1] - at_s[0])))
