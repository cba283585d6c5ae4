"""Train the network from one real brain, the lesions of others, and generated brains.

    python -m pipelines.brain_lesions.train --real DIR --out weights.safetensors

DIR holds `patient19` and `lesions-only` of open-ms (see `material.py`); without it only generated brains are used.
Seeded: the same files and seed give the same examples in the same order. Progress goes to stderr. Ends with a check on
generated brains of other seeds, and fails, writing nothing, when that falls below a floor.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import hashlib
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.brain_lesions.backgrounds import depth_of, open_background, real_backgrounds, save_background
from pipelines.brain_lesions.detect import lesions, probabilities
from pipelines.brain_lesions.learning import Examples, Plan, learn, tell
from pipelines.brain_lesions.material import RealBrain, normalised, read_brain
from pipelines.brain_lesions.net import LesionNet, save_network
from pipelines.brain_lesions.phantom import SHAPE, brain_phantom, build_anatomy, lesion_shapes, seen_by

STEPS, STOP = 3000, 3000
"""Of the cycle of learning rates, and where it is cut."""
PHANTOMS = 12
SHARES = {"healed": 0.55, "real": 0.2, "phantom": 0.25}
"""How often a patch comes from the real brain healed, as it is, and from generated brains."""
GENERATED_MASKS = 12
CHECK_SEEDS = (800, 801, 802)
FLOOR_DICE = 0.5
CEILING_FALSE_ML = 0.3


def main(arguments: list[str] | None = None) -> None:
    """Train, check, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="where to write the weights")
    parser.add_argument("--real", type=Path, help="folder with patient19 and lesions-only; without it phantoms only")
    parser.add_argument("--work", type=Path, help="where generated brains are kept (1 GB); else a temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--stop", type=int, default=STOP)
    parser.add_argument("--phantoms", type=int, default=PHANTOMS)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    began = time.monotonic()
    plan = Plan(options.steps, options.stop, seed=options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        network = train(plan, options.real, work, options.phantoms, options.workers)
        save_network(network, work / "unchecked.safetensors", {})
    tell(f"trained in {(time.monotonic() - began) / 60:.1f} min")
    metadata = {"seed": str(options.seed), "steps": f"{options.stop} of {options.steps}", **check(network)}
    save_network(network, options.out, metadata)
    tell(f"{options.out.name} sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()}")


def train(
    plan: Plan, real: Path | None, work: Path, phantoms: int, workers: int, shape: tuple[int, ...] = SHAPE
) -> LesionNet:
    """Return a network trained by `plan`; backgrounds, of `shape` where none is real, are made in the folder `work`."""
    brain = read_brain(real / "patient19", real / "lesions-only") if real else None
    if brain is None:
        tell("no real brain: training on phantoms only")
    shape = brain.brain.shape if brain else shape
    work.mkdir(parents=True, exist_ok=True)
    kinds = made(brain, (shape[0], shape[1], shape[2]), work, phantoms, workers)
    tell(f"{len(kinds)} backgrounds")
    shares = np.array([SHARES[kind] / kinds.count(kind) for kind in kinds])
    backgrounds = [open_background(work / f"{n}-{kind}.npy") for n, kind in enumerate(kinds)]
    examples = Examples(backgrounds, shares / shares.sum(), np.load(work / "masks.npy", mmap_mode="r"), plan)
    return learn(LesionNet(), examples, workers, work)


def made(brain: RealBrain | None, shape: tuple[int, int, int], work: Path, phantoms: int, workers: int) -> list[str]:
    """Write the backgrounds and the library of masks into `work`; return the backgrounds' kinds in order."""
    kinds = [] if brain is None else ["real", "healed"]
    real_masks: list[NDArray[np.bool_]] = []
    if brain is not None:
        for n, channels in enumerate(real_backgrounds(brain)):
            save_background(work / f"{n}-{kinds[n]}.npy", channels)
        real_masks = [brain.truth, *brain.others]
    jobs = [(seed, shape, work / f"{len(kinds) + seed}-phantom.npy") for seed in range(phantoms)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, workers), mp_context=context) as pool:
        drawn = list(pool.map(_make_phantom, jobs))
    masks = np.stack([*real_masks, *drawn[: len(drawn) if brain is None else GENERATED_MASKS]])
    np.save(work / "masks.npy", masks.astype(np.uint8))
    return kinds + ["phantom"] * phantoms


def _make_phantom(job: tuple[int, tuple[int, int, int], Path]) -> NDArray[np.bool_]:
    """Write the healthy generated brain of a seed; return lesions drawn for it."""
    seed, shape, path = job
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, 30])
    anatomy = build_anatomy(rng, shape)
    images = seen_by(rng, anatomy)
    depth, none = depth_of(anatomy.brain)[None], np.zeros((1, *shape), dtype=np.float32)
    save_background(path, np.concatenate([images, anatomy.tissues, depth, none]))
    return lesion_shapes(rng, anatomy, int(rng.integers(8, 40)))


def check(network: LesionNet, shape: tuple[int, int, int] = SHAPE) -> dict[str, str]:
    """Return figures on unseen generated brains; raise where the network is not worth writing.

    Raises
    ------
    RuntimeError
        When the mean Dice with lesions, or the false volume without, is out of bounds.
    """
    dice, false_ml = [], []
    for seed in CHECK_SEEDS:
        found, truth = _judged(network, seed, 20, shape)
        dice.append(2 * float((found & truth).sum()) / max(1.0, float(found.sum() + truth.sum())))
        false_ml.append(float(_judged(network, seed, 0, shape)[0].sum()) / 1000)
    line = f"mean Dice {np.mean(dice):.2f} on generated brains, at most {max(false_ml):.2f} mL false in healthy ones"
    tell(f"check: {line}")
    if np.mean(dice) < FLOOR_DICE or max(false_ml) > CEILING_FALSE_ML:
        raise RuntimeError(f"training failed its check: {line}")
    return {"check": line}


def _judged(
    network: LesionNet, seed: int, count: int, shape: tuple[int, int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what is found in a generated brain, and what is there."""
    phantom = brain_phantom(seed, lesions=count, shape=shape)
    images = {name: normalised(image, phantom.brain) for name, image in phantom.images.items()}
    probability = probabilities(images, phantom.brain, network)["lesion"]
    return lesions(probability, images, phantom.brain) > 0, phantom.truth


if __name__ == "__main__":
    main()
