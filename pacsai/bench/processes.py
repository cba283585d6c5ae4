"""What a program and its children take, read from /proc (Linux): processor time, memory, descriptors, threads."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and everything it started hold at one moment; `rss_mb` counts shared pages once for each."""

    processes: int
    threads: int
    descriptors: int
    rss_mb: float


def tree(pid: int) -> tuple[int, ...]:
    """Return `pid` and the processes that come from it and have not been waited for, zombies included."""
    children: dict[int, list[int]] = defaultdict(list)
    for number, fields in _all_stats():
        children[int(fields[1])].append(number)
    found = [pid]
    for parent in found:
        found.extend(children[parent])
    return tuple(found)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of `pid` and its children, those that ended and were waited for included.

    In steps of a clock tick, 10 ms.
    """
    ticks = 0
    for number in tree(pid):
        fields = _stat(number)
        ticks += sum(map(int, fields[11:15])) if fields else 0
    return ticks / _TICKS_PER_S


def usage(pid: int) -> Usage:
    """Return what `pid` and its children hold now."""
    numbers = tree(pid)
    stats = [fields for fields in map(_stat, numbers) if fields]
    return Usage(
        processes=len(stats),
        threads=sum(int(fields[17]) for fields in stats),
        descriptors=sum(map(_descriptors, numbers)),
        rss_mb=sum(int(fields[21]) for fields in stats) * _PAGE_BYTES / 1e6,
    )


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            yield int(entry.name), fields


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third, the state, on (proc(5)); none for a process that ended.

    The second, the program's name, may hold spaces and brackets.
    """
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _descriptors(pid: int) -> int:
    try:
        return sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
    except OSError:  # it ended, or is another user's
        return 0
