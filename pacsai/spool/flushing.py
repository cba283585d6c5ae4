"""How a file and its name become durable together, as cheaply as the file system allows honestly.

Everywhere: flush the file, name it, flush folder and file. On ext4: write the data out, name the file, flush the file.
With a journal that is one commit instead of two, for naming changes inode and folder in one transaction; without, the
flush writes the inode and the folder it was newly entered in. The data were on the disk before: a name never stands for
less than the whole file (docs/decisions/0007). Others may do the same; what was not tested is not relied upon.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Protocol

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Flags of sync_file_range(2)."""

_sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Flushing(Protocol):
    """Makes a file durable in two steps, round the moment in which it gets its name."""

    def before_name(self, file: int) -> None:
        """Bring the content of the open `file` to the disk, so far that its name may appear; raises OSError."""

    def after_name(self, file: int, folder: int) -> None:
        """Return when content and name survive a power cut; raises OSError."""


class FileThenFolder:
    """Flushes the file, and after it got its name the folder, too: right on every file system."""

    def before_name(self, file: int) -> None:
        """See `Flushing`."""
        os.fsync(file)

    def after_name(self, file: int, folder: int) -> None:
        """See `Flushing`. The file once more: its count of names has changed, which only a journal takes along."""
        os.fsync(folder)
        os.fsync(file)


class DataThenFile:
    """Writes the data out, and flushes the file once it has its name, for both: for ext4."""

    def before_name(self, file: int) -> None:
        """See `Flushing`. Blocks that were reserved only are allocated, written and entered when this returns."""
        if _sync_file_range(file, 0, 0, _WAIT_BEFORE | _WRITE | _WAIT_AFTER):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def after_name(self, file: int, folder: int) -> None:  # noqa: ARG002 (the others need it)
        """See `Flushing`."""
        os.fsync(file)


class Unflushed:
    """Flushes nothing, only to measure what flushing costs: nothing survives a power cut."""

    def before_name(self, file: int) -> None:
        """See `Flushing`."""

    def after_name(self, file: int, folder: int) -> None:
        """See `Flushing`."""


def flushing_on(folder: Path) -> Flushing:
    """Return the cheapest way that is known to be safe on the file system of `folder`."""
    kind, options = file_system(folder)
    return DataThenFile() if kind == "ext4" and "data=writeback" not in options else FileThenFolder()


def file_system(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the type of the file system that `folder` lies on and its mount options; "" and none where unknown."""
    best, found = Path(), ("", tuple[str, ...]())
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind, options, *_ = line.split()
        if folder.resolve().is_relative_to(where) and len(where) >= len(str(best)):
            best, found = Path(where), (kind, tuple(options.split(",")))
    return found
