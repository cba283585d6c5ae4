"""How well heads that were moved in a known way are put back: trials of pacsai.registration on real images.

    python -m pipelines.brain_lesions.registration_trials --data ../shared/data/mr/open-ms [--trials 40] [--json]
    python -m pipelines.brain_lesions.registration_trials --heads [--trials 40] [--first 0] [--json]

In each trial a sequence of one patient is the reference; another one is turned by up to 20 degrees about any axis,
shifted by up to 30 mm, and taken anew: axial, sagittal or coronal, slices of 1, 3 or 5 mm, with noise, a bias field and
a field of view of its own. The error is the mean distance over the brain between where registration and truth say a
place has gone; it holds whatever error the data's own alignment has (`--still` shows that: nothing is moved). The
patients' images came stripped; `--heads` takes generated heads with skull, face (or defaced) and neck instead.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from pacsai.registration import moved, register
from pacsai.volume import Grid
from pipelines.brain_lesions.phantom import brain_phantom
from pipelines.brain_lesions.phantom.heads import Head, head_phantom

PATIENTS = ("patient19", "patient26")
FILES = {"FLAIR": "flair.nii.gz", "T1": "t1.nii.gz", "T1C": "t1post.nii.gz", "T2": "t2.nii.gz"}
MAX_DEGREES = 20.0
MAX_SHIFT_MM = 30.0
THICKNESSES_MM = (1.0, 1.0, 3.0, 5.0)
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}
"""Directions in LPS of column, row and slice steps."""
FIELD_MM = 210.0
HEAD_FIELD_MM = 256.0
HEADS = 4
"""How many generated heads the trials take in turn, every other one defaced."""
MAX_ERROR_MM = 1.0
LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial and how it ended; `error_mm` is the mean over the brain."""

    number: int
    patient: str
    reference: str
    other: str
    plane: str
    thickness_mm: float
    error_mm: float
    accepted: bool
    reason: str
    nmi: float
    seconds: float


def run_trial(number: int, data: Path | None, *, still: bool = False, threads: int = 1) -> Trial:
    """Run the trial of that number: all that is random in it is seeded by the number. Without `data`, of a head."""
    rng = np.random.default_rng(number)
    patient = PATIENTS[number % len(PATIENTS)] if data else f"head {number % HEADS}"
    a, b = (str(name) for name in rng.choice(list(FILES), 2, replace=False))
    if data:
        reference, other = (read_nifti(data / patient / FILES[name]) for name in (a, b))
        inside, field_mm = reference.array != 0, FIELD_MM
    else:
        head = _head(number % HEADS)
        reference, other, inside, field_mm = head.grid(a), head.grid(b), head.brain, HEAD_FIELD_MM
    brain = reference.world_mm(np.argwhere(inside)[::997])
    truth = np.eye(4) if still else random_movement(rng, brain.mean(axis=0))
    thickness, plane = float(rng.choice(THICKNESSES_MM)), str(rng.choice(list(PLANES)))
    taken = acquired(other, truth, plane, thickness, rng, field_mm)
    start = time.perf_counter()
    found = register(reference, taken, threads=threads)
    seconds = time.perf_counter() - start
    error = float(np.linalg.norm(found.to_other(brain) - moved(truth, brain), axis=1).mean())
    return Trial(number, patient, a, b, plane, thickness, error, found.accepted, found.reason, found.nmi, seconds)


@lru_cache(maxsize=HEADS)
def _head(seed: int) -> Head:
    return head_phantom(brain_phantom(seed), seed, face=seed % 2 == 0)


def read_nifti(path: Path) -> Grid:
    """Return a NIfTI image, its places in LPS mm."""
    import nibabel

    image: Any = nibabel.load(path)
    array = np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).T)
    return Grid(array, LPS_OF_RAS @ image.affine)


def random_movement(rng: np.random.Generator, centre: NDArray[np.float64]) -> Matrix:
    """Return a turn about `centre` and a shift, each of any direction and up to the limits."""
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(rng.uniform(0, MAX_DEGREES)) * axis).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + rng.uniform(0, MAX_SHIFT_MM) * way
    return matrix


def acquired(
    grid: Grid, movement: Matrix, plane: str, thickness_mm: float, rng: np.random.Generator, field_mm: float = FIELD_MM
) -> Grid:
    """Return an image of the moved head: its own plane, slice thickness and field of view, noise and bias field."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(PLANES[plane], dtype=float).T * (1.0, 1.0, thickness_mm)
    shape = (round(field_mm / thickness_mm), round(field_mm), round(field_mm))
    middle = moved(movement, grid.world_mm((np.array(grid.shape_kji) - 1) / 2)) + rng.uniform(-5, 5, 3)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    clean = _averaged(grid, np.linalg.inv(movement), affine, shape, max(1, round(thickness_mm)))
    level = float(np.percentile(clean[clean > 0], 90))
    noisy = clean * _bias(shape, rng) + np.where(clean == 0, 0, rng.normal(0, 0.03 * level, shape))
    return Grid(noisy.astype(np.float32), affine)


def _averaged(grid: Grid, back: NDArray[Any], affine: Matrix, shape: Sequence[int], layers: int) -> NDArray[np.float64]:
    """Return the mean of `layers` samples through each slice; `back` maps the moved world to that of `grid`."""
    total = np.zeros(shape)
    for layer in range(layers):
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, 2] * ((layer + 0.5) / layers - 0.5)
        to_index = (np.linalg.inv(grid.affine) @ back @ shifted)[:3]
        total += ndimage.affine_transform(
            grid.array, to_index[::-1, 2::-1], offset=to_index[::-1, 3], output_shape=tuple(shape), order=1
        )
    return total / layers


def _bias(shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    slopes = rng.uniform(-0.25, 0.25, 3)
    z, y, x = (np.linspace(-1, 1, n) * slope for n, slope in zip(shape, slopes, strict=True))
    field: Matrix = 1 + z[:, None, None] + y[:, None] + x
    return field


def main() -> None:
    """Run the trials, print each and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--data", type=Path, help="folder of open-ms with patient19 and patient26")
    whose.add_argument("--heads", action="store_true", help="generated heads with skull, face and neck")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--still", action="store_true", help="move nothing: the data's own error")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.trials)
    trials = [run_trial(number, options.data, still=options.still) for number in numbers]
    if options.json:
        print(json.dumps({**summary(trials), "trials": [asdict(trial) for trial in trials]}))  # noqa: T201
        return
    for t in trials:
        told = f"{t.number:3} {t.patient} {t.reference:5} {t.other:5} {t.plane:8} {t.thickness_mm:.0f} mm"
        verdict = t.reason or "accepted"
        print(f"{told}  error {t.error_mm:5.2f} mm  NMI {t.nmi:.3f}  {t.seconds:4.1f} s  {verdict}")  # noqa: T201
    for name, value in summary(trials).items():
        print(f"{name:24} {value:8.2f}")  # noqa: T201


def summary(trials: Sequence[Trial]) -> dict[str, float]:
    """Return the figures of all trials: a refused one counts as not recovered, and not as used wrongly."""
    errors = np.array([t.error_mm for t in trials])
    accepted = np.array([t.accepted for t in trials])
    return {
        "recovered": float((accepted & (errors <= MAX_ERROR_MM)).mean()),
        "flagged": float((~accepted).mean()),
        "median error mm": float(np.median(errors)),
        "largest used error mm": float(errors[accepted].max(initial=0.0)),
        "median seconds": float(np.median([t.seconds for t in trials])),
    }


if __name__ == "__main__":
    main()
