"""The power is cut while senders send: what was acknowledged is there afterwards, and without fsync it is not."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai.bench import processes
from pacsai.bench.receivers import NO_DELAY, Running, dcmtk, python_module
from pacsai.bench.slices import write_slices
from pacsai.dicom import part10
from pacsai.spool import Spool
from pacsai.spool.flushing import FileThenFolder, flushing_on
from tests.conftest import needs
from tests.disks import Disk, disk

SENDERS = 3
SLICES = 120
SIDE = 128
"""33 kB a slice: many acknowledgements a second."""


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "slices"
    folder.mkdir()
    return [*write_slices(folder, SLICES, seed=1, side=SIDE), *write_slices(folder, SLICES, seed=2, side=SIDE)]


@pytest.mark.parametrize(("seed", "journal"), [(1, True), (2, True), (3, False), (4, False)])
def test_what_was_acknowledged_survives(tmp_path: Path, slices: list[Path], seed: int, journal: bool) -> None:
    with disk(tmp_path, journal=journal) as drive:
        acknowledged = cut_while_sending(drive, slices, seed)
        assert 0 < len(acknowledged) < len(slices), "the cut must fall between the first image and the last"
        with drive.as_it_is() as point:
            assert lost(point, acknowledged) == []
            with python_module(point / "data", "PACSAI", "receiver") as again:
                assert set(Sender(again, slices).wait()) == set(slices), "a node that starts on it takes the rest"
            assert lost(point, slices) == []


def test_where_one_flush_is_not_trusted_two_do(tmp_path: Path, slices: list[Path]) -> None:
    with disk(tmp_path, mount="data=writeback") as drive:
        assert isinstance(flushing_on(drive.point), FileThenFolder)
        acknowledged = cut_while_sending(drive, slices, 5)
        assert 0 < len(acknowledged) < len(slices)
        with drive.as_it_is() as point:
            assert lost(point, acknowledged) == []


def test_without_fsync_it_does_not(tmp_path: Path, slices: list[Path]) -> None:
    """The test above can see a loss."""
    with disk(tmp_path) as drive:
        acknowledged = cut_while_sending(drive, slices, 1, "--no-fsync")
        assert acknowledged
        with drive.as_it_is() as point:
            try:
                gone = lost(point, acknowledged)
            except struct.error:  # the spool's start meets files with a name and no content
                return
            assert gone


class Sender:
    """A storescu on its way, and the files for which it says that it got the status 0x0000, as soon as it does."""

    def __init__(self, receiver: Running, slices: Sequence[Path]) -> None:
        command = [dcmtk("storescu"), "-v", "-R", "-aec", "PACSAI", "127.0.0.1", str(receiver.port), *map(str, slices)]
        self._process = subprocess.Popen(
            command, env=NO_DELAY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.acknowledged: list[Path] = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def wait(self) -> list[Path]:
        """Return the acknowledged files once it has ended."""
        self._process.wait(60)
        self._listening.join()
        return self.acknowledged

    def _listen(self) -> None:
        sent = Path()
        with self._process.stdout or io.StringIO() as said:
            for line in map(str.rstrip, said):
                if line.startswith("I: Sending file: "):
                    sent = Path(line.removeprefix("I: Sending file: "))
                elif line.startswith("I: Received Store Response (Success)"):
                    self.acknowledged.append(sent)


def cut_while_sending(drive: Disk, slices: list[Path], seed: int, *options: str) -> list[Path]:
    """Return the files that were acknowledged to their senders, the power being cut after some of them."""
    needs("storescu")
    folder = drive.point / "data"
    folder.mkdir()
    os.sync()  # a node's folder is older than its images
    enough = random.Random(seed).randint(1, len(slices) // 2)
    with python_module(folder, "PACSAI", "receiver", *options) as receiver:
        senders = [Sender(receiver, slices[number::SENDERS]) for number in range(SENDERS)]
        wait_until(lambda: sum(len(sender.acknowledged) for sender in senders) >= enough)
        drive.cut_power()
        for pid in processes.tree(receiver.pid):
            kill(pid)
        return [path for sender in senders for path in sender.wait()]


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, "nothing arrives"
        time.sleep(0.002)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def lost(point: Path, acknowledged: Iterable[Path]) -> list[str]:
    """Return what is not in the spool of the disk, whole, as it was sent."""
    spool = Spool(point / "data")
    try:
        spool.start()
        kept: dict[str, set[str]] = {}
        gone = []
        for path in acknowledged:
            header = dcmread(path, stop_before_pixels=True)
            study = str(header.StudyInstanceUID)
            if study not in kept:
                kept[study] = set(digests(spool.instances(study)))
            if digest_sent(path) not in kept[study]:
                gone.append(path.name)
        return gone
    finally:
        spool.close()


def digests(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        with contextlib.suppress(ValueError):  # a file with a name and no content holds no instance
            yield part10.digest_of_file(path)


def digest_sent(path: Path) -> str:
    """Return the digest that the spool gives to a file of the senders."""
    header = dcmread(path, stop_before_pixels=True)
    dataset = path.read_bytes()[132 + 12 + header.file_meta.FileMetaInformationGroupLength :]
    return part10.digest(str(header.file_meta.TransferSyntaxUID), dataset)
