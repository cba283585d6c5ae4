"""The spool's index: quick answers on what the folders hold. It can be deleted at any time; a scan makes it again.

SQLite in WAL mode, so that the command line reads while the node writes. Commits are not flushed one by one
(synchronous NORMAL): the spool's files are the truth, and a start-up scan finds what a power cut took from the index.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    study_key TEXT PRIMARY KEY, study_instance_uid TEXT NOT NULL,
    last_arrival REAL NOT NULL, submitted_revision TEXT NOT NULL, pending INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instance (
    sop_key TEXT PRIMARY KEY, study_key TEXT NOT NULL, sop_instance_uid TEXT NOT NULL, sha256 TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instance_by_study ON instance (study_key, sop_instance_uid, sha256);
CREATE INDEX IF NOT EXISTS study_by_arrival ON study (pending, last_arrival);
"""

_ENTRY = "SELECT study_key, sop_key, sop_instance_uid, sha256 FROM instance"


StudyOf = Callable[[str], str | None]
"""Gives the key of the study in which the instance of a key is kept, None where there is none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One spooled instance: the key of its file, its UID, the digest of what arrived ('' until somebody needs it)."""

    study_key: str
    sop_key: str
    sop_instance_uid: str
    sha256: str


def revision_of(entries: list[Entry]) -> str:
    """Return the SHA-256 (hex) over the sorted SOP Instance UIDs and digests of a study's instances."""
    lines = sorted(f"{entry.sop_instance_uid} {entry.sha256}" for entry in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Held:
    """What the index says of a study.

    Attributes
    ----------
    last_arrival : float
        Seconds since 1970.
    waiting : bool
        Whether it has news that were not handed on yet.
    instances : int
        How many it has; none once it was purged.
    """

    study_instance_uid: str
    last_arrival: float
    waiting: bool
    instances: int


@dataclass(frozen=True, slots=True)
class Added:
    """What came of entering: the Study Instance UIDs that did not wait before, and the instances of other studies."""

    woken: list[str]
    elsewhere: list[Entry]


class IndexReader:
    """Looks instances up for a process that only takes images in. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, check_same_thread=False)

    def study_of(self, sop_key: str) -> str | None:
        """See `SpoolIndex.study_of`."""
        with self._lock:
            return _study_of(self._db, sop_key)


class SpoolIndex:
    """What is in the spool; safe for the threads of one process, and for readers in others."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, entries: Sequence[tuple[Entry, str]], arrived_s: float) -> Added:
        """Enter instances, each with its Study Instance UID; their studies wait for completion again."""
        with self._transaction() as db:
            owners: dict[str, str] = {}
            for entry, _ in entries:
                owners.setdefault(entry.sop_key, _study_of(db, entry.sop_key) or entry.study_key)
            elsewhere = [entry for entry, _ in entries if owners[entry.sop_key] != entry.study_key]
            own = [(entry, uid) for entry, uid in entries if owners[entry.sop_key] == entry.study_key]
            db.executemany("INSERT OR IGNORE INTO instance VALUES (?, ?, ?, ?)", [_row(entry) for entry, _ in own])
            studies = {entry.study_key: uid for entry, uid in own}
            woken = [uid for study_key, uid in studies.items() if _wake(db, study_key, uid, arrived_s)]
        return Added(woken, elsewhere)

    def note_digest(self, sop_key: str, sha256: str) -> None:
        """Note the digest of an instance that was entered without."""
        with self._transaction() as db:
            db.execute("UPDATE instance SET sha256 = ? WHERE sop_key = ?", (sha256, sop_key))

    def forget(self, sop_key: str) -> None:
        """Take out an instance whose file is gone."""
        with self._transaction() as db:
            db.execute("DELETE FROM instance WHERE sop_key = ?", (sop_key,))

    def know(self, study_key: str, study_instance_uid: str) -> None:
        """Enter a study that has no instances (any more)."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO study VALUES (?, ?, 0, '', 0)", (study_key, study_instance_uid))

    def held(self) -> list[Held]:
        """Return all studies, the one with the oldest last arrival first."""
        count = "(SELECT count(*) FROM instance WHERE instance.study_key = study.study_key)"
        columns = f"study_instance_uid, last_arrival, pending, {count}"
        rows = self._rows(f"SELECT {columns} FROM study ORDER BY last_arrival")  # noqa: S608
        return [Held(uid, last_arrival, bool(pending), instances) for uid, last_arrival, pending, instances in rows]

    def forget_study(self, study_key: str) -> None:
        """Take out a study whose folder is gone."""
        with self._transaction() as db:
            db.execute("DELETE FROM instance WHERE study_key = ?", (study_key,))
            db.execute("DELETE FROM study WHERE study_key = ?", (study_key,))

    def study_of(self, sop_key: str) -> str | None:
        """Return the key of the study that has this instance, None where there is none."""
        with self._lock:
            return _study_of(self._db, sop_key)

    def entries(self, study_key: str) -> list[Entry]:
        """Return the study's instances, sorted by SOP Instance UID."""
        rows = self._rows(f"{_ENTRY} WHERE study_key = ? ORDER BY sop_instance_uid", study_key)
        return [Entry(*row) for row in rows]

    def studies(self) -> dict[str, str]:
        """Return the Study Instance UIDs by study key, the latest arrival first."""
        return dict(self._rows("SELECT study_key, study_instance_uid FROM study ORDER BY last_arrival DESC"))

    def waiting(self, before_s: float) -> dict[str, str]:
        """Return the submitted revision, '' for none, of each Study Instance UID whose last news is older than this."""
        query = "SELECT study_instance_uid, submitted_revision FROM study WHERE pending = 1 AND last_arrival <= ?"
        return dict(self._rows(f"{query} ORDER BY last_arrival", before_s))

    def wake(self, study_key: str, now_s: float) -> None:
        """Let a study wait for completion again, as after a new instance."""
        with self._transaction() as db:
            db.execute("UPDATE study SET pending = 1, last_arrival = ? WHERE study_key = ?", (now_s, study_key))

    def settle(self, study_key: str, revision: str, instances: int) -> None:
        """Note the submitted revision, of so many instances; the study goes on waiting when it has others by now."""
        with self._transaction() as db:
            db.execute(
                "UPDATE study SET submitted_revision = ?, pending ="
                " (SELECT count(*) FROM instance WHERE instance.study_key = study.study_key) != ? WHERE study_key = ?",
                (revision, instances, study_key),
            )

    def _rows(self, query: str, *values: str | float) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _study_of(db: sqlite3.Connection, sop_key: str) -> str | None:
    row = db.execute("SELECT study_key FROM instance WHERE sop_key = ?", (sop_key,)).fetchone()
    return None if row is None else str(row[0])


def _row(entry: Entry) -> tuple[str, str, str, str]:
    return entry.sop_key, entry.study_key, entry.sop_instance_uid, entry.sha256


def _wake(db: sqlite3.Connection, study_key: str, study_instance_uid: str, arrived_s: float) -> bool:
    """Note that something of a study came; tell whether it did not wait for completion before."""
    db.execute("INSERT OR IGNORE INTO study VALUES (?, ?, 0, '', 0)", (study_key, study_instance_uid))
    (waiting,) = db.execute("SELECT pending FROM study WHERE study_key = ?", (study_key,)).fetchone()
    db.execute(
        "UPDATE study SET pending = 1, last_arrival = max(last_arrival, ?) WHERE study_key = ?", (arrived_s, study_key)
    )
    return not waiting
