"""Train the three networks from generated chests, and from real ones where `prepare.py` has read some.

    python -m pipelines.chest_ct_nodules.train --backgrounds DIR --out weights.safetensors

Seeded: the same files and seed give the same examples in the same order. Progress goes to stderr. Ends with an
evaluation on phantoms of other seeds, and fails, writing nothing, when that falls below a floor.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.backgrounds import as_scanned, phantom_backgrounds, real_backgrounds
from pipelines.chest_ct_nodules.detect import detect, find_candidates
from pipelines.chest_ct_nodules.learning import Plan, learn, tell
from pipelines.chest_ct_nodules.net import Networks, UNet, new_networks, save_networks
from pipelines.chest_ct_nodules.patches import SEARCH_MM, Background
from pipelines.chest_ct_nodules.phantom import ChestPhantom, chest_phantom

REAL_SHARE = 0.4
"""How often a training patch comes from a real chest."""
FLOOR_FOUND = 0.6
FLOOR_FALSE_PER_SCAN = 8.0
CHECK_SEEDS = (800, 801, 802, 803)
CHECK_SHAPE, CHECK_MM = (145, 400, 448), (2.0, 0.8, 0.8)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much of everything; `Recipe.scaled` makes a short trial of it."""

    phantoms: int = 48
    mined: int = 16
    rounds: tuple[int, ...] = (1000, 1400, 1800)
    reduce_steps: int = 1200
    segment_steps: int = 1200

    def scaled(self, by: float) -> Recipe:
        """Return a recipe `by` times as long."""
        return Recipe(
            max(2, round(self.phantoms * by)),
            max(1, round(self.mined * by)),
            tuple(max(2, round(steps * by)) for steps in self.rounds),
            max(2, round(self.reduce_steps * by)),
            max(2, round(self.segment_steps * by)),
        )


def main(arguments: list[str] | None = None) -> None:
    """Train, check, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="where to write the weights")
    parser.add_argument("--backgrounds", type=Path, help="folder of .npz made by prepare.py; without it phantoms only")
    parser.add_argument("--work", type=Path, help="where generated chests are kept (2 GB); else a temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="length of the training; under 1 for a trial")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        recipe = Recipe().scaled(options.scale)
        networks = train(recipe, options.backgrounds, work, options.seed, options.workers)
    tell(f"trained in {(time.monotonic() - began) / 60:.1f} min")
    unseen = [chest_phantom(n, shape_kji=CHECK_SHAPE, spacing_mm=CHECK_MM, nodules=8) for n in CHECK_SEEDS]
    figures = check(networks, unseen)
    metadata = {
        "seed": str(options.seed),
        "scale": str(options.scale),
        "data": _data_line(options.backgrounds),
        **figures,
    }
    save_networks(networks, options.out, metadata)
    tell(f"{options.out.name} sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()}")


def _data_line(real: Path | None) -> str:
    names = sorted(path.stem for path in real.glob("*.npz")) if real else []
    return "generated chests" + (" and real chests " + ", ".join(names) if names else " only")


def train(recipe: Recipe, real: Path | None, work: Path, seed: int, workers: int) -> Networks:
    """Return networks trained by `recipe` on phantoms and on the real chests of the folder `real`."""
    phantoms = phantom_backgrounds(work, list(range(recipe.phantoms)), workers)
    tell(f"{len(phantoms)} chests generated")
    chests = real_backgrounds(real, work) if real else []
    tell(f"real chests: {len(chests)}" if chests else "no real chests: training on phantoms only")
    backgrounds = phantoms + chests
    shares = _shares(len(phantoms), chests)
    networks = new_networks()
    mined = phantoms[: recipe.mined] + chests
    for number, steps in enumerate(recipe.rounds):
        plan = Plan(steps, 8, (2e-3, 1.5e-3, 1.5e-3)[min(number, 2)], 100 * seed + number)
        learn("detect", networks.detector, backgrounds, shares, plan, workers)
        save_networks(networks, work / f"round-{number}.safetensors", {})
        mine(networks.detector, mined, seed + number, floor=0.05)
    networks.reducer.begin_from(networks.detector)
    plan = Plan(recipe.reduce_steps, 24, 1.5e-3, 100 * seed + 50)
    learn("reduce", networks.reducer, backgrounds, shares, plan, workers)
    networks.segmenter.begin_from(networks.detector)
    plan = Plan(recipe.segment_steps, 4, 1.5e-3, 100 * seed + 60)
    learn("segment", networks.segmenter, backgrounds, shares, plan, workers)
    save_networks(networks, work / "unchecked.safetensors", {})
    return networks


def _shares(phantoms: int, chests: list[Background]) -> NDArray[np.float64]:
    """Return how often each background is drawn: large real chests more often than slabs."""
    real_share = REAL_SHARE if chests else 0.0
    sizes = np.array([float(chest.hu.size) ** 0.5 for chest in chests])
    real = real_share * sizes / sizes.sum() if chests else sizes
    return np.concatenate([np.full(phantoms, (1 - real_share) / phantoms), real])


def mine(detector: UNet, backgrounds: list[Background], seed: int, floor: float) -> None:
    """Add to each background the places, all without nodule, where the detector sees one."""
    detector.eval()
    found = 0
    for number, background in enumerate(backgrounds):
        rng = np.random.default_rng([seed, 70, number])
        region = np.asarray(background.depth_mm) > SEARCH_MM
        for candidate in find_candidates(as_scanned(rng, background), region, detector, floor):
            if not background.is_ignored(np.array(candidate.place), reach=4.0):
                background.hard.append(candidate.place)
                found += 1
    tell(f"mined {found} hard places in {len(backgrounds)} chests")


def check(networks: Networks, phantoms: Sequence[ChestPhantom]) -> dict[str, str]:
    """Return figures on unseen phantoms; raise where the networks are not worth writing.

    Raises
    ------
    RuntimeError
        When too few nodules are found or too many false marks made at probability 0.3.
    """
    hits = nodules = false = 0
    for phantom in phantoms:
        array = phantom.array_hu.astype(np.float32)
        marks = detect(array, phantom.spacing_mm, phantom.lungs_mask, networks, threshold=0.3)
        found, wrong = _score(phantom, [mark.centre_kji for mark in marks])
        hits, nodules, false = hits + found, nodules + len(phantom.nodules), false + wrong
    line = f"{hits} of {nodules} nodules found, {false / len(phantoms):.2f} false marks a scan, at probability 0.3"
    tell(f"check: {line}")
    if hits < FLOOR_FOUND * nodules or false > FLOOR_FALSE_PER_SCAN * len(phantoms):
        raise RuntimeError(f"training failed its check: {line}")
    return {"check": line}


def _score(phantom: ChestPhantom, centres: list[tuple[float, float, float]]) -> tuple[int, int]:
    """Return how many nodules have a mark within their radius, and how many marks are near no nodule."""
    spacing = np.array(phantom.spacing_mm)
    gaps = np.array(
        [
            [np.linalg.norm((np.array(c) - n.centre_kji) * spacing) <= n.diameter_mm / 2 for n in phantom.nodules]
            for c in centres
        ]
    ).reshape(len(centres), len(phantom.nodules))
    return int(gaps.any(axis=0).sum()), int((~gaps.any(axis=1)).sum())


if __name__ == "__main__":
    main()
