"""`make crash`: the node is killed at every point of faults.py, on SQLite and on PostgreSQL, and made to account.

    python -m tests.crash [POINT ...]

For each: a real node with the point armed, in a session of its own, is sent one study by storescu; once it has been
killed it is started again, is sent what it had not acknowledged, and delivers into a real Orthanc. Then it is counted:
each acknowledged instance is in the spool with the pixels that were sent, or purged after commitment of all results;
each result is in the archive exactly once.
Ends with status 1 when something was lost or doubled, or a point did not fire.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pacsai.faults import POINTS
from tests.services import Orthanc, orthanc, postgresql
from tests.trials import END_S, Trial, trial_of, wait

RECEIVING = ("intake.", "receiver.", "stow.")
"""Points that each instance passes: they fire at the fourth, when three are acknowledged."""

FIRE_S = 120


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


def account(point: str, database: str, url: str, folder: Path, archive: Orthanc) -> Account:
    """Kill a node at `point`, start it again, and count."""
    told, begun = Account(point, database), time.monotonic()
    try:
        trial = trial_of(point)(folder, archive, url)
        trial.prepare()
        _kill(trial, f"{point}:4" if point.startswith(RECEIVING) else point)
        told.before, told.lost = len(trial.acknowledged), trial.lost()
        _restart(trial)
        _count(trial, told)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        told.trouble = str(error).splitlines()[0] if str(error) else type(error).__name__
    told.seconds = time.monotonic() - begun
    return told


def _kill(trial: Trial, fault: str) -> None:
    with trial.node(fault) as process:
        trial.send()
        wait(lambda: process.poll() is not None, FIRE_S, "the point never fired")
        assert process.returncode == -signal.SIGKILL, f"the node ended with {process.returncode}, not killed"


def _restart(trial: Trial) -> None:
    with trial.node() as process:
        trial.send()
        wait(trial.is_over, END_S, "the study did not come to its end")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, "the node did not drain"


def _count(trial: Trial, told: Account) -> None:
    kinds, wanted = Counter(one["Modality"] for one in trial.archive.instances(trial.uid)), trial.expected()
    told.acknowledged, told.lost = len(trial.acknowledged), max(told.lost, trial.lost())
    told.results = kinds.total()
    told.missing, told.doubled = (wanted - kinds).total(), (kinds - wanted).total()
    if told.acknowledged < len(trial.files):
        told.trouble = "the restarted node did not take what was left"


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
