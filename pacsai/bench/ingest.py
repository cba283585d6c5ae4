"""How fast images are taken in: the same slices sent to each receiver in turn, again and again, medians told.

A run starts a receiver in an empty folder, warms it with one image for each association, flushes the disk, and takes
the time from the start of the senders to the end of the last. Afterwards every image must lie in the receiver's folder.
Receivers alternate within each repeat, so that a busy disk is busy for all.
"""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsai.bench import processes
from pacsai.bench.receivers import KINDS, NO_DELAY, Running, dcmtk
from pacsai.bench.slices import SIDE, write_slices
from pacsai.peers import LOOPBACK

SEED = 20260101
SENDERS_S = 600
"""No honest run takes longer."""
KEPT_S = 60
"""A receiver may go on sorting after its last answer for so long; its processor time counts until then."""
QUIET_S = 0.2
PIXEL_BYTES = SIDE * SIDE * 2


class BenchError(RuntimeError):
    """A run that measured nothing; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One receiver taking the slices once, or the medians of several such runs.

    Attributes
    ----------
    seconds : float
        From the start of the senders to the end of the last.
    cpu_s : float
        User and system time of the receiver and its children for these slices.
    """

    receiver: str
    associations: int
    instances: int
    megabytes: float
    seconds: float
    cpu_s: float

    @property
    def mb_per_s(self) -> float:
        """Return 10^6 bytes of files a second."""
        return self.megabytes / self.seconds

    @property
    def images_per_s(self) -> float:
        """Return instances a second."""
        return self.instances / self.seconds


def measure(
    receivers: Sequence[str],
    associations: Sequence[int],
    *,
    instances: int = 300,
    repeats: int = 5,
    folder: Path,
    told: Callable[[Run], None] = lambda _: None,
) -> list[Run]:
    """Return every single run.

    Parameters
    ----------
    receivers : names in `pacsai.bench.receivers.KINDS`
    associations : each a number of senders at the same time
    folder : a folder on the disk to measure; what is made in it is removed
    told : is given each run when it ends

    Raises
    ------
    BenchError
        When a sender failed or a receiver did not keep every image.
    """
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="pacsai-bench-", dir=folder) as place:
        slices, warmers = Path(place, "slices"), Path(place, "warmers")
        slices.mkdir()
        warmers.mkdir()
        files = write_slices(slices, instances, SEED)
        first = write_slices(warmers, max(associations), SEED + 1)
        for repeat in range(repeats):
            for count in associations:
                for name in _rotated(receivers, repeat):
                    runs.append(_run(name, files, first[:count], Path(place, f"run-{len(runs)}")))
                    told(runs[-1])
    return runs


def medians(runs: Sequence[Run]) -> list[Run]:
    """Return one run for each receiver and number of associations: median seconds, median processor time."""
    grouped: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.receiver, run.associations), []).append(run)
    return [
        replace(
            same[0],
            seconds=statistics.median(run.seconds for run in same),
            cpu_s=statistics.median(run.cpu_s for run in same),
        )
        for same in grouped.values()
    ]


def sender_start_s(count: int) -> float:
    """Return what it takes to start `count` DCMTK senders that find nobody: part of every time measured with them."""
    commands = [[dcmtk("echoscu"), "-q", LOOPBACK, "1"]] * count
    return statistics.median(_seconds(commands, wanted=None) for _ in range(3))


def _rotated(receivers: Sequence[str], by: int) -> list[str]:
    """Return the receivers in an order in which each repeat begins with another."""
    start = by % len(receivers)
    return [*receivers[start:], *receivers[:start]]


def _run(name: str, files: Sequence[Path], warmers: Sequence[Path], folder: Path) -> Run:
    kind, count = KINDS[name], len(warmers)
    folder.mkdir()
    # Folders stay until the last run: ext4 looks for a free inode long where files were deleted a minute ago.
    with kind.start(folder) as receiver:
        _seconds(kind.senders(receiver, warmers, count))
        os.sync()
        before = _settled_cpu_s(receiver)
        seconds = _seconds(kind.senders(receiver, files, count))
        _wait_until_kept(name, receiver, files)
        cpu_s = _settled_cpu_s(receiver) - before
    _leave_memory(folder)
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    return Run(
        receiver=name, associations=count, instances=len(files), megabytes=megabytes, seconds=seconds, cpu_s=cpu_s
    )


def _leave_memory(folder: Path) -> None:
    """Let the system forget what it holds of these files.

    Each run then writes into memory that earlier ones used; what a virtual machine has not touched before, its host has
    to find first, and writing takes up to nine times as long.
    """
    os.sync()
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _seconds(commands: Sequence[Sequence[str]], wanted: int | None = 0) -> float:
    """Return the seconds that the commands take together; each must end with the status `wanted` if one is."""
    start = time.perf_counter()
    senders = [
        subprocess.Popen(command, env=NO_DELAY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    statuses = [sender.wait(SENDERS_S) for sender in senders]
    seconds = time.perf_counter() - start
    if wanted is not None and set(statuses) != {wanted}:
        raise BenchError(f"a sender ended with status {max(statuses, key=abs)}: {commands[0][:6]}")
    return seconds


def _settled_cpu_s(receiver: Running) -> float:
    """Return the receiver's processor time once it has nothing left to do.

    Programs that fork for each association wait for those that ended when the next comes; only then is their time
    counted whole, before that it is cut to full clock ticks, one by one.
    """
    socket.create_connection((LOOPBACK, receiver.port)).close()
    last = processes.cpu_seconds(receiver.pid)
    while True:
        time.sleep(QUIET_S)
        now = processes.cpu_seconds(receiver.pid)
        if now - last < QUIET_S / 10:
            return now
        last = now


def _wait_until_kept(name: str, receiver: Running, files: Sequence[Path]) -> None:
    """Wait until the pixels of every file lie in the receiver's folder, whatever head it writes before them."""
    wanted = {_pixels_digest(path) for path in files}
    end = time.monotonic() + KEPT_S
    while missing := wanted - _digests_under(receiver.folder):
        if time.monotonic() > end:
            raise BenchError(f"{name} kept {len(wanted) - len(missing)} of {len(wanted)} images")
        time.sleep(QUIET_S)


def _digests_under(folder: Path) -> set[bytes]:
    found = set()
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            try:
                found.add(_pixels_digest(path))
            except OSError:  # renamed or too short to hold the pixels
                continue
    return found


def _pixels_digest(path: Path) -> bytes:
    """Return the SHA-256 of the end of a file, which is its pixel data."""
    with path.open("rb") as file:
        file.seek(-PIXEL_BYTES, os.SEEK_END)
        return hashlib.file_digest(file, "sha256").digest()
