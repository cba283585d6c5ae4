"""One analysis in a process of its own, so that a native crash, a leak or a hang takes nothing else down.

The node calls `run`; the child is `python -m pacsai.child`. It reads one request, a JSON line, from its standard
input and then keeps listening: the input ends when the node dies, and the child with it. The answer is the file
report.json beside the objects, written last.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from pacsai.bounds import Bounds, within
from pacsai.flow import Order, analyse_study, refuse_study
from pacsai.logs import configure_logs
from pacsai.objects.common import Author
from pacsai.pipeline import Resources
from pacsai.registry import read_package
from pacsai.report import Report
from pacsai.study.reading import read_study

REPORT = "report.json"


class Ended(Exception):  # noqa: N818 - nothing went wrong
    """The node stops; the analysis was cut off and is done again after the next start."""


class AnalysisBroke(Exception):  # noqa: N818 - the words a person reads
    """The child ended without a report; the message says how, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the child needs to know; all of it plain text and numbers.

    Attributes
    ----------
    instances, pipeline, folder : str
        Folders: of the study's files, of the pipeline, for the objects.
    place, installation
        See `objects.common.Author`.
    remarks : tuple of str
        Sentences that the result must say besides its own.
    previous : tuple of dict
        The SRs that this one takes the place of, by the DICOM keywords of their study, series, class and instance UID.
    bounds : mapping of str to int
        See `bounds.Bounds`.
    prior : str
        Folder of the files of the patient's earlier study, for a pipeline that compares with it; "" for none.
    refusal : str
        Where it is given, nothing is analysed: objects are made that tell this reason.
    """

    study_instance_uid: str
    instances: str
    pipeline: str
    results: tuple[str, ...]
    folder: str
    now: str
    place: int
    installation: str
    remarks: tuple[str, ...] = ()
    previous: tuple[dict[str, str], ...] = ()
    bounds: Mapping[str, int] = field(default_factory=lambda: asdict(Bounds()))
    prior: str = ""
    refusal: str = ""

    @property
    def order(self) -> Order:
        """Return the order that the request stands for."""
        package = read_package(Path(self.pipeline))
        return Order(
            package=package,
            accepts=package.manifest.accepts,
            results=tuple(self.results),
            author=Author(title=package.manifest.title, order=self.place, installation=self.installation),
            folder=Path(self.folder),
            now=datetime.fromisoformat(self.now),
            remarks=tuple(self.remarks),
            previous=tuple(_document(one) for one in self.previous),
        )


def _document(uids: dict[str, str]) -> Dataset:
    document = Dataset()
    for keyword, uid in uids.items():
        setattr(document, keyword, uid)
    return document


def run(request: Request, limits: Resources, ending: threading.Event) -> dict[str, Any]:
    """Return the report of the analysis, made in a child process under `limits`.

    Raises
    ------
    AnalysisBroke
        The child crashed, or took too long or too much memory.
    Ended
        `ending` was set before it was done.
    """
    # What a pipeline prints goes to the log: the node's standard output has one line, "ready".
    child = subprocess.Popen([sys.executable, "-m", "pacsai.child"], stdin=subprocess.PIPE, stdout=sys.stderr)
    try:
        _limit_memory(child.pid, limits.memory_gb)
        _hand_over(child, request)
        status = _wait(child, limits.timeout_s, ending)
    finally:
        child.kill()
        child.communicate()
    return _answer(Path(request.folder) / REPORT, status, limits.memory_gb)


def _hand_over(child: subprocess.Popen[bytes], request: Request) -> None:
    """Write the request and leave the pipe open: its end tells the child that the node is gone."""
    assert child.stdin is not None  # noqa: S101 - a pipe was asked for
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
        child.stdin.flush()


def _wait(child: subprocess.Popen[bytes], timeout_s: float, ending: threading.Event) -> int:
    end = time.monotonic() + timeout_s
    while (status := child.poll()) is None:
        if ending.wait(0.1):
            raise Ended
        if time.monotonic() > end:
            raise AnalysisBroke(f"the analysis took longer than its limit of {timeout_s:g} s")
    return status


def save(report: Report, folder: Path) -> dict[str, Any]:
    """Write `report` as report.json in `folder`, and return it as plain values."""
    values = report.as_json()
    text = json.dumps(values, indent=1, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{REPORT}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / REPORT)
    return values


def perform(request: Request) -> Report:
    """Do what `request` asks, in this process."""
    study = next(iter(read_study(Path(request.instances).glob("*.dcm"))))
    if request.refusal:
        return refuse_study(study, request.order, request.refusal)
    return analyse_study(study, request.order)


def main() -> None:
    """Answer the request on standard input."""
    configure_logs()
    warnings.simplefilter("ignore")
    request = Request(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_the_node, daemon=True).start()
    with within(Bounds(**request.bounds)):
        save(perform(request), Path(request.folder))


def _answer(path: Path, status: int, memory_gb: float) -> dict[str, Any]:
    if status == 0 and path.is_file():
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return answer
    if status < 0:
        raise AnalysisBroke(f"the analysis was ended by signal {-status}")
    raise AnalysisBroke(f"the analysis ended with status {status} (its memory limit is {memory_gb:g} GB)")


def _limit_memory(pid: int, memory_gb: float) -> None:
    """Bound the child's private memory; RLIMIT_AS would also count what torch maps and never touches."""
    limit = int(memory_gb * 1e9)
    resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


@contextmanager
def memory_limit(memory_gb: float) -> Iterator[None]:
    """Bound this process's private memory in the block, as a child's is: beyond it Python raises MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _end_with_the_node() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
