"""How well exams are compared: generated pairs of the same breasts, laid and exposed otherwise the second time.

    python -m pipelines.mammography_cad.pairs [--exams 10] [--json FILE]

In one pair the lesions are there both times: none is new, none has grown. In the other they came since: each is new.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from pacsai.changes import Change
from pacsai.exam import Exam, View
from pacsai.finding import Finding, Result
from pacsai.mammography import normalised
from pipelines.mammography_cad.look import Array
from pipelines.mammography_cad.net import load_networks
from pipelines.mammography_cad.phantom import PhantomLesion, PhantomView, exam
from pipelines.mammography_cad.pipeline import MammographyCAD

FIRST_SEED, LESIONS, STEP_MM = 6000, 4, 0.1


def moved(rng: np.random.Generator, array: Array) -> Array:
    """Return an image [j, i] as another day might give it: the breast turned and stretched a little, another dose."""
    angle, stretch = np.deg2rad(rng.normal(0, 2)), 1 + rng.normal(0, 0.02, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / stretch
    middle = (np.array(array.shape) - 1) / 2
    shift = np.array([rng.uniform(-4, 4) / STEP_MM, 0.0])
    out = ndimage.affine_transform(array, turn, middle - turn @ middle + shift, order=1, mode="nearest")
    inside = out > 0.01
    out = np.where(inside, out ** rng.uniform(0.85, 1.18) + rng.normal(0, 0.008, out.shape), 0)
    return np.asarray(np.clip(out, 0, 1), dtype=np.float32)


def one_pair(weights: Path, seed: int) -> Counter[str]:
    """Return what was told of the lesions of a seed: those there already, and those that came since."""
    torch.set_num_threads(1)
    cad = MammographyCAD(load_networks(weights))
    rng = np.random.default_rng([seed, 51])
    now = exam(seed, spacing_mm=STEP_MM, lesions=LESIONS)
    healthy = exam(seed, spacing_mm=STEP_MM, lesions=LESIONS, before=True)
    lesions = {view.name: view.lesions for view in now}
    current = Exam(tuple(_view(one, one.array) for one in now))
    counts: Counter[str] = Counter()
    for kind, earlier in (("there already", now), ("came since", healthy)):
        before = Exam(tuple(_view(one, moved(rng, one.array)) for one in earlier))
        counts.update(_told(kind, cad.analyse(replace(current, prior=before)), lesions))
    print(f"pair {seed}: {dict(counts)}", file=sys.stderr, flush=True)  # noqa: T201
    return counts


def _view(made: PhantomView, array: Array) -> View:
    side, name = made.name.split()
    image = normalised(array, np.zeros(array.shape, dtype=np.bool_), darker=False)
    return View(made.name, side, name, image, made.spacing_mm, False, None, None)  # type: ignore[arg-type]


def _told(kind: str, result: Result, lesions: dict[str, tuple[PhantomLesion, ...]]) -> Counter[str]:
    """Return how often each change was told of marks on lesions, and of marks on none, which was there both times."""
    counts: Counter[str] = Counter()
    for finding in result.findings:
        what = kind if _is_hit(finding, lesions) else "no lesion"
        counts[f"{what}: {finding.change or 'not compared'}"] += 1
    counts[f"{kind}: told as not found again"] += sum("not found again" in remark for remark in result.remarks)
    return counts


def _is_hit(finding: Finding, lesions: dict[str, tuple[PhantomLesion, ...]]) -> bool:
    spot = finding.on
    return spot is not None and any(
        np.hypot(*np.subtract(spot.centre_ji, one.centre)) < one.radius for one in lesions[spot.view]
    )


def summed(pairs: Sequence[Counter[str]]) -> dict[str, int | float]:
    """Return the counts of pairs together, and the shares that are right."""
    counts = sum(pairs, Counter[str]())
    shares = {
        f"{kind}: part told as {right}": counts[f"{kind}: {right}"]
        / max(1, sum(counts[f"{kind}: {change}"] for change in (*Change, "not compared")))
        for kind, right in (("there already", Change.STABLE), ("came since", Change.NEW), ("no lesion", Change.STABLE))
    }
    return {**dict(sorted(counts.items())), **shares}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare pairs, print the counts, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(__file__).with_name("weights.safetensors"))
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--exams", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.exams)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        told = summed(list(pool.map(partial(one_pair, options.weights), seeds)))
    text = json.dumps(told, indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
