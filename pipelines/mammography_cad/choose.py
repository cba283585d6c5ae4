"""Choose the operating point: the certainty at which generated exams have so many false marks an image, scale by scale.

    python -m pipelines.mammography_cad.choose --weights weights.safetensors [--first 4000] [--exams 10] [--real DIR]

The exams are of seeds that neither training nor the evaluation uses; of the real images those that training has seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from pacsai.exam import View
from pipelines.mammography_cad.anatomy import NotOneBreastError
from pipelines.mammography_cad.detect import EVERYTHING, Mark, kept, read_view
from pipelines.mammography_cad.evaluate import generated_views, overlaps, real_view
from pipelines.mammography_cad.net import Networks, load_networks
from pipelines.mammography_cad.ready import real_images

FIRST_SEED, EXAMS = 4000, 10
RATES = (0.1, 0.25, 0.5, 1.0)
Row = tuple[bool, bool, float]
"""Whether it is of calcifications, whether it is a lesion (found or, with certainty 0, missed), its certainty."""


def rows_of_exam(weights: Path, seed: int) -> tuple[int, list[Row]]:
    """Return how many images a generated exam has, and its marks and missed lesions."""
    torch.set_num_threads(1)
    networks = load_networks(weights)
    rows: list[Row] = []
    views = generated_views(seed)
    for view, lesions in views:
        marks = _marks(view, networks)
        found = dict.fromkeys(range(len(lesions)), 0.0)
        for mark in marks:
            on = [
                n
                for n, one in enumerate(lesions)
                if float(np.hypot(*np.subtract(mark.centre, one.centre))) < one.radius
            ]
            for n in on:
                found[n] = max(found[n], mark.certainty)
            if not on:
                rows.append((_small(mark), False, mark.certainty))
        rows += [(one.kind == "calcifications", True, found[n]) for n, one in enumerate(lesions)]
    return len(views), rows


def _marks(view: View, networks: Networks) -> list[Mark]:
    """Return every mark of a view; none of one that is refused."""
    try:
        return kept(read_view(view, networks).marks, EVERYTHING)
    except NotOneBreastError as error:
        sys.stderr.write(f"{view.name} refused: {error}\n")
        return []


def _small(mark: Mark) -> bool:
    return mark.kind == "calcifications"


def at_rate(rows: Sequence[Row], images: int, rate: float) -> tuple[float, float]:
    """Return the certainty from which on there are `rate` false marks an image, and the sensitivity there."""
    false = sorted((certainty for _, lesion, certainty in rows if not lesion), reverse=True)
    place = int(rate * images)
    threshold = false[place] if place < len(false) else 0.0
    lesions = [certainty for _, lesion, certainty in rows if lesion]
    return threshold, float(np.mean([certainty > threshold for certainty in lesions])) if lesions else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print certainty and sensitivity at some rates of false marks, and what real training images get."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(__file__).with_name("weights.safetensors"))
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--exams", type=int, default=EXAMS)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.exams)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(partial(rows_of_exam, options.weights), seeds))
    images = sum(count for count, _ in done)
    for name, small in (("masses", False), ("calcifications", True)):
        rows = [row for _, found in done for row in found if row[0] == small]
        for rate in RATES:
            threshold, sensitivity = at_rate(rows, images, rate)
            sys.stdout.write(f"{name}: {rate} false marks an image at {threshold:.3f}, sensitivity {sensitivity:.2f}\n")
    if options.real:
        networks = load_networks(options.weights)
        for image in real_images(options.real, left_out=False):
            marks = kept(read_view(real_view(image), networks).marks, EVERYTHING)[:4]
            told = ", ".join(f"{mark.certainty:.2f}{' on' if overlaps(mark, image.mask) else ''}" for mark in marks)
            sys.stdout.write(f"{image.name}: {told}\n")


if __name__ == "__main__":
    main()
