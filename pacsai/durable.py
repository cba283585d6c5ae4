"""Files that survive a power cut: written under a temporary name, flushed to the disk, renamed, folder flushed."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all. A file that was there is replaced."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new(path: Path, *parts: bytes | memoryview) -> bool:
    """Write `parts`, one after the other, to `path`, whole or not at all. A file that was there is kept.

    Returns
    -------
    bool
        Whether the file is ours; False where there was one, of this or another process.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
        return True
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries: without it a rename may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Do the block while no other thread, process or node does one with the lock file `lock`."""
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def same_bytes(one: Path, other: Path) -> bool:
    """Tell whether two files hold the same bytes.

    filecmp would remember the answer by the paths, and a path like /proc/self/fd/7 comes again.
    """
    with one.open("rb") as first, other.open("rb") as second:
        if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        while chunk := first.read(1 << 20):
            if chunk != second.read(1 << 20):
                return False
    return True
