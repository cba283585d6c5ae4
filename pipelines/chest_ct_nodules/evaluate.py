"""Score the shipped weights on held-out phantoms: FROC by the LUNA16 protocol, and by size, type and attachment.

    python -m pipelines.chest_ct_nodules.evaluate [--first 5000] [--count 40] [--json FILE] [--plot FILE]

The phantoms are chests of seeds that training never uses, on the grids of scanners (slices of 0.8-2.5 mm), nodules of
4-30 mm. The whole pipeline runs on each, lungs to measures, as on a patient.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from pacsai.evaluate.froc import RATES, Froc, Scored, Truth, score
from pacsai.evaluate.froc_plot import plot
from pacsai.volume import Volume
from pipelines.chest_ct_nodules.phantom import ChestPhantom, chest_phantom
from pipelines.chest_ct_nodules.pipeline import load

FIRST_SEED, COUNT = 5000, 40
HEIGHT_MM, ROWS, COLUMNS = 290.0, 448, 512
SLICES_MM = (0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
PIXELS_MM = (0.66, 0.8)
LOWEST = 0.05
"""Marks of lower probability are not asked for; eight false marks a scan are reached far above it."""
TABLE_RATES = (0.5, 1.0, 4.0)
Row = tuple[list[Truth], list[Scored]]


def held_out(seed: int) -> ChestPhantom:
    """Return the phantom of a seed on a grid that the seed draws."""
    rng = np.random.default_rng([seed, 99])
    z, x = float(rng.choice(SLICES_MM)), float(rng.uniform(*PIXELS_MM))
    return chest_phantom(seed, shape_kji=(int(HEIGHT_MM / z), ROWS, COLUMNS), spacing_mm=(z, x, x))


def one_scan(weights: Path, seed: int) -> Row:
    """Return the nodules of a seed's phantom and the marks that the pipeline makes on it."""
    torch.set_num_threads(1)
    made, scan = held_out(seed), f"phantom-{seed}"
    affine = np.diag([*made.spacing_mm[::-1], 1.0])
    volume = Volume(made.array_hu.astype(np.float32), affine, frame_of_reference_uid="", source=())
    result = replace(load(weights), threshold=LOWEST).analyse(volume)
    truth = []
    for nodule in made.nodules:
        x, y, z = (float(c) for c in volume.world_mm(nodule.centre_kji))
        truth.append(Truth(scan, (x, y, z), nodule.diameter_mm, f"{nodule.kind}, {nodule.attachment}, {nodule.margin}"))
    marks = [Scored(scan, finding.centre_mm, finding.probability or 0.0) for finding in result.findings]
    print(f"{scan}: {len(truth)} nodules, {len(marks)} marks", file=sys.stderr, flush=True)  # noqa: T201
    return truth, marks


def groups(froc: Froc) -> dict[str, Callable[[Truth], bool]]:
    """Return the subsets that are told apart, by name."""
    sizes = {
        f"{low}-{high} mm": partial(_sized, low=low, high=high) for low, high in ((4, 5), (5, 8), (8, 15), (15, 31))
    }
    lesions = [*(lesion for lesion, _ in froc.hits), *froc.misses]
    words = sorted({word for lesion in lesions for word in lesion.kind.split(", ")})
    return {
        "all": lambda _: True,
        ">= 8 mm": partial(_sized, low=8, high=99),
        **sizes,
        **{word: partial(_said, word=word) for word in words},
    }


def table(froc: Froc) -> list[tuple[str, int, tuple[float, ...]]]:
    """Return (subset, lesions, sensitivity at TABLE_RATES); the thresholds are those of all lesions together."""
    thresholds = [min(t for rate, _, t in froc.curve if rate <= wanted) for wanted in TABLE_RATES]
    rows = []
    for name, belongs in groups(froc).items():
        found = np.array([probability for lesion, probability in froc.hits if belongs(lesion)])
        count = len(found) + sum(belongs(lesion) for lesion in froc.misses)
        rows.append((name, count, tuple(float((found >= t).sum() / max(1, count)) for t in thresholds)))
    return rows


def main() -> None:
    """Evaluate, print a table, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(__file__).with_name("weights.safetensors"))
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.count)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        froc = scored(pool.map(partial(one_scan, options.weights), seeds), options.count)
    _tell(froc)
    if options.json:
        told = {"cpm": froc.cpm, "fp_per_scan": RATES, "sensitivity": froc.sensitivities, "table": table(froc)}
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if options.plot:
        plot(froc, f"chest_ct_nodules, {options.count} held-out phantoms").save(options.plot)


def scored(rows: Iterable[Row], scans: int) -> Froc:
    """Return the score of all scans together."""
    done = list(rows)
    truth = [lesion for lesions, _ in done for lesion in lesions]
    marks = [mark for _, found in done for mark in found]
    names = {lesion.series_instance_uid for lesion in truth} | {mark.series_instance_uid for mark in marks}
    names |= {f"without nodule or mark {number}" for number in range(scans - len(names))}
    return score(marks, truth, names)


def _tell(froc: Froc) -> None:
    sensitivities = ", ".join(f"{s:.3f} at {r:g}" for s, r in zip(froc.sensitivities, RATES, strict=True))
    print(f"{froc.scans} scans, CPM {froc.cpm:.3f}; sensitivity {sensitivities} false marks per scan\n")  # noqa: T201
    print("| nodules | n |" + "".join(f" at {rate:g} |" for rate in TABLE_RATES))  # noqa: T201
    print("|---|---|" + "---|" * len(TABLE_RATES))  # noqa: T201
    for name, count, values in table(froc):
        print(f"| {name} | {count} |" + "".join(f" {value:.2f} |" for value in values))  # noqa: T201


def _sized(lesion: Truth, low: float, high: float) -> bool:
    return low <= lesion.diameter_mm < high


def _said(lesion: Truth, word: str) -> bool:
    return word in lesion.kind.split(", ")


if __name__ == "__main__":
    main()
