"""Choose the operating point: threshold, least peak and least rise of a lesion, without the validation patient.

    python -m pipelines.brain_lesions.choose --real DIR --weights weights.safetensors

Measures on patient19 as it is, on variants of it (healed, lesions of others painted in, thick slices, sequences left
out), and on generated brains of seeds that training has not seen; prints one line per setting.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from pipelines.brain_lesions.backgrounds import TISSUES, real_backgrounds
from pipelines.brain_lesions.detect import Rule, lesions, probabilities
from pipelines.brain_lesions.fields import Array, Bools, along, blurred, thick_matrix
from pipelines.brain_lesions.material import RealBrain, normalised, read_brain
from pipelines.brain_lesions.net import SEQUENCES, load_network
from pipelines.brain_lesions.painting import dirtied, painted, random_look
from pipelines.brain_lesions.phantom import brain_phantom

THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
PEAKS = (0.0, 0.9)
RISES = (0.0, 0.3, 0.4, 0.5)
SUBSETS = (SEQUENCES, ("FLAIR",), ("FLAIR", "T1"), SEQUENCES, ("FLAIR", "T2"))
TOUCHING = np.ones((3, 3, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A prepared brain with known lesions."""

    images: Mapping[str, Array]
    brain: Bools
    truth: Bools


def variants(real: RealBrain, count: int) -> Iterator[Case]:
    """Yield the real brain, then `count` variants of it: other lesions, other slices, fewer sequences."""
    yield Case(real.images, real.brain, real.truth)
    channels = real_backgrounds(real)[1]
    for n in range(count):
        rng = np.random.default_rng([n, 40])
        shape = real.others[int(rng.integers(len(real.others)))].astype(np.float32)
        wanted = blurred(shape[:, :, ::-1] if rng.random() < 0.5 else shape, 0.5)
        images = dirtied(rng, channels[:4], channels[TISSUES])
        images, truth = painted(rng, images, channels[TISSUES], wanted, random_look(rng))
        images = images + rng.normal(0, rng.uniform(0.05, 0.3), images.shape).astype(np.float32)
        if n % 3:
            slices = thick_matrix(len(shape), (1.0, 3.0, 5.0)[n % 3], float(rng.random()))
            images = np.stack([along(0, slices, image) for image in images])
        named = {name: normalised(images[k], real.brain) for k, name in enumerate(SEQUENCES)}
        yield Case({name: named[name] for name in SUBSETS[n % len(SUBSETS)]}, real.brain, truth & real.brain)


def generated(count: int) -> Iterator[Case]:
    """Yield generated brains, every second one healthy."""
    for n in range(count):
        phantom = brain_phantom(900 + n, lesions=0 if n % 2 else 20)
        images = {name: normalised(image, phantom.brain) for name, image in phantom.images.items()}
        yield Case(images, phantom.brain, phantom.truth)


def scored(found: Bools, labels: np.ndarray, truth: Bools) -> tuple[float, float, float, float]:
    """Return Dice, lesion F1, volume found and volume there (mL); touching voxels are one lesion."""
    there, count = ndimage.label(truth, TOUCHING)
    hit = len(np.unique(there[found & truth])) / max(count, 1)
    right = len(np.unique(labels[found & truth])) / max(int(labels.max()), 1)
    dice = 2 * float((found & truth).sum()) / max(1.0, float(found.sum() + truth.sum()))
    return dice, 2 * hit * right / max(hit + right, 1e-9), float(found.sum()) / 1000, float(truth.sum()) / 1000


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of each setting, the mean over all cases with lesions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--generated", type=int, default=4)
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    network = load_network(options.weights)
    real = read_brain(options.real / "patient19", options.real / "lesions-only")
    cases = [*variants(real, options.variants), *generated(options.generated)]
    answers = [probabilities(case.images, case.brain, network)["lesion"] for case in cases]
    for threshold, peak, rise in product(THRESHOLDS, PEAKS, RISES):
        rule = Rule(threshold, peak=peak, rise=rise)
        sys.stdout.write(f"threshold {threshold} peak {peak} rise {rise}: {_line(cases, answers, rule)}\n")


def _line(cases: list[Case], answers: list[Array], rule: Rule) -> str:
    """Return what a rule makes of the cases, in words."""
    rows: list[tuple[float, float, float]] = []
    false_ml: list[float] = []
    for case, answer in zip(cases, answers, strict=True):
        labels = lesions(answer, case.images, case.brain, rule)
        row = scored(labels > 0, labels, case.truth)
        if case.truth.any():
            rows.append((row[0], row[1], row[2] / row[3] - 1))
        else:
            false_ml.append(row[2])
    dice, f1, over = np.mean(rows, axis=0)
    worst = max(false_ml, default=0.0)
    real = f"patient19 {rows[0][0]:.3f}, {rows[0][1]:.3f}, {100 * rows[0][2]:+.0f} %"
    return f"Dice {dice:.3f}, F1 {f1:.3f}, volume {100 * over:+.0f} % ({real}), false in healthy {worst:.2f} mL"


if __name__ == "__main__":
    main()
