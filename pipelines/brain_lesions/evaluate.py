"""Score the shipped weights on patient26 of open-ms, as DICOM, in what a node may get of it; and on healthy brains.

    python -m pipelines.brain_lesions.evaluate --data ../shared/data/mr/open-ms [--json FILE]

Each variant is wrapped into a DICOM study and scored as `pacsai evaluate` does it. Beside it stands the best that a
plain threshold on FLAIR inside the brain reaches, the threshold chosen with the truth at hand. Generated brains without
lesions (seeds that training never uses) show how much is found where nothing is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pacsai.evaluate.segmenting import evaluate_masks
from pacsai.organs.brain import extract_brain
from pacsai.registry import find
from pacsai.sequences import Sequences
from pacsai.volume import Grid, Volume
from pacsai.wrap import About, wrap
from pipelines.brain_lesions.phantom import brain_phantom
from pipelines.brain_lesions.pipeline import load
from pipelines.brain_lesions.registration_trials import FILES, LPS_OF_RAS, read_nifti
from pipelines.brain_lesions.study import read

PATIENT = "patient26"
AGENT = {"t1post": "gadolinium"}
HEALTHY_SEEDS = (5000, 5001, 5002)
PERCENTILES = np.arange(80, 100, 0.25)
FIGURES = ("dice", "lesion_f1", "lesion_sensitivity", "lesion_precision", "volume_error_percent", "hausdorff95_mm")


@dataclass(frozen=True, slots=True)
class Variant:
    """Which sequences of the patient there are, and their slices' thickness."""

    sequences: tuple[str, ...]
    thickness_mm: int

    @property
    def name(self) -> str:
        """Return what the variant is called in a table."""
        return f"{', '.join(self.sequences)}; {self.thickness_mm} mm axial"


VARIANTS = tuple(Variant(names, mm) for mm in (1, 3, 5) for names in (tuple(FILES), ("FLAIR",)))


def thickened(grid: Grid, slices: int) -> Grid:
    """Return means over so many neighbouring slices of an axial image, what is left over at the end dropped."""
    n, rows, columns = grid.shape_kji
    kept = n // slices * slices
    array = grid.array[:kept].reshape(-1, slices, rows, columns).mean(axis=1)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world_mm(((slices - 1) / 2, 0.0, 0.0))
    affine[:3, 2] *= slices
    return Grid(array, affine)


def scored(patient: Path, variant: Variant, folder: Path) -> dict[str, Any]:
    """Return the figures of one variant; DICOM and truth are written into `folder`."""
    truth = thickened(read_nifti(patient / "lesions.nii.gz"), variant.thickness_mm)
    mask = Grid((truth.array >= 0.5).astype(np.float32), truth.affine)
    (folder / "truth").mkdir(parents=True)
    save_nifti(mask, folder / "truth" / f"{patient.name}.nii.gz")
    images = {name: thickened(read_nifti(patient / FILES[name]), variant.thickness_mm) for name in variant.sequences}
    for name, grid in images.items():
        save_nifti(grid, folder / FILES[name])
    agents = AGENT if "T1C" in images else {}
    about = About(patient_id=patient.name, study=variant.name, body_part="HEAD")
    files = [folder / FILES[name] for name in images]
    wrap(files, "MR", folder / "studies", about, same_space=True, contrast=agents)
    scores = evaluate_masks(find("brain_lesions"), folder / "studies", folder / "truth")
    found, true = scores["volume_found_ml"], scores["volume_true_ml"]
    scores["volume_error_percent"] = 100 * (found / true - 1)
    baseline = best_threshold(images["FLAIR"], mask.array > 0)
    return {"variant": variant.name, **scores, "plain_threshold_dice": baseline}


def best_threshold(flair: Grid, truth: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Return the best Dice that a threshold on FLAIR inside the brain reaches."""
    brain = extract_brain(flair, "FLAIR").mask
    levels = np.percentile(flair.array[brain], PERCENTILES)
    masks = ((flair.array > level) & brain for level in levels)
    return max(2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum()) for mask in masks)


def healthy(seed: int) -> dict[str, float]:
    """Return the volume (mL) that is found in a generated brain without lesions: four sequences, and FLAIR alone."""
    made = brain_phantom(seed, lesions=0)
    affine = np.eye(4)
    volumes = {name: Volume(image, affine, "", ()) for name, image in made.images.items()}
    network = load(find("brain_lesions").verified_weights()).network
    found = {}
    for told, names in (("four", tuple(volumes)), ("FLAIR", ("FLAIR",))):
        labels = read(Sequences({name: volumes[name] for name in names}, "FLAIR"), network).labels
        found[told] = float((labels > 0).sum()) / 1000
    return {"seed": seed, **found}


def variants(patient: Path) -> list[dict[str, Any]]:
    """Return the figures of every variant, and print them as a table."""
    rows = []
    print("| variant | " + " | ".join((*FIGURES, "plain threshold: dice")) + " |")  # noqa: T201
    print("|---" * (len(FIGURES) + 2) + "|")  # noqa: T201
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(scored(patient, variant, Path(folder)))
        told = (f"{rows[-1][name]:.2f}" for name in (*FIGURES, "plain_threshold_dice"))
        print(f"| {variant.name} | {' | '.join(told)} |", flush=True)  # noqa: T201
    return rows


def save_nifti(grid: Grid, path: Path) -> Path:
    """Write a grid as NIfTI and return the file."""
    import nibabel

    image: Any = nibabel.Nifti1Image  # untyped
    nibabel.save(image(grid.array.T, LPS_OF_RAS @ grid.affine), path)
    return path


def main() -> None:
    """Evaluate, print tables, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of open-ms")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rows = variants(options.data / PATIENT) if (options.data / PATIENT).is_dir() else []
    nothing = [healthy(seed) for seed in HEALTHY_SEEDS]
    for one in nothing:
        print("healthy brain", json.dumps(one), flush=True)  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps({"variants": rows, "healthy_ml": nothing}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
