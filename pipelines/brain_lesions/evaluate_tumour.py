"""Measure the tumour network: what its rule is worth on generated brains, and what it finds in real ones.

    python -m pipelines.brain_lesions.evaluate_tumour --weights tumour.safetensors [--brains DIR] [--heads DIR]

Generated brains have seeds that training never used. `--brains` holds patients as `material.read_brain` reads them,
without a tumour: all that is found is false. `--heads` holds pyradiomics' `brainN_image.nrrd` (T1 with contrast alone)
and `brainN_label.nrrd` (the whole tumour).
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name that its own manual gives it)
import torch

from pacsai.sequences import Sequences
from pacsai.volume import Grid, Volume
from pacsai.volume.itk import onto
from pipelines.brain_lesions.detect import probabilities
from pipelines.brain_lesions.fields import Array, Bools, halved
from pipelines.brain_lesions.material import read_brain
from pipelines.brain_lesions.net import TUMOUR_CLASSES, load_network
from pipelines.brain_lesions.phantom.tumour_brains import coarser, plain_head, tumour_head
from pipelines.brain_lesions.prepare import prepare
from pipelines.brain_lesions.tumour import TumourRule, tumour_parts

VOXEL_ML = 0.008
THRESHOLDS, PEAKS, CORES_ML = (0.3, 0.5), (0.0, 0.6, 0.8, 0.9), (0.0, 0.3, 1.0)
CORE_THERE_ML = 1.0
"""Tumours with less that enhances or is necrotic do not count: the rule is not meant to tell them."""
SUBSETS = (("FLAIR", "T1", "T1C", "T2"), ("FLAIR", "T1C"), ("T1C",))


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A brain on 2 mm with the truth, bool [3, k, j, i] (the whole tumour in the first where parts are not known)."""

    name: str
    images: Mapping[str, Array]
    brain: Bools
    truth: Bools


def generated(count: int) -> Iterator[Case]:
    """Yield brains, each with two tumours in turn and without any, in turn with all sequences and with fewer."""
    for seed in range(920, 920 + count):
        plain = coarser(plain_head(seed))
        for n in range(3):
            head = tumour_head(seed + 1000 * n, plain, tumour=n < 2)
            names = SUBSETS[(seed + n) % 2]
            told = f"generated {seed}, {head.tumour.kind if head.tumour else 'none'}, {'+'.join(names)}"
            yield Case(told, {name: head.images[name] for name in names}, head.brain, head.parts)


def real(folder: Path) -> Iterator[Case]:
    """Yield a patient without a tumour, with each set of sequences."""
    brain = read_brain(folder)
    small = halved(brain.brain.astype(np.float32)) > 0.5
    none = np.zeros((3, *small.shape), dtype=np.bool_)
    images = {name: halved(image) for name, image in brain.images.items()}
    for names in SUBSETS:
        yield Case(f"{folder.name}, {'+'.join(names)}", {name: images[name] for name in names}, small, none)


def labelled(folder: Path) -> Iterator[Case]:
    """Yield the heads of pyradiomics."""
    for path in sorted(folder.glob("brain*_image.nrrd")):
        image, label = (_read(path.with_name(path.name.replace("image", word))) for word in ("image", "label"))
        prepared = prepare(Sequences({"T1C": Volume(image.array, image.affine, "", ())}, "T1C"))
        truth = onto(label, prepared.affine, prepared.brain.shape).array
        parts = np.stack([halved(truth) > 0.5, *np.zeros((2, *halved(truth).shape), dtype=np.bool_)])
        small = {name: halved(one) for name, one in prepared.images.items()}
        yield Case(path.name, small, halved(prepared.brain.astype(np.float32)) > 0.5, parts)


def _read(path: Path) -> Grid:
    """Return an image file that SimpleITK reads, as it lies in the world."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Grid(sitk.GetArrayFromImage(image).astype(np.float32), affine)


def joined(parts: Bools) -> Bools:
    """Return the whole tumour of its parts [3, k, j, i]."""
    return np.asarray(parts.any(axis=0), dtype=np.bool_)


def dice(found: Bools, truth: Bools) -> float:
    """Return 2 |A and B| / (|A| + |B|), 1 where both are empty."""
    total = float(found.sum() + truth.sum())
    return 2 * float((found & truth).sum()) / total if total else 1.0


def told(case: Case, answer: Mapping[str, Array], rule: TumourRule) -> str:
    """Return what a rule makes of a case, in words."""
    parts = tumour_parts(answer, rule, VOXEL_ML)
    found, truth = np.stack([parts[name] for name in TUMOUR_CLASSES]), case.truth
    volumes = ", ".join(f"{name} {VOXEL_ML * parts[name].sum():.1f}" for name in TUMOUR_CLASSES)
    single = ", ".join(f"{dice(a, b):.2f}" for a, b in zip(found, truth, strict=True) if b.any())
    scores = f"Dice whole {dice(joined(found), joined(truth)):.2f}, parts {single}; " if truth.any() else ""
    return f"{case.name}: {scores}{VOXEL_ML * truth.sum():.1f} mL there; found {volumes} mL"


def summary(cases: list[Case], answers: list[Mapping[str, Array]], rule: TumourRule) -> str:
    """Return mean Dice and hits where there is a tumour, and the false volume where there is none."""
    scores: list[float] = []
    false_ml: list[float] = []
    for case, answer in zip(cases, answers, strict=True):
        found = joined(np.stack(list(tumour_parts(answer, rule, VOXEL_ML).values())))
        if VOXEL_ML * case.truth[:2].sum() >= CORE_THERE_ML:
            scores.append(dice(found, joined(case.truth)))
        elif not case.truth.any():
            false_ml.append(VOXEL_ML * float(found.sum()))
    found_share = float(np.mean(np.array(scores) > 0.1)) if scores else 0.0
    return (
        f"threshold {rule.threshold} peak {rule.peak} core {rule.core_ml} mL: Dice {np.mean(scores or [0]):.3f}, "
        f"found {found_share:.0%} of {len(scores)}; at most {max(false_ml, default=0):.2f} mL false in {len(false_ml)}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print one line per case by the shipped rule, then one per rule over generated brains and those without tumour."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--brains", type=Path, nargs="*", default=[], help="patients without a tumour, a folder each")
    parser.add_argument("--heads", type=Path, help="folder of pyradiomics")
    parser.add_argument("--generated", type=int, default=4)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = load_network(options.weights, TUMOUR_CLASSES)
    cases = [*generated(options.generated), *(case for folder in options.brains for case in real(folder))]
    choosing = len(cases)
    cases += labelled(options.heads) if options.heads else []
    answers: list[Mapping[str, Array]] = [probabilities(case.images, case.brain, network) for case in cases]
    for case, answer in zip(cases, answers, strict=True):
        sys.stdout.write(f"{told(case, answer, TumourRule())}\n")
    for threshold, peak, core in product(THRESHOLDS, PEAKS, CORES_ML):
        rule = TumourRule(threshold, peak, core)
        sys.stdout.write(f"{summary(cases[:choosing], answers[:choosing], rule)}\n")


if __name__ == "__main__":
    main()
