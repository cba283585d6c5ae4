"""The ledger: what the archive was asked to commit and has answered, and what peers asked of this node.

SQLite, each change flushed to the disk (synchronous FULL): unlike the spool's index, nothing else knows what it holds.
Knows nothing of associations, and not when to ask.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SCHEMA = """
CREATE TABLE IF NOT EXISTS parcel (
    parcel_id TEXT PRIMARY KEY, study_instance_uid TEXT NOT NULL, since REAL NOT NULL, next_at REAL NOT NULL,
    asked INTEGER NOT NULL, resent INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parcel_by_turn ON parcel (state, next_at);
CREATE TABLE IF NOT EXISTS object (
    parcel_id TEXT NOT NULL, place INTEGER NOT NULL, sop_class_uid TEXT NOT NULL, sop_instance_uid TEXT NOT NULL,
    committed INTEGER NOT NULL, failure INTEGER, PRIMARY KEY (parcel_id, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asking (
    transaction_uid TEXT PRIMARY KEY, parcel_id TEXT NOT NULL, ae_title TEXT NOT NULL, answered INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owed (
    ae_title TEXT NOT NULL, transaction_uid TEXT NOT NULL, asked_for TEXT NOT NULL, since REAL NOT NULL,
    next_at REAL NOT NULL, attempts INTEGER NOT NULL, PRIMARY KEY (ae_title, transaction_uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS promised (study_key TEXT PRIMARY KEY, ae_title TEXT NOT NULL) WITHOUT ROWID;
"""

State = Literal["open", "committed", "not committed", "withdrawn"]

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A SOP instance by its class and UID, as Referenced SOP Sequences name it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Request:
    """The commitment of one parcel's objects.

    Attributes
    ----------
    since : float
        When the parcel was delivered, seconds since 1970.
    asked, resent : int
        How often the archive was asked, and objects sent again.
    waiting : tuple of Reference
        The objects that are not committed yet.
    failed : dict
        The Failure Reason (0008,1197) of each of these that the archive did not commit, by SOP Instance UID.
    """

    parcel_id: str
    study_instance_uid: str
    since: float
    asked: int
    resent: int
    state: State
    waiting: tuple[Reference, ...]
    failed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Owed:
    """An answer that a peer waits for."""

    ae_title: str
    transaction_uid: str
    references: tuple[Reference, ...]
    since: float
    attempts: int


def pause_s(first_s: float, times: int) -> float:
    """Return the pause after `times` tries (from 1): `first_s`, doubled each time, up to a day or to `first_s`."""
    return min(first_s * 2.0 ** min(max(times, 1) - 1, 32), max(_DAY_S, first_s))


class Ledger:
    """What stands in the file `path`; safe for several threads, and for other processes.

    Raises OSError where the file cannot be read or written, so that whoever brought the news keeps it for later.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Make the changes of the block together, or none of them; blocks may lie in one another.

        No other thread, process or node changes anything meanwhile: so images are promised, and deleted, in one.
        """
        with self._lock, _as_os_error():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk may have rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    # What the archive is asked

    def expect(self, parcel_id: str, study_instance_uid: str, objects: Sequence[Reference], now: float) -> None:
        """Enter a delivered parcel, to be asked for at once; one that stands here already is left as it is."""
        with self.changes():
            row = (parcel_id, study_instance_uid, now, now)
            if self._do("INSERT OR IGNORE INTO parcel VALUES (?, ?, ?, ?, 0, 0, 'open')", *row).rowcount:
                for place, one in enumerate(objects):
                    values = (parcel_id, place, one.sop_class_uid, one.sop_instance_uid)
                    self._do("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, 0, NULL)", *values)

    def request(self, parcel_id: str) -> Request | None:
        """Return a parcel's commitment, None for a parcel that does not stand here."""
        found = self._requests("parcel_id = ?", parcel_id)
        return found[0] if found else None

    def due(self, now: float) -> list[Request]:
        """Return the commitments whose turn it is, the longest due first."""
        return self._requests("state = 'open' AND next_at <= ?", now)

    def asking(self, request: Request, transaction_uid: str, ae_title: str, next_at: float) -> None:
        """Note a question that is about to be put; its answer may come before anything else happens."""
        with self.changes():
            self._do("INSERT INTO asking VALUES (?, ?, ?, 0)", transaction_uid, request.parcel_id, ae_title)
            self._do("UPDATE parcel SET asked = asked + 1, next_at = ? WHERE parcel_id = ?", next_at, request.parcel_id)

    def asked(self, transaction_uid: str, ae_title: str) -> tuple[str, bool] | None:
        """Return the parcel a transaction with this archive is about and whether it was answered, or None."""
        rows = self._rows(
            "SELECT parcel_id, answered FROM asking WHERE transaction_uid = ? AND ae_title = ?",
            *(transaction_uid, ae_title),
        )
        return (str(rows[0][0]), bool(rows[0][1])) if rows else None

    def answered(
        self, transaction_uid: str, parcel_id: str, committed: Collection[str], failed: Mapping[str, int]
    ) -> None:
        """Note an archive's answer, by SOP Instance UID; what else it names than the parcel's objects is left out."""
        with self.changes():
            self._do("UPDATE asking SET answered = 1 WHERE transaction_uid = ?", transaction_uid)
            for uid in committed:
                self._do(
                    "UPDATE object SET committed = 1, failure = NULL WHERE parcel_id = ? AND sop_instance_uid = ?",
                    *(parcel_id, uid),
                )
            for uid, reason in failed.items():
                self._do(
                    "UPDATE object SET failure = ? WHERE parcel_id = ? AND sop_instance_uid = ? AND NOT committed",
                    *(reason, parcel_id, uid),
                )

    def resent(self, parcel_id: str) -> None:
        """Note that what failed was sent again."""
        with self.changes():
            self._do("UPDATE parcel SET resent = resent + 1 WHERE parcel_id = ?", parcel_id)
            self._do("UPDATE object SET failure = NULL WHERE parcel_id = ?", parcel_id)

    def settle(self, parcel_id: str, state: State) -> None:
        """Note how it stands."""
        with self.changes():
            self._do("UPDATE parcel SET state = ? WHERE parcel_id = ?", state, parcel_id)

    def postpone(self, parcel_id: str, next_at: float, asked: int | None = None) -> None:
        """Note when it is next its turn and, where given, how often it was asked for by now."""
        with self.changes():
            statement = "UPDATE parcel SET next_at = ?, asked = coalesce(?, asked) WHERE parcel_id = ?"
            self._do(statement, next_at, asked, parcel_id)

    # What peers ask

    def owe(self, ae_title: str, transaction_uid: str, references: Sequence[Reference], now: float) -> bool:
        """Enter a peer's request and return whether it is new: of one that stands here already the first counts."""
        asked_for = json.dumps([[one.sop_class_uid, one.sop_instance_uid] for one in references])
        with self.changes():
            row = (ae_title, transaction_uid, asked_for, now, now)
            return self._do("INSERT OR IGNORE INTO owed VALUES (?, ?, ?, ?, ?, 0)", *row).rowcount == 1

    def owed(self, now: float) -> list[Owed]:
        """Return the answers whose turn it is, the oldest first."""
        columns = "ae_title, transaction_uid, asked_for, since, attempts"
        rows = self._rows(f"SELECT {columns} FROM owed WHERE next_at <= ? ORDER BY since", now)  # noqa: S608
        return [
            Owed(ae_title, uid, tuple(Reference(*one) for one in json.loads(asked_for)), since, attempts)
            for ae_title, uid, asked_for, since, attempts in rows
        ]

    def put_off(self, owed: Owed, next_at: float, *, attempts: int) -> None:
        """Note when an answer is next tried, after so many attempts."""
        with self.changes():
            self._do(
                "UPDATE owed SET next_at = ?, attempts = ? WHERE ae_title = ? AND transaction_uid = ?",
                *(next_at, attempts, owed.ae_title, owed.transaction_uid),
            )

    def forget(self, owed: Owed) -> None:
        """Take out an answer that was given, or given up."""
        with self.changes():
            self._do("DELETE FROM owed WHERE ae_title = ? AND transaction_uid = ?", owed.ae_title, owed.transaction_uid)

    def promise(self, study_keys: Collection[str], ae_title: str) -> None:
        """Note that a peer was told that these studies' images are safe here."""
        with self.changes():
            for study_key in study_keys:
                self._do("INSERT OR IGNORE INTO promised VALUES (?, ?)", study_key, ae_title)

    def promised_to(self, study_key: str) -> str:
        """Return a peer that was told that images of the study are safe here, '' for none."""
        rows = self._rows("SELECT ae_title FROM promised WHERE study_key = ?", study_key)
        return str(rows[0][0]) if rows else ""

    # SQLite

    def _requests(self, condition: str, *values: str | float) -> list[Request]:
        columns = "parcel_id, study_instance_uid, since, asked, resent, state"
        rows = self._rows(f"SELECT {columns} FROM parcel WHERE {condition} ORDER BY next_at", *values)  # noqa: S608
        return [self._with_objects(*row) for row in rows]

    def _with_objects(
        self, parcel_id: str, study_instance_uid: str, since: float, asked: int, resent: int, state: State
    ) -> Request:
        rows = self._rows(
            "SELECT sop_class_uid, sop_instance_uid, failure FROM object"
            " WHERE parcel_id = ? AND NOT committed ORDER BY place",
            parcel_id,
        )
        waiting = tuple(Reference(sop_class, uid) for sop_class, uid, _ in rows)
        failed = {uid: failure for _, uid, failure in rows if failure is not None}
        return Request(parcel_id, study_instance_uid, since, asked, resent, state, waiting, failed)

    def _do(self, statement: str, *values: str | float | None) -> sqlite3.Cursor:
        return self._db.execute(statement, values)

    def _rows(self, query: str, *values: str | float) -> list[Any]:
        with self._lock, _as_os_error():
            return self._db.execute(query, values).fetchall()


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn a full or failing disk into an OSError, which callers know to try again."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(errno.EIO, f"the commitment ledger cannot be used: {error}") from error
