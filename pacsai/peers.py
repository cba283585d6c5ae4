"""Other programs that the demo and the tests run beside the node: an archive on free loopback ports.

Started for a while and stopped by their process; never a service of the machine.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
ORTHANC_PLUGINS = Path("/usr/share/orthanc/plugins")


class PeerError(RuntimeError):
    """A program did not come up; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running archive: C-STORE and C-FIND on `port` of 127.0.0.1."""

    name: str
    ae_title: str
    port: int


def free_port() -> int:
    """Return a TCP port that was free on 127.0.0.1 a moment ago, below those that the system gives to callers."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def listens(port: int) -> bool:
    """Tell whether something accepts TCP connections on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def running(
    command: Sequence[str], log: Path, *, ready: Callable[[], bool], wait_s: float = 120, grace_s: float = 10
) -> Iterator[int]:
    """Run `command` until the block ends, its output in `log`; gives its pid once `ready` says so.

    At the end it is asked to stop, and killed after `grace_s`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        _wait_until_ready(process, ready, wait_s, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def archive(folder: Path, our_ae: str, our_port: int) -> Iterator[Peer]:
    """Run an archive under `folder`: Orthanc where it is installed, pynetdicom's qrscp application elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    start = orthanc if shutil.which("Orthanc") else qrscp
    with start(folder.resolve(), our_ae, our_port) as peer:
        yield peer


@contextmanager
def orthanc(folder: Path, our_ae: str, our_port: int) -> Iterator[Peer]:
    """Run Orthanc with a storage of its own under `folder`."""
    port, http_port = free_port(), free_port()
    configuration = folder / "orthanc.json"
    settings = orthanc_settings(folder, port, http_port, our_ae, our_port)
    configuration.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    answers = f"http://{LOOPBACK}:{http_port}/system"
    with running(["Orthanc", str(configuration)], folder / "orthanc.log", ready=lambda: _answers(answers, port)):
        yield Peer("Orthanc", str(settings["DicomAet"]), port)


@contextmanager
def qrscp(folder: Path, our_ae: str, our_port: int) -> Iterator[Peer]:  # noqa: ARG001 - every archive is asked alike
    """Run pynetdicom's qrscp application. It wants absolute paths: relative ones land in its package's folder."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "pynetdicom", "qrscp", "-aet", "QRSCP", "-ba", LOOPBACK, "--port", str(port)),
        *("--database-location", str(folder / "qrscp.db"), "--instance-location", str(folder / "instances")),
    ]
    with running(command, folder / "qrscp.log", ready=lambda: listens(port)):
        yield Peer("qrscp (pynetdicom)", "QRSCP", port)


def orthanc_settings(folder: Path, port: int, http_port: int, our_ae: str, our_port: int) -> dict[str, object]:
    """Return a configuration that keeps Debian's Orthanc 1.10.1 to loopback (it ignores bind addresses)."""
    plugins = [ORTHANC_PLUGINS / f"libOrthanc{name}.so" for name in ("DicomWeb", "Gdcm")]
    return {
        "Name": "ORTHANC",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": http_port,
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "DicomModalities": {"pacsai": [our_ae, LOOPBACK, our_port]},
        "Plugins": [str(path) for path in plugins if path.exists()],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _answers(url: str, port: int) -> bool:
    """Tell whether it is our own Orthanc that answers, on both ports."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return bool(json.load(answer)["DicomPort"] == port) and listens(port)
    except (urllib.error.URLError, OSError):
        return False


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], wait_s: float, log: Path) -> None:
    end = time.monotonic() + wait_s
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise PeerError(f"{process.args!r} did not come up:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
