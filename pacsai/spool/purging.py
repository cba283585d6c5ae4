"""Deleting a study's images so that a crash in between leaves nothing half-deleted, and no newer image is hit.

What is to go is written down first, each file with its time: an image that comes again under the same name is another
file, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pacsai import durable, faults
from pacsai.spool.index import SpoolIndex

_PLAN = "purge.json"


def begin(folder: Path, files: Iterable[Path]) -> None:
    """Write down that these images of the study's folder are to be deleted."""
    times = {path.name: path.stat().st_mtime_ns for path in files}
    durable.write(folder / _PLAN, json.dumps(times).encode())
    faults.point("purge.planned")


def begun(studies: Path) -> list[Path]:
    """Return the study folders whose deletion was cut off."""
    return [plan.parent for plan in studies.glob(f"*/{_PLAN}")]


def finish(folder: Path, index: SpoolIndex) -> None:
    """Delete what was written down, from the index first: what is looked up there must be on the disk."""
    plan = folder / _PLAN
    if not plan.is_file():
        return
    for name, time_ns in json.loads(plan.read_bytes()).items():
        path = folder / "instances" / Path(name).name
        if path.exists() and path.stat().st_mtime_ns == time_ns:
            index.forget(path.stem)
            faults.point("purge.forgotten")
            path.unlink()
    durable.sync_folder(folder / "instances")
    faults.point("purge.images")
    plan.unlink()
    durable.sync_folder(folder)
