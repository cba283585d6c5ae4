"""The durable inbox: what arrived, and which studies are complete.

The folders are the truth. An instance counts as received once its file has its final name and both file and folder are
flushed; index.db only answers faster and can be deleted at any time. What peers say never becomes a path: files and
folders are named by SHA-256 of the UIDs. Knows nothing of associations, and of DICOM only the file head it writes.

    spool/<study key>/study.json              which study this is, and the revision last submitted
    spool/<study key>/instances/<sop key>.dcm PS3.10 files: our own head, then the data set as it was received
    spool/<study key>/story.jsonl             what happened to the study
    quarantine/<sop key>/<digest>.dcm         other bytes that came under a SOP Instance UID already kept
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import structlog

from pacsai import durable
from pacsai.dicom import part10
from pacsai.spool import scan
from pacsai.spool.index import Entry, SpoolIndex, revision_of
from pacsai.story import Story

log = structlog.get_logger()


class SpoolFull(OSError):  # noqa: N818 (reads as what happened)
    """There is no room for what arrives; the sender should try again later."""


class Reception(StrEnum):
    """What became of an arrival."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrival:
    """An instance as a peer sent it: its identity, and the encoded data set, untouched."""

    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes | memoryview

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of transfer syntax and data set.

        The same image in another encoding is another arrival: telling the two equal would mean to decode them.
        """
        return part10.digest(self.transfer_syntax_uid, self.dataset)


class Spool:
    """The inbox in the folder `data`; safe for several threads, and for readers in other processes."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._studies = data / "spool"
        self._quarantine = data / "quarantine"
        for folder in (self._studies, self._quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        self._index = SpoolIndex(data / "index.db")
        self._locks = tuple(threading.Lock() for _ in range(64))
        self._folder_lock = threading.Lock()
        self._told_complete: set[tuple[str, str]] = set()
        self.story = Story(data / "story.jsonl")
        """What has no study: refused associations, data that nobody can place."""

    def start(self) -> None:
        """Sweep what a crash left unfinished, and bring the index up to the folders. Once, before anything arrives."""
        swept = scan.sweep(self._studies) + scan.sweep(self._quarantine)
        entered = scan.bring_up(self._index, self._studies)
        log.info("spool scanned", unfinished_files_swept=swept, instances_entered=entered)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    # Receiving

    def receive(self, arrival: Arrival, now: datetime) -> Reception:
        """Keep an arrival; when this returns, what it says survives a power cut.

        The first bytes under a SOP Instance UID are kept for good; the same again change nothing, others go to
        quarantine and are told in the study's story.

        Raises
        ------
        SpoolFull
            When the disk or a quota is full; nothing of the arrival is left behind.
        """
        sop_key = self.key(arrival.sop_instance_uid)
        with self._locks[int(sop_key[:4], 16) % len(self._locks)], _told_as_full():
            known = self._index.find(sop_key)
            if known is None:
                return self._keep(arrival, sop_key, now)
            return self._compare(arrival, known)

    def free_bytes(self) -> int:
        """Return the free space of the disk the spool lies on."""
        return shutil.disk_usage(self._studies).free

    def _keep(self, arrival: Arrival, sop_key: str, now: datetime) -> Reception:
        folder = self._prepared_folder(arrival.study_instance_uid)
        path = folder / "instances" / f"{sop_key}.dcm"
        head = part10.head(arrival.sop_class_uid, arrival.sop_instance_uid, arrival.transfer_syntax_uid)
        digest = arrival.digest
        kept = digest if durable.write_new(path, head, arrival.dataset) else part10.digest_of_file(path)
        entry = Entry(folder.name, sop_key, arrival.sop_instance_uid, kept)
        first_news = self._index.add(entry, arrival.study_instance_uid, now.timestamp())
        if kept != digest:
            return self._compare(arrival, entry)
        if first_news:
            self._tell_arrival(arrival.study_instance_uid)
        return Reception.NEW

    def _compare(self, arrival: Arrival, known: Entry) -> Reception:
        digest = arrival.digest
        if digest == known.sha256:
            return Reception.SAME
        folder = self._quarantine / known.sop_key
        _make_folder(folder)
        path = folder / f"{digest[:32]}.dcm"
        head = part10.head(arrival.sop_class_uid, arrival.sop_instance_uid, arrival.transfer_syntax_uid)
        if not path.exists() and durable.write_new(path, head, arrival.dataset):
            Story(self._studies / known.study_key / "story.jsonl").tell(
                "conflict",
                detail="other bytes came under a SOP Instance UID that is already kept; they are in quarantine",
                sop_instance_uid=arrival.sop_instance_uid,
                study_instance_uid=arrival.study_instance_uid,
                transfer_syntax_uid=arrival.transfer_syntax_uid,
                quarantine=str(path.relative_to(self._data)),
            )
        return Reception.CONFLICT

    def _prepared_folder(self, study_instance_uid: str) -> Path:
        """Return the study's folder, made and flushed, with its study.json."""
        folder = self._folder(study_instance_uid)
        about = folder / "study.json"
        with self._folder_lock:  # nobody goes on with a folder that another thread has made and not yet flushed
            _make_folder(folder / "instances")
            if not about.exists():
                durable.write_new(about, _about(study_instance_uid, ""))
        return folder

    def _tell_arrival(self, study_instance_uid: str) -> None:
        submitted = self._submitted_revision(self._folder(study_instance_uid))
        if submitted:
            self.story_of(study_instance_uid).tell("reopened", detail="an instance arrived late")
        else:
            self.story_of(study_instance_uid).tell("receiving")

    # Completion

    def complete(self, quiet_s: float, now: datetime) -> tuple[str, ...]:
        """Return the Study Instance UIDs that have news, and had no new instance for `quiet_s`."""
        ready = []
        for study_instance_uid, submitted in self._index.waiting(now.timestamp() - quiet_s).items():
            revision = self.revision(study_instance_uid)
            if revision == submitted:
                self.mark_submitted(study_instance_uid, revision)
                continue
            self._tell_complete(study_instance_uid, revision)
            ready.append(study_instance_uid)
        return tuple(ready)

    def revision(self, study_instance_uid: str) -> str:
        """Return the SHA-256 (hex) over what the study holds now: its sorted SOP Instance UIDs and digests."""
        return revision_of(self._index.entries(self.key(study_instance_uid)))

    def mark_submitted(self, study_instance_uid: str, revision: str) -> None:
        """Remember that this revision was handed on; the study is complete again only after a new instance."""
        folder = self._folder(study_instance_uid)
        entries = self._index.entries(folder.name)
        if self._submitted_revision(folder) != revision:
            durable.write(folder / "study.json", _about(study_instance_uid, revision))
        self._index.settle(folder.name, revision, len(entries) if revision_of(entries) == revision else -1)

    def _tell_complete(self, study_instance_uid: str, revision: str) -> None:
        told = (study_instance_uid, revision)
        if told not in self._told_complete:
            self._told_complete.add(told)
            count = len(self.instances(study_instance_uid))
            self.story_of(study_instance_uid).tell("complete", instances=count, revision=revision)

    # Asking

    def studies(self) -> tuple[str, ...]:
        """Return the Study Instance UIDs that are here, the latest arrival first."""
        return tuple(self._index.studies().values())

    def instances(self, study_instance_uid: str) -> tuple[Path, ...]:
        """Return the files of the study; none for a study that is not here."""
        return tuple(sorted(self.instances_folder(study_instance_uid).glob("*.dcm")))

    def instances_folder(self, study_instance_uid: str) -> Path:
        """Return the folder that holds the study's files."""
        return self._folder(study_instance_uid) / "instances"

    def story_of(self, study_instance_uid: str) -> Story:
        """Return the story of a study that is here."""
        return Story(self._folder(study_instance_uid) / "story.jsonl")

    @staticmethod
    def key(uid: str) -> str:
        """Return the name that stands for a UID on disk: 32 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(uid.encode()).hexdigest()[:32]

    def _folder(self, study_instance_uid: str) -> Path:
        return self._studies / self.key(study_instance_uid)

    @staticmethod
    def _submitted_revision(folder: Path) -> str:
        return str(json.loads((folder / "study.json").read_bytes())["submitted_revision"])


def _about(study_instance_uid: str, submitted_revision: str) -> bytes:
    return json.dumps({"study_instance_uid": study_instance_uid, "submitted_revision": submitted_revision}).encode()


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each flushed into the one that holds it."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        durable.sync_folder(folder.parent)


@contextmanager
def _told_as_full() -> Iterator[None]:
    """Turn the ways in which a disk says that it is full into SpoolFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SpoolFull(error.errno, "the disk of the data folder is full") from error
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise SpoolFull(errno.ENOSPC, "the disk of the data folder is full") from error
        raise
