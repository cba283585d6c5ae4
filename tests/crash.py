"""`make crash`: the node is killed at every point of faults.py, on SQLite and on PostgreSQL, and made to account.

    python -m tests.crash [POINT ...]

For each: a real node with the point armed, in a session of its own, is sent one study by storescu, and for points of
withdrawal, once that is delivered, a rejection note on all of it. Once it has been killed it is started again, is sent
what it had not acknowledged, and delivers into a real Orthanc. Then it is counted: each acknowledged instance is in the
spool with the pixels that were sent, each result is in the archive exactly once.
Ends with status 1 when something was lost or doubled, or a point did not fire.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import yaml
from pydicom import dcmread
from pydicom.uid import generate_uid

from pacsai.faults import POINTS
from pacsai.jobs import database_url, list_jobs
from pacsai.spool import Spool
from pacsai.state import state_of
from pacsai.story import Story
from tests.nodes import write_site
from tests.notes import write_note
from tests.services import Orthanc, orthanc, postgresql
from tests.test_node import ct_with_balls, uid_of
from tests.toys import toy_pipeline

RESULTS = Counter(SEG=1, SR=1, PR=1)
WITHDRAWING = "withdrawal."
"""Points that are passed when a rejection note comes; our own note, a KO, is one result more then."""

RECEIVING = ("intake.", "receiver.")
"""Points that each instance passes: they fire at the fourth, when three are acknowledged."""

START_S, FIRE_S, END_S = 90, 120, 180


@dataclass
class Account:
    """What is counted at the end of one run; `before` were acknowledged by the node that was killed."""

    point: str
    database: str
    before: int = 0
    acknowledged: int = 0
    lost: int = 0
    results: int = 0
    missing: int = 0
    doubled: int = 0
    seconds: float = 0
    trouble: str = ""

    @property
    def sound(self) -> bool:
        """Return whether nothing was lost or doubled."""
        return not (self.lost or self.missing or self.doubled or self.trouble)


@dataclass
class Trial:
    """One node in a folder of its own, and the study that it is sent."""

    folder: Path
    archive: Orthanc
    database: str
    rejected: bool = False
    acknowledged: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        pipeline = toy_pipeline(self.folder / "pipelines")
        ae_title, port = self.archive.ae_title, self.archive.dicom_port
        self.config = write_site(
            self.folder,
            archive={"kind": "dimse", "ae_title": ae_title, "host": "127.0.0.1", "port": port},
            pipelines={pipeline.name: {"folder": str(pipeline)}},
            database=self.database,
            quiet_s=2,
        )
        site = yaml.safe_load(self.config.read_text())
        site["node"]["receivers"] = 1
        self.config.write_text(yaml.safe_dump(site))
        self.port = site["node"]["port"]
        self.data = self.folder / "data"
        # A study of its own: the trials share one archive, and another's results must not be counted.
        self.study = ct_with_balls(self.folder / "study", StudyInstanceUID=generate_uid())
        self.uid = uid_of(self.study)
        images = sorted(self.study.rglob("*.dcm"))
        notes = [write_note(self.folder / "note" / "note.dcm", images)] if self.rejected else []
        self.files = [*images, *notes]

    @contextmanager
    def node(self, fault: str = "") -> Iterator[subprocess.Popen[str]]:
        """Run the node in a session of its own, `fault` armed."""
        command = [sys.executable, "-m", "pacsai", "serve", "--config", str(self.config)]
        environment = {**os.environ, "PACSAI_FAULT": fault, "PACSAI_FAULT_GROUP": "1"}
        with (self.folder / "node.log").open("a") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("ready "), (self.folder / "node.log").read_text()[-2000:]
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def send(self) -> None:
        """Send what is not acknowledged, the note once the images' results are delivered, and note what is now."""
        self._send(sorted(self.study.rglob("*.dcm")))
        if self.rejected:
            _wait(self.is_over, END_S, "the study was not delivered before the note")
            self._send(self.files)

    def _send(self, paths: Sequence[Path]) -> None:
        files = [str(path) for path in paths if path not in self.acknowledged]
        if files:
            command = ["storescu", "-v", "-R", "-aec", "PACSAI", "127.0.0.1", str(self.port), *files]
            sent = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.acknowledged |= acknowledged(sent.stdout + sent.stderr)

    def is_over(self) -> bool:
        """Tell whether the study is delivered and no job is under way."""
        story = Story(self.data / "spool" / Spool.key(self.uid) / "story.jsonl").read()
        if "delivered" not in state_of(story):
            return False
        return all(job.state == "done" for job in list_jobs(database_url(self.database, self.data)))

    def lost(self) -> int:
        """Count the acknowledged instances that are not in the spool as they were sent."""
        return sum(not self._is_kept(path) for path in self.acknowledged)

    def _is_kept(self, sent: Path) -> bool:
        header = dcmread(sent)
        kept = self.data / "spool" / Spool.key(self.uid) / "instances" / f"{Spool.key(header.SOPInstanceUID)}.dcm"
        return kept.is_file() and dcmread(kept).get("PixelData") == header.get("PixelData")


