"""How long a 300 x 512 x 512 chest CT takes from a folder of DICOM to written objects, and where the time goes.

    python -m pipelines.chest_ct_nodules.bench [--runs 3] [--json]

Each run is `pacsai analyse` in a new process, as the node runs it; peak memory is the operating system's figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pacsai.wrap import About, write_ct
from pipelines.chest_ct_nodules.phantom import chest_phantom

SHAPE_KJI = (300, 512, 512)
SPACING_MM = (1.0, 0.7, 0.7)
SEED = 7000


def main() -> None:
    """Generate the CT, run, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        study = Path(temporary) / "study"
        made = chest_phantom(SEED, shape_kji=SHAPE_KJI, spacing_mm=SPACING_MM)
        write_ct(study, made.array_hu, np.diag([*SPACING_MM[::-1], 1.0]), About(body_part="CHEST"))
        runs = [one_run(study, Path(temporary) / "out") for _ in range(options.runs)]
    told = {step: round(statistics.median(run[step] for run in runs), 2) for step in runs[0]}
    told["peak memory GB"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 2)
    if options.json:
        print(json.dumps(told))  # noqa: T201
        return
    for name, value in told.items():
        print(f"{name:16} {value:8.2f}")  # noqa: T201


def one_run(study: Path, out: Path) -> dict[str, float]:
    """Return the seconds of each step, and of the whole process, of one analysis."""
    command = [sys.executable, "-m", "pacsai", "analyse", "chest_ct_nodules", str(study), "--out", str(out), "--json"]
    start = time.perf_counter()
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    whole = time.perf_counter() - start
    report: dict[str, Any] = json.loads(finished.stdout)
    return {**report["seconds"], "whole process": whole}


if __name__ == "__main__":
    main()
