"""Train the four networks from generated mammograms, and from the real ones of CDD-CESM where they are.

    python -m pipelines.mammography_cad.train --work DIR --out weights.safetensors [--real shared/data/mg/cdd-cesm]

Seeded. Every step lies in the work folder: the same command goes on where an earlier one stopped (`--seconds`).
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipelines.mammography_cad import mining
from pipelines.mammography_cad.examples import prepare, read, views, windows
from pipelines.mammography_cad.learning import Plan, begin, judge_loss, learn, mass_loss, speck_loss, tell
from pipelines.mammography_cad.look import Look, speck_contrast
from pipelines.mammography_cad.net import MASS_WORDS, SPECK_WORDS, Networks, new_networks, save_networks
from pipelines.mammography_cad.ready import Ready, make_ready, read_ready, ready_real, real_images
from pipelines.mammography_cad.teaching import (
    Candidates,
    Judged,
    MassCrops,
    Place,
    SpeckCrops,
    read_judged,
    save_judged,
    window_of,
)

MINED = 3
"""Hard negatives are sought in every so many-th generated view."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much of everything; `scaled` makes a short trial of it."""

    view_exams: int = 240
    window_exams: int = 240
    mass_steps: tuple[int, int] = (2000, 3500)
    speck_steps: int = 600
    judge_steps: tuple[int, int] = (6000, 2400)
    """Of masses, of calcifications."""

    def scaled(self, by: float) -> Recipe:
        """Return a recipe `by` times as long."""

        def part(count: int) -> int:
            return max(2, round(count * by))

        return Recipe(
            part(self.view_exams),
            part(self.window_exams),
            (part(self.mass_steps[0]), part(self.mass_steps[1])),
            part(self.speck_steps),
            (part(self.judge_steps[0]), part(self.judge_steps[1])),
        )


class StoppedEarlyError(Exception):
    """The time is up; the same command goes on from here."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Where a training works: its folder, the end of its time, seed and processes."""

    work: Path
    until: float
    seed: int
    workers: int

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.until - time.monotonic()

    def learn(self, name: str, network: torch.nn.Module, source: object, loss: object, plan: Plan) -> None:
        """Train a network up to the end of its plan; raise when the time is up before."""
        state = self.work / f"{name}.pt"
        if not learn(name, network, source, loss, plan, state=state, seconds=self.left):  # type: ignore[arg-type]
            raise StoppedEarlyError(name)

    def kept(self, name: str, make: Callable[[], list[Judged]]) -> list[Judged]:
        """Return what `make` makes, from the work folder where it lies there already."""
        path = self.work / f"{name}.npz"
        if not path.exists():
            part = path.with_suffix(".part.npz")
            save_judged(make(), part)
            part.replace(path)
        return read_judged(path)


def main(arguments: list[str] | None = None) -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path, help="where examples and the state of training are kept")
    parser.add_argument("--out", required=True, type=Path, help="where to write the weights")
    parser.add_argument("--real", type=Path, help="folder of CDD-CESM; without it generated images only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="length of the training; under 1 for a trial")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long; call again to go on")
    parser.add_argument("--workers", type=int, default=2, help="processes and threads")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.workers)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.work, time.monotonic() + options.seconds, options.seed, options.workers)
    networks = new_networks()
    try:
        train(networks, Recipe().scaled(options.scale), options.real, bench)
    except StoppedEarlyError as stopped:
        tell(f"stopped during {stopped}; the same command goes on")
        return
    told = {"seed": str(options.seed), "scale": str(options.scale), "real": "CDD-CESM" if options.real else "none"}
    save_networks(networks, options.out, told)
    tell(f"{options.out.name} sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()}")