def acknowledged(told: str) -> set[Path]:
    """Return the files that `storescu -v` told to be stored."""
    stored, current = set(), None
    for line in told.splitlines():
        if found := re.search(r"Sending file: (.*)$", line):
            current = Path(found[1])
        elif "Received Store Response (Success)" in line and current:
            stored.add(current)
    return stored


def account(point: str, database: str, url: str, folder: Path, archive: Orthanc) -> Account:
    """Kill a node at `point`, start it again, and count."""
    told, begun = Account(point, database), time.monotonic()
    try:
        trial = Trial(folder, archive, url, rejected=point.startswith(WITHDRAWING))
        _kill(trial, f"{point}:4" if point.startswith(RECEIVING) else point)
        told.before = len(trial.acknowledged)
        _restart(trial)
        _count(trial, told)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        told.trouble = str(error).splitlines()[0] if str(error) else type(error).__name__
    told.seconds = time.monotonic() - begun
    return told


def _kill(trial: Trial, fault: str) -> None:
    with trial.node(fault) as process:
        trial.send()
        _wait(lambda: process.poll() is not None, FIRE_S, "the point never fired")
        assert process.returncode == -signal.SIGKILL, f"the node ended with {process.returncode}, not killed"


def _restart(trial: Trial) -> None:
    with trial.node() as process:
        trial.send()
        _wait(trial.is_over, END_S, "the study did not come to its end")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, "the node did not drain"


def _count(trial: Trial, told: Account) -> None:
    kinds = Counter(one["Modality"] for one in trial.archive.instances(trial.uid))
    told.acknowledged, told.lost = len(trial.acknowledged), trial.lost()
    told.results = kinds.total()
    results = RESULTS + Counter(KO=1) if trial.rejected else RESULTS
    told.missing, told.doubled = (results - kinds).total(), (kinds - results).total()
    if told.acknowledged < len(trial.files):
        told.trouble = "the restarted node did not take what was left"


def _wait(happens: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, otherwise
        time.sleep(0.2)


def matrix(
    points: Sequence[str], folder: Path, tell: Callable[[Account], None] = lambda _: None, *, at_once: int = 2
) -> list[Account]:
    """Account for each of `points` on both databases, `at_once` at the same time, one Orthanc for all."""
    with orthanc(folder) as archive, postgresql(folder) as url, ThreadPoolExecutor(at_once) as pool:

        def one(kill: tuple[str, str]) -> Account:
            point, database = kill
            where = "sqlite" if database == "sqlite" else f"{url}_{point.replace('.', '_')}"
            told = account(point, database, where, folder / f"{database}-{point}", archive)
            tell(told)
            return told

        return list(pool.map(one, product(points, ("sqlite", "postgresql"))))


def table(accounts: Sequence[Account]) -> str:
    """Return the accounts as a table in Markdown."""
    lines = [
        "| point | database | acknowledged before the kill | in all | lost | results | missing | doubled | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(POINTS)
    for one in sorted(accounts, key=lambda one: (order.index(one.point), one.database)):
        figures = (one.before, one.acknowledged, one.lost, one.results, one.missing, one.doubled, f"{one.seconds:.0f}")
        lines.append(f"| {one.point} | {one.database} | {' | '.join(map(str, figures))} | {one.trouble}".rstrip())
    return "\n".join(lines)


def main(points: Sequence[str]) -> int:
    """Print the table of `points`, or of all."""

    def tell(told: Account) -> None:
        sys.stderr.write(f"{told}\n")

    with tempfile.TemporaryDirectory(prefix="pacsai-crash-") as folder:
        accounts = matrix(points or list(POINTS), Path(folder), tell)
    stored, lost, missing, doubled = (
        sum(getattr(one, what) for one in accounts) for what in ("acknowledged", "lost", "missing", "doubled")
    )
    unsound = sum(not one.sound for one in accounts)
    sys.stdout.write(
        f"{table(accounts)}\n\n{len(accounts)} kills: {stored} instances acknowledged, {lost} lost;"
        f" results: {missing} missing, {doubled} doubled; {unsound} kills unsound\n"
    )
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
