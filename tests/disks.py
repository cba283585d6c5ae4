"""A disk for one test: an ext4 file system in an image file, whose power can be cut.

Cutting means the shutdown that ext4 offers for crash tests (EXT4_IOC_SHUTDOWN without flushing the log): from one
instant on nothing that lies in memory reaches the image any more, and programs that run on get input/output errors.
What the image holds then is copied, and the copy mounted: its journal is replayed as after a power cut. It does not
show a disk that loses what it was told to flush.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import needs

EXT4_IOC_SHUTDOWN = 0x8004587D
"""_IOR('X', 125, __u32), fs/ext4/ext4.h."""
WITHOUT_FLUSHING_THE_LOG = 2


class Disk:
    """A mounted image."""

    def __init__(self, image: Path, point: Path) -> None:
        self.image = image
        self.point = point

    def cut_power(self) -> None:
        """Let nothing that is not on the disk now get there any more."""
        assert os.path.ismount(self.point), "never another file system than our own"
        descriptor = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)

    @contextmanager
    def as_it_is(self) -> Iterator[Path]:
        """Mount a copy of what the image holds now, checked as a start of the system would; gives the folder."""
        copy, point = self.image.with_name("copy.img"), self.point.with_name("copy")
        shutil.copyfile(self.image, copy)
        checked = subprocess.run(["e2fsck", "-y", "-f", copy], capture_output=True, text=True)
        assert checked.returncode in (0, 1), f"this cannot be repaired: {checked.stdout}"
        with _mounted(copy, point):
            yield point


@contextmanager
def disk(folder: Path, size_mb: int = 256, *, journal: bool = True, mount: str = "noatime") -> Iterator[Disk]:
    """Make a disk in `folder`, perhaps without a journal, mounted with the options `mount`.

    Skips where image files cannot be mounted, in CI too: that is no missing program.
    """
    if os.geteuid():
        pytest.skip("only root can mount an image file")
    needs("mkfs.ext4", "e2fsck", "mount", "umount")
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(size_mb << 20)
    options = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
    without = [] if journal else ["-O", "^has_journal"]
    subprocess.run(["mkfs.ext4", *options, *without, image], check=True, capture_output=True)
    with _mounted(image, folder / "disk", mount):
        yield Disk(image, folder / "disk")


@contextmanager
def _mounted(image: Path, point: Path, options: str = "noatime") -> Iterator[None]:
    point.mkdir()
    done = subprocess.run(["mount", "-o", f"loop,{options}", image, point], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this kernel does not let an image file be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)
