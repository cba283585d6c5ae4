"""How long four sequences at 1 mm take from a folder of DICOM to written objects, and where the time goes.

    python -m pipelines.brain_lesions.bench --data ../shared/data/mr/open-ms [--runs 3] [--json]

Each run is `pacsai analyse` in a new process, as the node runs it; peak memory is the operating system's figure. The
steps of the analysis are then timed one by one in this process.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pacsai.organs.brain import extract_brain
from pacsai.registration import register
from pacsai.registry import find
from pacsai.sequences import Sequences
from pacsai.volume import Volume
from pacsai.wrap import About, wrap
from pipelines.brain_lesions.anatomy import anatomy, places
from pipelines.brain_lesions.detect import lesions, probabilities
from pipelines.brain_lesions.evaluate import AGENT, PATIENT
from pipelines.brain_lesions.net import load_network
from pipelines.brain_lesions.prepare import labels_back_onto, prepare
from pipelines.brain_lesions.registration_trials import FILES, read_nifti

KINDS = ("SEG", "SR", "GSPS", "SC")


def one_run(study: Path, out: Path) -> dict[str, float]:
    """Return the seconds of each step, and of the whole process, of one analysis."""
    kinds = [word for kind in KINDS for word in ("--result", kind)]
    command = [sys.executable, "-m", "pacsai", "analyse", "brain_lesions", str(study), "--out", str(out), "--json"]
    start = time.perf_counter()
    finished = subprocess.run([*command, *kinds], check=True, capture_output=True, text=True)
    whole = time.perf_counter() - start
    report: dict[str, Any] = json.loads(finished.stdout)
    return {**report["seconds"], "whole process": whole}


def steps(patient: Path) -> dict[str, float]:
    """Return the seconds of the steps of an analysis, one after another in this process."""
    grids = {name: read_nifti(patient / file) for name, file in FILES.items()}
    volumes = {name: Volume(grid.array, grid.affine, "", ()) for name, grid in grids.items()}
    flair, told = volumes["FLAIR"], dict[str, float]()
    path = find("brain_lesions").verified_weights()
    assert path is not None  # noqa: S101 - the manifest names weights
    with _timed(told, "load network"):
        network = load_network(path)
    with _timed(told, "(one registration)"):
        register(flair, volumes["T1"])
    with _timed(told, "(brain extraction)"):
        extract_brain(flair, "FLAIR")
    with _timed(told, "prepare"):
        prepared = prepare(Sequences(volumes, "FLAIR"))
    with _timed(told, "network"):
        probability = probabilities(prepared.images, prepared.brain, network)["lesion"]
    with _timed(told, "lesions"):
        labels = lesions(probability, prepared.images, prepared.brain)
    with _timed(told, "back onto FLAIR"):
        labels_back_onto(flair, labels, prepared.affine)
    with _timed(told, "places"):
        places(anatomy(prepared.images["FLAIR"], prepared.brain), labels)
    return told


@contextmanager
def _timed(told: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    told[step] = time.perf_counter() - start


def main() -> None:
    """Wrap the patient, run, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of open-ms")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    patient = options.data / PATIENT
    with tempfile.TemporaryDirectory() as temporary:
        about = About(patient_id=PATIENT, study="bench", body_part="HEAD")
        files = [patient / file for file in FILES.values()]
        wrap(files, "MR", Path(temporary) / "study", about, same_space=True, contrast=AGENT)
        runs = [one_run(Path(temporary) / "study", Path(temporary) / "out") for _ in range(options.runs)]
    told = {step: round(statistics.median(run[step] for run in runs), 2) for step in runs[0]}
    told["peak memory GB"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 2)
    told |= {step: round(seconds, 2) for step, seconds in steps(patient).items()}
    if options.json:
        print(json.dumps(told))  # noqa: T201
        return
    for name, value in told.items():
        print(f"{name:20} {value:8.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
