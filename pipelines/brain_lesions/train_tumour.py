"""Train the tumour network: generated tumours in the backgrounds of `train.py`, on a grid of 2 mm.

    python -m pipelines.brain_lesions.train_tumour --real DIR --out tumour.safetensors --work FOLDER

Seeded like `train.py`. `--pause-s` stops after so many seconds; the same command with the same `--work` goes on, with
the same result as without a pause. Ends with a check on generated brains of other seeds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from pipelines.brain_lesions.backgrounds import open_background, save_background
from pipelines.brain_lesions.detect import probabilities
from pipelines.brain_lesions.fields import Bools, halved
from pipelines.brain_lesions.learning import Examples, Paused, Plan, learn, tell
from pipelines.brain_lesions.material import read_brain
from pipelines.brain_lesions.net import TUMOUR_CLASSES, LesionNet, load_network, save_network
from pipelines.brain_lesions.phantom import SHAPE
from pipelines.brain_lesions.phantom.tumour_brains import TumourHead, coarser, plain_head, tumour_head
from pipelines.brain_lesions.train import made
from pipelines.brain_lesions.tumour import tumour_parts
from pipelines.brain_lesions.tumour_patches import VOXEL_MM, make_tumour_patch, tumour_presence

STEPS, STOP = 1200, 1065
"""Of the cycle of learning rates, and where it is cut."""
PHANTOMS = 14
SHARES = {"healed": 0.2, "real": 0.2, "phantom": 0.6}
"""How often a patch comes from the real brain healed, as it is, and from generated brains."""
CHECK_SEEDS = (820, 821, 822)
TUMOURS_EACH = 4
LEAST_CORE_MM3 = 1000
"""Generated tumours with less that enhances or is necrotic do not count."""
FLOOR_DICE = 0.5
CEILING_FALSE_ML = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Train, check, write the weights; 75 (try again) where it paused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="where to write the weights")
    parser.add_argument("--real", type=Path, help="folder with patient19 and lesions-only; without it phantoms only")
    parser.add_argument("--work", type=Path, help="where backgrounds and the state are kept; else a temporary folder")
    parser.add_argument("--start", type=Path, help="weights of the lesion network to start from; else from nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--stop", type=int, default=STOP)
    parser.add_argument("--phantoms", type=int, default=PHANTOMS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pause-s", type=float, help="stop after so many seconds, to be gone on with")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    plan = Plan(options.steps, options.stop, batch=4, fresh=1, seed=options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        backgrounds(work, options.real, options.phantoms, options.workers)
        try:
            network = train(started(options.start), plan, work, options.workers, options.pause_s)
        except Paused as pause:
            tell(f"paused {pause}; the same command goes on")
            return 75
        save_network(network, work / "unchecked.safetensors", {})
    save_network(
        network,
        options.out,
        {"seed": str(options.seed), "steps": f"{options.stop} of {options.steps}", **check(network)},
    )
    tell(f"{options.out.name} sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()}")
    return 0


def backgrounds(
    work: Path, real: Path | None, phantoms: int, workers: int, shape: tuple[int, int, int] = SHAPE
) -> None:
    """Write the backgrounds and the library of lesions, on 2 mm, into `work`, where they are not there already."""
    if (work / "masks-2mm.npy").exists():
        return
    brain = read_brain(real / "patient19", real / "lesions-only") if real else None
    if brain is not None:
        k, j, i = brain.brain.shape
        shape = (k, j, i)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as fine:
        for n, kind in enumerate(made(brain, shape, Path(fine), phantoms, workers)):
            channels = halved(np.load(Path(fine) / f"{n}-{kind}.npy"))
            channels[7] /= 2  # depth, in voxels
            save_background(work / f"{n}-{kind}-2mm.npy", channels)
        masks = np.load(Path(fine) / "masks.npy")
    np.save(work / "masks-2mm.npy", (halved(masks) > 0.3).astype(np.uint8))


def started(lesions: Path | None) -> LesionNet:
    """Return a network to train: all but its last layer from the lesion network, whose images are the same."""
    network = LesionNet(classes=TUMOUR_CLASSES)
    if lesions is not None:
        known = load_network(lesions).state_dict()
        network.load_state_dict({name: value for name, value in known.items() if "head" not in name}, strict=False)
    return network


def train(network: LesionNet, plan: Plan, work: Path, workers: int, pause_s: float | None = None) -> LesionNet:
    """Return `network` trained by `plan` on what `backgrounds` wrote into `work`; see `learn` for `pause_s`."""
    paths = sorted(work.glob("*-2mm.npy"), key=lambda path: path.name)
    paths = [path for path in paths if path.name != "masks-2mm.npy"]
    kinds = [path.name.split("-")[1] for path in paths]
    shares = np.array([SHARES[kind] / kinds.count(kind) for kind in kinds])
    examples = Examples(
        [open_background(path) for path in paths],
        shares / shares.sum(),
        np.load(work / "masks-2mm.npy", mmap_mode="r"),
        plan,
        make_tumour_patch,
        tumour_presence,
    )
    return learn(network, examples, workers, work, pause_s)


def check(network: LesionNet, shape: tuple[int, int, int] = SHAPE) -> dict[str, str]:
    """Return figures on unseen generated brains; raise where the network is not worth writing.

    Raises
    ------
    RuntimeError
        When the mean Dice of the whole tumour, or the false volume where there is none, is out of bounds.
    """
    dice, false_ml = [], []
    for seed in CHECK_SEEDS:
        plain = coarser(plain_head(seed, shape=shape))
        for n in range(TUMOURS_EACH):
            head = tumour_head(seed + 1000 * n, plain)
            if head.parts[:2].sum() * VOXEL_MM**3 >= LEAST_CORE_MM3:
                found, truth = whole(network, head), head.parts.any(axis=0)
                dice.append(2 * float((found & truth).sum()) / max(1.0, float(found.sum() + truth.sum())))
        false_ml.append(float(whole(network, tumour_head(seed, plain, tumour=False)).sum()) * VOXEL_MM**3 / 1000)
    line = f"mean Dice {np.mean(dice):.2f} of generated tumours, at most {max(false_ml):.2f} mL where there is none"
    tell(f"check: {line}")
    if np.mean(dice) < FLOOR_DICE or max(false_ml) > CEILING_FALSE_ML:
        raise RuntimeError(f"training failed its check: {line}")
    return {"check": line}


def whole(network: LesionNet, head: TumourHead) -> Bools:
    """Return what is called tumour in a generated brain of 2 mm, bool [k, j, i]."""
    parts = tumour_parts(probabilities(head.images, head.brain, network), voxel_ml=VOXEL_MM**3 / 1000)
    return np.asarray(np.logical_or.reduce(list(parts.values())), dtype=np.bool_)


if __name__ == "__main__":
    sys.exit(main())
