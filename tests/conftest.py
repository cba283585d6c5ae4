"""What every test may ask for: real data, system tools, free loopback ports."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# pynetdicom installs programs named like DCMTK's (storescu, echoscu, ...) beside Python; the tests mean DCMTK's.
SCRIPTS = str(Path(sys.prefix) / "bin")
os.environ["PATH"] = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != SCRIPTS)


def missing(what: str) -> None:
    """Skip on a newcomer's machine, fail in CI, where everything is meant to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not on this machine")


def needs(*programs: str) -> None:
    """Ask for programs of the system (Debian packages orthanc, orthanc-dicomweb, dcmtk, dicom3tools)."""
    for program in programs:
        if shutil.which(program) is None:
            missing(f"the program {program}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data that lies beside the checkout, never in it."""
    if not SHARED_DATA.is_dir():
        missing("the real data folder ../shared/data")
    return SHARED_DATA
