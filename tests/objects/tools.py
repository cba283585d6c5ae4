"""Other people's programs as judges of our objects."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pydicom.dataset import Dataset

from tests.conftest import needs
from tests.objects.known_messages import DCIODVFY, DSRDUMP


def saved(dataset: Dataset, path: Path) -> Path:
    """Write a data set as a DICOM file and return its path."""
    dataset.save_as(path, enforce_file_format=True)
    return path


def dciodvfy(path: Path) -> list[str]:
    """Return what dciodvfy (dicom3tools) says of an object, the known messages left out."""
    return _unknown(_said("dciodvfy", "-new", str(path)), ("Error", "Warning"), DCIODVFY)


def dcmpschk(path: Path) -> list[str]:
    """Return what dcmpschk (DCMTK) says of a presentation state."""
    return _unknown(_said("dcmpschk", str(path)), ("E:",), {})


def dsrdump(path: Path) -> list[str]:
    """Return the warnings and errors with which dsrdump (DCMTK) reads a structured report."""
    return _unknown(_said("dsrdump", str(path)), ("E:", "W:"), DSRDUMP)


def _said(*command: str) -> list[str]:
    needs(command[0])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, errors="replace")
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def _unknown(lines: list[str], starts: tuple[str, ...], known: dict[str, str]) -> list[str]:
    messages = [line for line in lines if line.startswith(starts)]
    return [message for message in messages if not any(part in message for part in known)]
