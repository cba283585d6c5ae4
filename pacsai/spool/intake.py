"""Intake: the way of one instance from the network to its durable file. Several processes keep instances at once.

An instance is written to a file without a name while it arrives, brought to the disk, given its name, and that made
durable as well (flushing.py); only then is it kept. A file without a name vanishes with its process, so that a crash
leaves nothing to sweep. The index is only read here: the node's own process enters what the others have kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import sqlite3
import tempfile
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pacsai import durable, faults
from pacsai.dicom import part10
from pacsai.dicom.identity import Identity
from pacsai.spool.flushing import Flushing, Unflushed, flushing_on
from pacsai.spool.index import StudyOf
from pacsai.story import Story

_OPEN_FOLDERS = 64
_SPARE_FILES = 4
_IDLE_S = 2.0


class SpoolFull(OSError):  # noqa: N818 (reads as what happened)
    """There is no room for what arrives; the sender should try again later."""


class Reception(StrEnum):
    """What became of an arrival."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Kept:
    """An instance that is durable: what the index must know of it."""

    study_instance_uid: str
    sop_instance_uid: str
    reception: Reception


def key(uid: str) -> str:
    """Return the name that stands for a UID on disk: 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


class Intake:
    """Keeps instances in the folder `data`; safe for several threads and processes.

    Parameters
    ----------
    data : Path
        The node's data folder.
    study_of : callable
        The key of the study in which an instance of this key is kept, None where there is none.
    flushed : bool
        False only to measure what flushing costs: then nothing survives a power cut.
    """

    def __init__(self, data: Path, study_of: StudyOf, *, flushed: bool = True) -> None:
        self._data = data
        self._studies = data / "spool"
        self._quarantine = data / "quarantine"
        self._study_of = study_of
        self._flushed = flushed
        self._spare = _Spare(self._studies)
        self._folders = _Folders(self._studies)

    @cached_property
    def _flushing(self) -> Flushing:
        return flushing_on(self._studies) if self._flushed else Unflushed()

    def begin(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Incoming:
        """Return a new unnamed file for the data set of an instance that is about to arrive; raises SpoolFull."""
        with told_as_full():
            head = part10.head(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
            return Incoming(self._spare.taken() or new_file(self._studies), head, transfer_syntax_uid)

    def get_ready(self) -> None:
        """Make the next file ahead, while the sender looks for its next image: it takes as long as 100 kB do."""
        self._spare.provide()

    def keep(self, incoming: Incoming, said: Identity) -> Kept:
        """Give what arrived its place; when this returns, it survives a power cut.

        The first bytes under a SOP Instance UID are kept for good; the same again change nothing, others go to
        quarantine and are told in the story of the study that has the first.

        Raises
        ------
        SpoolFull
            When the disk or a quota is full; nothing of the arrival is left behind.
        """
        with told_as_full():
            study_key, sop_key = key(said.study_instance_uid), key(said.sop_instance_uid)
            elsewhere = self._study_of(sop_key)
            if elsewhere not in (None, study_key):
                there = self._studies / str(elsewhere) / "instances" / f"{sop_key}.dcm"
                with suppress(FileNotFoundError):  # it was purged just now
                    return Kept(said.study_instance_uid, said.sop_instance_uid, self._compare(incoming, said, there))
            faults.point("intake.arrived")
            self._flushing.before_name(incoming.descriptor)
            faults.point("intake.flushed")
            reception = self._name(incoming, said, study_key, sop_key)
            faults.point("intake.kept")
            return Kept(said.study_instance_uid, said.sop_instance_uid, reception)

    def _name(self, incoming: Incoming, said: Identity, study_key: str, sop_key: str) -> Reception:
        for last in (False, True):
            try:
                with self._folders.opened(study_key, said.study_instance_uid) as folder:
                    incoming.give_name(f"{sop_key}.dcm", folder)
                    faults.point("intake.named")
                    self._flushing.after_name(incoming.descriptor, folder)
                return Reception.NEW
            except FileExistsError:
                kept = self._studies / study_key / "instances" / f"{sop_key}.dcm"
                try:
                    return self._compare(incoming, said, kept)
                except FileNotFoundError:  # it was purged just now, and its name is free
                    if last:
                        raise
            except FileNotFoundError:  # the study was purged while its folder was open here
                self._folders.close(study_key)
                if last:
                    raise
        raise AssertionError("unreachable")

    def _compare(self, incoming: Incoming, said: Identity, kept: Path) -> Reception:
        """Tell whether the bytes are those that are kept; others go to quarantine. Raises FileNotFoundError."""
        if durable.same_bytes(Path(incoming.path), kept):
            durable.sync_folder(kept.parent)  # the first to bring it may not have come so far
            return Reception.SAME
        with incoming.dataset() as dataset:
            digest = part10.digest(incoming.transfer_syntax_uid, dataset)
        folder = self._quarantine / kept.stem
        make_folder(folder)
        path = folder / f"{digest[:32]}.dcm"
        if not path.exists():
            os.fsync(incoming.descriptor)
            incoming.name_in(path)
            self._tell_conflict(said, incoming.transfer_syntax_uid, kept, path)
        return Reception.CONFLICT

    def _tell_conflict(self, said: Identity, transfer_syntax_uid: str, kept: Path, path: Path) -> None:
        Story(kept.parent.parent / "story.jsonl").tell(
            "conflict",
            detail="other bytes came under a SOP Instance UID that is already kept; they are in quarantine",
            sop_instance_uid=said.sop_instance_uid,
            study_instance_uid=said.study_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            quarantine=str(path.relative_to(self._data)),
        )

    def free_bytes(self) -> int:
        """Return the free space of the disk the spool lies on."""
        disk = os.statvfs(self._studies)
        return disk.f_bavail * disk.f_frsize

    def tidy(self) -> None:
        """Close the folders of studies of which nothing has come for a while. Called now and then."""
        self._folders.close_idle()

    def close(self) -> None:
        """Close what is held open."""
        self._folders.close()
        self._spare.close()


class OpenFile(NamedTuple):
    """A new file, open: its descriptor, and its path where it has one."""

    descriptor: int
    named: Path | None = None


def new_file(folder: Path) -> OpenFile:
    """Return a new file on the file system of `folder`, without a name where that can be."""
    try:
        return OpenFile(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o640))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    # A file system without unnamed files (NFS, some FUSE): a crash leaves a .part, which the start sweeps.
    descriptor, name = tempfile.mkstemp(prefix=".arriving.", suffix=".part", dir=folder)
    return OpenFile(descriptor, Path(name))


class _Spare:
    """Unnamed files made ahead, a few; those that are left vanish with the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: deque[OpenFile] = deque()

    def provide(self) -> None:
        """Make one more; where that fails it fails again when it is needed, and is answered then."""
        if len(self._files) < _SPARE_FILES:
            with suppress(OSError):
                self._files.append(OpenFile(os.open(self._folder, os.O_TMPFILE | os.O_RDWR, 0o640)))

    def taken(self) -> OpenFile | None:
        try:
            return self._files.popleft()
        except IndexError:
            return None

    def close(self) -> None:
        while file := self.taken():
            os.close(file.descriptor)


