"""The receivers that are measured: each started on a free loopback port with an empty folder, and stopped again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pacsai.bench import floor, processes
from pacsai.peers import LOOPBACK, PeerError, free_port, listens, orthanc_settings, running

NO_DELAY_FOR = ("env", "TCP_NODELAY=1")
NO_DELAY = {**os.environ, "TCP_NODELAY": "1"}
"""DCMTK 3.6.7 as Debian builds it leaves Nagle's algorithm on unless its environment says this; two of its programs on
one machine, or one and Orthanc, then wait 40 ms for each other's acknowledgement again and again."""
STOP_S = 20


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that listens: `pid` leads all its processes, its files lie somewhere under `folder`."""

    pid: int
    port: int
    ae_title: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Kind:
    """A receiver to measure: how to start it in a folder, and the commands that send it files in so many processes."""

    start: Callable[[Path], AbstractContextManager[Running]]
    senders: Callable[[Running, Sequence[Path], int], list[list[str]]]


def dcmtk(program: str) -> str:
    """Return the path of a program of DCMTK's; pynetdicom installs others of the same names beside Python.

    Raises
    ------
    PeerError
        Where it is not on this machine.
    """
    ours = str(Path(sys.prefix) / "bin")
    elsewhere = os.pathsep.join(part for part in os.get_exec_path() if part != ours)
    found = shutil.which(program, path=elsewhere)
    if found is None:
        raise PeerError(f"{program} is not on this machine (Debian package dcmtk)")
    return found


def storescu(receiver: Running, files: Sequence[Path], count: int) -> list[list[str]]:
    """Return the commands of `count` DCMTK senders, each with its share of the files.

    -R: only the presentation contexts that the files need, as a modality proposes.
    """
    to = [dcmtk("storescu"), "-q", "-R", "-aec", receiver.ae_title, LOOPBACK, str(receiver.port)]
    return [[*to, *map(str, files[number::count])] for number in range(count)]


def bare_sender(receiver: Running, files: Sequence[Path], count: int) -> list[list[str]]:
    """Return the command of the floor's own sender, which makes its `count` processes itself."""
    start = [sys.executable, "-I", "-S", floor.__file__, "send"]
    return [[*start, str(receiver.port), str(count), *map(str, files)]]


@contextmanager
def python_module(folder: Path, ae_title: str, module: str, *options: str) -> Iterator[Running]:
    """Run a module of this package that takes options and a folder and prints `ready PORT`."""
    command = [sys.executable, "-m", f"pacsai.bench.{module}", *options, str(folder)]
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=NO_DELAY, stdout=subprocess.PIPE, stderr=output, text=True)
    with process:
        try:
            word, _, port = cast(IO[str], process.stdout).readline().partition(" ")
            if word != "ready":
                raise PeerError(f"{module} did not come up:\n{log.read_text(errors='replace')[-2000:]}")
            yield Running(process.pid, int(port), ae_title, folder)
        finally:
            _stop(process)


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Running]:
    """Run DCMTK's storescp: a process for each association, bytes as received, no fsync."""
    port = free_port()
    command = [*NO_DELAY_FOR, dcmtk("storescp"), "--fork", "+B", *options, "-od", str(folder), str(port)]
    with running(command, folder.with_suffix(".log"), ready=lambda: listens(port)) as pid:
        yield Running(pid, port, "STORESCP", folder)


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Run Orthanc as it comes, fsync on, without plugins, with a thread for each of 16 associations."""
    port, http_port = free_port(), free_port()
    settings = orthanc_settings(folder, port, http_port, "PACSAI", 11112)
    settings |= {"Plugins": [], "DicomThreadsCount": 16}
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings), encoding="utf-8")
    command = [*NO_DELAY_FOR, "Orthanc", str(configuration)]
    log = folder.with_suffix(".log")
    # Its shutdown takes 3.5 s; what it has answered for is on the disk.
    with running(command, log, ready=lambda: listens(port), grace_s=0.1) as pid:
        yield Running(pid, port, "ORTHANC", folder)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and kill it with all its children where it does not."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        for pid in processes.tree(process.pid):
            os.kill(pid, 9)
        process.wait()


KINDS: dict[str, Kind] = {
    "pacsai": Kind(lambda folder: python_module(folder, "PACSAI", "receiver"), storescu),
    "pacsai-no-fsync": Kind(lambda folder: python_module(folder, "PACSAI", "receiver", "--no-fsync"), storescu),
    "storescp": Kind(storescp, storescu),
    "storescp-128k": Kind(lambda folder: storescp(folder, "-pdu", "131072"), storescu),
    "orthanc": Kind(orthanc, storescu),
    "pynetdicom": Kind(lambda folder: python_module(folder, "PLAIN", "plain"), storescu),
    "floor": Kind(lambda folder: python_module(folder, "", "floor", "receive"), bare_sender),
    "floor-no-fsync": Kind(lambda folder: python_module(folder, "", "floor", "receive", "--no-fsync"), bare_sender),
    "floor-storescu": Kind(lambda folder: python_module(folder, "FLOOR", "floor", "receive", "--dicom"), storescu),
}
"""By the names that options and tables use."""
PROGRAMS = {"storescp": "storescp", "orthanc": "Orthanc"}
"""The program that a receiver needs on this machine."""