def train(networks: Networks, recipe: Recipe, real: Path | None, bench: Bench) -> None:
    """Train all networks in place by `recipe`; seeds from 0 on are training's."""
    paths = prepare(bench.work / "views", views, range(recipe.view_exams), bench.workers)
    ready = make_ready(bench.work / "ready", paths, bench.workers)
    shots = [ready_real(image) for image in real_images(real, left_out=False)] if real else []
    tell(f"{len(ready)} generated views, {len(shots)} real ones")
    train_masses(networks, recipe, ready, shots, bench)
    drawn = prepare(bench.work / "windows", windows, range(recipe.window_exams), bench.workers)
    train_specks(networks, recipe, drawn, bench)


def train_masses(networks: Networks, recipe: Recipe, ready: list[Path], shots: list[Ready], bench: Bench) -> None:
    """Train the finder of masses in two rounds, hard negatives mined between them, then their judge."""
    places = [Place.of(read_ready(path), real=False) for path in ready]
    places += [Place.of(shot, real=True) for shot in shots]
    first, second = recipe.mass_steps
    seed = 100 * bench.seed
    bench.learn("masses-1", networks.masses, MassCrops(places), mass_loss, Plan(first, 8, 2e-3, seed + 1))
    if not (bench.work / "judge-masses.npz").exists():
        tell(f"{mining.mine(networks.masses, _looks(places, ready, shots))} hard places mined")
    bench.learn("masses-2", networks.masses, MassCrops(places), mass_loss, Plan(second, 8, 1.5e-3, seed + 2))

    def collected() -> list[Judged]:
        rows = [row for path in ready for row in mining.mass_candidates(read_ready(path), networks.masses, real=False)]
        return rows + [row for shot in shots for row in mining.mass_candidates(shot, networks.masses, real=True)]

    judged = bench.kept("judge-masses", collected)
    _judge("mass", networks.mass_judge, judged, recipe.judge_steps[0], bench)


def _looks(places: list[Place], ready: list[Path], shots: list[Ready]) -> Iterator[tuple[Place, Look]]:
    """Yield every `MINED`-th generated view and all real ones; all views at once would fill the memory."""
    for place, path in list(zip(places, ready, strict=False))[::MINED]:
        yield place, read_ready(path).look
    for place, shot in zip(places[len(ready) :], shots, strict=True):
        yield place, shot.look


def train_specks(networks: Networks, recipe: Recipe, drawn: list[Path], bench: Bench) -> None:
    """Train the finder of calcifications, then the judge of their groups."""
    cuts = []
    for path in drawn:
        example = read(path)
        cuts.append(window_of(example, speck_contrast(example.image, mining.tissue(example.image))))
    plan = Plan(recipe.speck_steps, 8, 2e-3, 100 * bench.seed + 11)
    bench.learn("specks", networks.specks, SpeckCrops(cuts), speck_loss, plan)

    def collected() -> list[Judged]:
        return [row for path in drawn for row in mining.speck_candidates(read(path), networks.specks)]

    judged = bench.kept("judge-specks", collected)
    _judge("specks", networks.speck_judge, judged, recipe.judge_steps[1], bench)


def _judge(name: str, network: torch.nn.Module, judged: list[Judged], steps: int, bench: Bench) -> None:
    lesions = [one for one in judged if one.target[0] > 0]
    others = [one for one in judged if one.target[0] == 0]
    tell(f"judge of {name}: {len(lesions)} lesions, {len(others)} others")
    begin(network, bench.seed)
    if not lesions:
        tell(f"the judge of {name} learns nothing: its finder found no lesion")
        return
    lists = MASS_WORDS if name == "mass" else SPECK_WORDS
    told = np.array([one.target for one in lesions], dtype=np.intp)
    counts = [np.bincount(told[told[:, k] >= 0, k], minlength=len(w)) for k, w in enumerate(lists.values(), start=2)]
    plan = Plan(steps, 32, 3e-3, 100 * bench.seed + 20)
    bench.learn(f"judge-{name}", network, Candidates(lesions, others), judge_loss(counts), plan)


if __name__ == "__main__":
    main()