class Incoming:
    """A data set on its way in: a file without a name, its head written. Leave it by `with`.

    Attributes
    ----------
    descriptor : int
        Of the open file; what is written to it follows what is there.
    """

    def __init__(self, file: OpenFile, head: bytes, transfer_syntax_uid: str) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self.descriptor, self._named = file
        self._head_bytes = len(head)
        os.write(self.descriptor, head)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        if self._named:
            self._named.unlink(missing_ok=True)

    @property
    def path(self) -> str:
        """Return a path by which this process reaches the open file."""
        return f"/proc/self/fd/{self.descriptor}"

    def write(self, view: memoryview | bytes) -> None:
        """Add `view`; raises SpoolFull."""
        written = os.write(self.descriptor, view)
        while written < len(view):
            written += os.write(self.descriptor, view[written:])

    @contextmanager
    def dataset(self) -> Iterator[memoryview]:
        """Give the whole data set, mapped into memory."""
        if os.fstat(self.descriptor).st_size == self._head_bytes:
            yield memoryview(b"")
            return
        with (
            mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ) as mapped,
            memoryview(mapped) as view,
            view[self._head_bytes :] as dataset,
        ):
            yield dataset

    def name_in(self, path: Path) -> None:
        """Name the file `path` durably; one that is there is kept."""
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(FileExistsError):
                self.give_name(path.name, folder)
            os.fsync(folder)
        finally:
            os.close(folder)

    def give_name(self, name: str, folder: int) -> None:
        """Name the file `name` in the open folder `folder`; raises FileExistsError where the name is taken."""
        os.link(self.path, name, dst_dir_fd=folder, follow_symlinks=True)


class _Folders:
    """The instance folders of the studies that arrive now, each held open so that flushing it costs one call."""

    def __init__(self, studies: Path) -> None:
        self._studies = studies
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Folder] = OrderedDict()

    @contextmanager
    def opened(self, study_key: str, study_instance_uid: str) -> Iterator[int]:
        with self._lock:
            folder = self._open.get(study_key)
            if folder is None:
                folder = self._open[study_key] = _Folder(self._prepared(study_key, study_instance_uid))
            self._open.move_to_end(study_key)
            folder.users += 1
            self._close_oldest()
        try:
            yield folder.descriptor
        finally:
            with self._lock:
                folder.users -= 1
                folder.used = time.monotonic()
                if folder.forgotten and not folder.users:
                    os.close(folder.descriptor)

    def close(self, *study_keys: str) -> None:
        with self._lock:
            for study_key in study_keys or tuple(self._open):
                self._forget(study_key)

    def close_idle(self) -> None:
        before = time.monotonic() - _IDLE_S
        with self._lock:
            for study_key in [key for key, folder in self._open.items() if not folder.users and folder.used < before]:
                self._forget(study_key)

    def _close_oldest(self) -> None:
        while len(self._open) > _OPEN_FOLDERS:
            self._forget(next(iter(self._open)))

    def _forget(self, study_key: str) -> None:
        folder = self._open.pop(study_key, None)
        if folder is None:
            return
        folder.forgotten = True
        if not folder.users:
            os.close(folder.descriptor)

    def _prepared(self, study_key: str, study_instance_uid: str) -> int:
        """Return the study's folder, made and flushed with its study.json, open."""
        folder = self._studies / study_key
        make_folder(folder / "instances")
        durable.sync_folder(folder)  # of what another process has made and perhaps not yet flushed
        durable.sync_folder(self._studies)
        about = folder / "study.json"
        if not about.exists() and durable.write_new(about, study_json(study_instance_uid, "")):
            Story(folder / "story.jsonl").tell("receiving")
        return os.open(folder / "instances", os.O_RDONLY | os.O_DIRECTORY)


@dataclass(slots=True)
class _Folder:
    descriptor: int
    users: int = 0
    used: float = 0.0
    forgotten: bool = False


def study_json(study_instance_uid: str, submitted_revision: str) -> bytes:
    """Return the content of a study's study.json."""
    return json.dumps({"study_instance_uid": study_instance_uid, "submitted_revision": submitted_revision}).encode()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each flushed into the one that holds it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        durable.sync_folder(folder.parent)


@contextmanager
def told_as_full() -> Iterator[None]:
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
