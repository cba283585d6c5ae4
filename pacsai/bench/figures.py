"""What is said of ingest runs: ratios between receivers, targets, a table, and everything as JSON."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacsai.bench.ingest import Run, medians
from pacsai.bench.receivers import dcmtk
from pacsai.spool.flushing import file_system

BESIDE = ("storescp", "floor", "floor-storescu", "orthanc")
"""What the others are compared with. A receiver that does not flush is compared with a floor that does not."""
TMPFS_WARNING = "the folder lies in memory: flushing costs nothing there, and figures with fsync mean nothing"


@dataclass(frozen=True, slots=True)
class Target:
    """At least so many times the speed of another receiver, at so many associations (issue 3)."""

    receiver: str
    beside: str
    associations: int
    ratio: float


TARGETS = (
    Target("pacsai-no-fsync", "storescp", 1, 1.3),
    Target("pacsai-no-fsync", "storescp", 4, 1.0),
    Target("pacsai-no-fsync", "storescp", 16, 1.0),
    *(Target("pacsai", "floor", associations, 0.9) for associations in (1, 4, 16)),
    *(Target("pacsai", "orthanc", associations, 2.0) for associations in (1, 4, 16)),
)

Ratios = Mapping[tuple[str, str, int], float]


def ratios(runs: Sequence[Run]) -> Ratios:
    """Return the median speed of each receiver over that of each other, by (receiver, beside, associations)."""
    middle = medians(runs)
    return {
        (one.receiver, other.receiver, one.associations): other.seconds / one.seconds
        for one in middle
        for other in middle
        if one.associations == other.associations and one.receiver != other.receiver
    }


def missed(found: Ratios) -> list[str]:
    """Return a line for each target that was measured and not met."""
    lines = []
    for target in TARGETS:
        ratio = found.get((target.receiver, target.beside, target.associations))
        if ratio is not None and ratio < target.ratio:
            where = f"{target.receiver} beside {target.beside} at {target.associations} associations"
            lines.append(f"{where}: {ratio:.2f}, wanted {target.ratio}")
    return lines


def table(runs: Sequence[Run]) -> str:
    """Return the medians as a Markdown table; its last columns say how many times as fast as another receiver."""
    found = ratios(runs)
    rows = [
        ("associations", "receiver", "MB/s", "images/s", "seconds", "CPU s", *(f"x {name}" for name in BESIDE)),
        ("---",) * (6 + len(BESIDE)),
    ]
    for run in sorted(medians(runs), key=lambda run: run.associations):
        figures = f"{run.mb_per_s:.0f}", f"{run.images_per_s:.0f}", f"{run.seconds:.2f}", f"{run.cpu_s:.2f}"
        times = (_times(found, run, name) for name in BESIDE)
        rows.append((str(run.associations), run.receiver, *figures, *times))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(runs: Sequence[Run], start_s: Mapping[int, float], folder: Path) -> dict[str, Any]:
    """Return all there is: the machine, single runs, medians, ratios, and which targets were missed."""
    found = ratios(runs)
    return {
        "machine": machine(folder),
        "sender_start_s": {str(count): seconds for count, seconds in start_s.items()},
        "runs": [_described(run) for run in runs],
        "medians": [_described(run) for run in medians(runs)],
        "ratios": [
            {"receiver": one, "beside": other, "associations": count, "ratio": round(ratio, 3)}
            for (one, other, count), ratio in found.items()
        ],
        "targets": [
            {**asdict(target), "measured": found.get((target.receiver, target.beside, target.associations))}
            for target in TARGETS
        ],
        "missed": missed(found),
    }


def machine(folder: Path) -> dict[str, Any]:
    """Return what the figures depend on; the load is that of now, the bench's own included."""
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.release(),
        "load_5_min": round(os.getloadavg()[1], 1),
        "file_system": file_system(folder)[0],
        "storescu": _first_line(dcmtk("storescu"), "--version"),
        "orthanc": _first_line("Orthanc", "--version"),
    }


def _described(run: Run) -> dict[str, Any]:
    return {**asdict(run), "mb_per_s": round(run.mb_per_s, 1), "images_per_s": round(run.images_per_s, 1)}


def _times(found: Ratios, run: Run, beside: str) -> str:
    if run.receiver.endswith("-no-fsync"):
        beside = {"floor": "floor-no-fsync", "floor-storescu": ""}.get(beside, beside)
    ratio = found.get((run.receiver, beside, run.associations))
    return "" if ratio is None else f"{ratio:.2f}"


def _first_line(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0].strip("$ ")
    except FileNotFoundError:
        return ""
