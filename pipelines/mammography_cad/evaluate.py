"""Score the shipped weights: on generated exams of seeds that training never uses, and on left-out CDD-CESM patients.

    python -m pipelines.mammography_cad.evaluate [--first 5000] [--exams 50] [--real DIR] [--json FILE] [--pictures DIR]

The whole pipeline runs on each exam, as on a patient. Generated images and real ones are told apart throughout.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pacsai.evaluate.exams import Lesion, Read, scores
from pacsai.evaluate.froc import Scored, Truth
from pacsai.exam import View
from pacsai.mammography import normalised
from pipelines.mammography_cad.anatomy import NotOneBreastError
from pipelines.mammography_cad.detect import EVERYTHING, SHIPPED, Mark, ReadView, kept, read_view
from pipelines.mammography_cad.net import MASS_WORDS, SPECK_WORDS, load_networks
from pipelines.mammography_cad.phantom import PhantomLesion, exam
from pipelines.mammography_cad.pipeline import MammographyCAD
from pipelines.mammography_cad.ready import RealImage, real_images

FIRST_SEED, EXAMS = 5000, 50
STEP_MM = 0.1
MARKS_OF_AN_IMAGE = 2
OVERLAP = 0.2
"""A mark hits a real lesion when its middle lies in the mask, or so much of the mark's area."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadExam:
    """One exam: how it was read, the lesions there, (list, truth, said) of found ones, marks kept, images refused."""

    read: Read
    lesions: tuple[Lesion, ...]
    words: tuple[tuple[str, str, str], ...]
    kept: int
    refused: int


def one_exam(weights: Path, seed: int) -> ReadExam:
    """Return how the pipeline reads the generated exam of a seed; an image that it refuses has no mark."""
    torch.set_num_threads(1)
    cad = MammographyCAD(load_networks(weights))
    made = generated_views(seed)
    truths = {view.name: found for view, found in made}
    lesions = [_lesion(f"{seed} {view.name}", one) for view, found in made for one in found]
    reads = [read for view, _ in made if (read := _read(view, cad))]
    marks = {read.view.name: kept(read.marks, EVERYTHING) for read in reads}
    scored = tuple(_scored(f"{seed} {name}", mark) for name, found in marks.items() for mark in found)
    best = {f"{seed} {name}": max((m.probability for m in marks.get(name, ())), default=0.0) for name in truths}
    words = tuple(row for name, found in marks.items() for row in _words(found, truths[name]))
    shown = sum(len(kept(read.marks, SHIPPED)) for read in reads)
    print(f"exam {seed}: {len(lesions)} lesions, {shown} marks kept", file=sys.stderr, flush=True)  # noqa: T201
    refused = len(made) - len(reads)
    return ReadExam(Read(str(seed), best, max(best.values()), scored), tuple(lesions), words, shown, refused)


def _read(view: View, cad: MammographyCAD) -> ReadView | None:
    """Return a view as it was read, None where it is refused."""
    try:
        return read_view(view, cad.networks)
    except NotOneBreastError as error:
        print(f"{view.name} refused: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return None


def generated_views(seed: int) -> list[tuple[View, tuple[PhantomLesion, ...]]]:
    """Return the views of a generated exam at full resolution, each with its lesions: two of an odd seed, else none."""
    found = []
    for made in exam(seed, spacing_mm=STEP_MM, lesions=2 * (seed % 2)):
        array = normalised(made.array, np.zeros(made.array.shape, dtype=np.bool_), darker=False)
        side, name = made.name.split()
        view = View(made.name, side, name, array, made.spacing_mm, False, None, None)  # type: ignore[arg-type]
        found.append((view, made.lesions))
    return found


def _lesion(image: str, one: PhantomLesion) -> Lesion:
    place = (one.centre[1], one.centre[0], 0.0)
    return Lesion(Truth(image, place, 2 * one.radius, one.kind), one.malignant)


def _scored(image: str, mark: Mark) -> Scored:
    return Scored(image, (mark.centre[1], mark.centre[0], 0.0), mark.certainty)


def _words(marks: Sequence[Mark], lesions: Sequence[PhantomLesion]) -> list[tuple[str, str, str]]:
    """Return (list, truth, said) for the surest mark on each lesion; (kind) tells what the mark was called."""
    rows = []
    for one in lesions:
        masses = one.kind != "calcifications"
        on = [m for m in marks if np.hypot(*np.subtract(m.centre, one.centre)) < one.radius]
        on = [m for m in on if (m.kind != "calcifications") == masses]
        if on:
            surest = max(on, key=lambda m: m.certainty)
            rows += [("kind", one.kind, surest.kind)] if masses else []
            lists = {**MASS_WORDS, **SPECK_WORDS}
            rows += [
                (name, getattr(one, name), surest.words[name])
                for name in lists
                if name in surest.words and getattr(one, name)
            ]
    return rows


def macro_f1(rows: Sequence[tuple[str, str]]) -> float:
    """Return the mean F1 over the words that truly occur, of (truth, said)."""
    found = []
    for word in sorted({truth for truth, _ in rows}):
        right = sum(t == s == word for t, s in rows)
        found.append(2 * right / max(1, sum(t == word for t, _ in rows) + sum(s == word for _, s in rows)))
    return float(np.mean(found)) if found else float("nan")


def generated(weights: Path, first: int, count: int, workers: int) -> dict[str, Any]:
    """Return the figures of generated exams."""
    seeds = range(first, first + count)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return summed(list(pool.map(partial(one_exam, weights), seeds)))


def summed(rows: Sequence[ReadExam]) -> dict[str, Any]:
    """Return the figures of exams together."""
    told = scores([row.read for row in rows], [lesion for row in rows for lesion in row.lesions])
    words = [word for row in rows for word in row.words]
    names = sorted({name for name, _, _ in words})
    del told["froc"], told["hits"], told["misses"]
    return {
        **told,
        "macro_f1": {name: macro_f1([(t, s) for n, t, s in words if n == name]) for name in names},
        "described": {name: sum(n == name for n, _, _ in words) for name in names},
        "marks_per_image": sum(row.kept for row in rows) / max(1, told["images"]),
        "images_refused": sum(row.refused for row in rows),
    }


def real(weights: Path, folder: Path, pictures: Path | None) -> dict[str, Any]:
    """Return the figures of the left-out patients, image by image."""
    cad = MammographyCAD(load_networks(weights))
    rows = {}
    for image in real_images(folder, left_out=True):
        read = read_view(real_view(image), cad.networks)
        rows[image.name] = _of_image(image, read)
        if pictures:
            _draw(image, kept(read.marks, EVERYTHING)[:MARKS_OF_AN_IMAGE], pictures / f"{image.name}.png")
    lesions = sum(row["lesions"] for row in rows.values())
    unmarked = [row for row in rows.values() if not row["lesions"]]
    return {
        "images": rows,
        "lesions": lesions,
        "sensitivity": sum(row["found"] for row in rows.values()) / max(1, lesions),
        "images_with_lesion": len(rows) - len(unmarked),
        "images_found": sum(row["found"] > 0 for row in rows.values()),
        "marks_on_images_without_mask": sum(row["kept"] for row in unmarked) / max(1, len(unmarked)),
    }


def real_view(image: RealImage) -> View:
    """Return a real image as a view; its pixel spacing is not known."""
    name, side = "MLO" if image.oblique else "CC", image.name.split("_")[1]
    return View(f"{side} {name}", side, name, image.array, None, False, None, None)  # type: ignore[arg-type]


def _of_image(image: RealImage, read: ReadView) -> dict[str, Any]:
    labels, count = ndimage.label(image.mask)
    best = kept(read.marks, EVERYTHING)[:MARKS_OF_AN_IMAGE]
    hit = {n for n in range(1, count + 1) for mark in best if overlaps(mark, labels == n)}
    return {
        "lesions": count,
        "found": len(hit),
        "certainty": [round(mark.certainty, 2) for mark in best],
        "kept": len(kept(read.marks, SHIPPED)),
    }


def overlaps(mark: Mark, mask: NDArray[np.bool_]) -> bool:
    """Tell whether a mark lies on a lesion: its middle, or OVERLAP of its area."""
    j, i = (min(max(0, round(p)), n - 1) for p, n in zip(mark.centre, mask.shape, strict=True))
    canvas = Image.new("1", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(canvas).polygon([(i_, j_) for j_, i_ in mark.outline], fill=1)
    area = np.asarray(canvas)
    return bool(mask[j, i]) or float((area & mask).sum()) >= OVERLAP * max(1, int(area.sum()))


def _draw(image: RealImage, marks: Sequence[Mark], path: Path) -> None:
    """Write the image with the mask's border (red) and the marks (green, their certainty beside them)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.clip(255 * image.array, 0, 255).astype(np.uint8)
    shown = np.stack([grey] * 3, axis=-1)
    shown[image.mask & ~ndimage.binary_erosion(image.mask, iterations=2)] = (255, 0, 0)
    picture = Image.fromarray(shown)
    draw = ImageDraw.Draw(picture)
    for mark in marks:
        draw.polygon([(i, j) for j, i in mark.outline], outline=(0, 255, 0))
        draw.text((mark.centre[1], mark.centre[0]), f"{mark.certainty:.2f}", fill=(0, 255, 0))
    picture.save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate, print, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(__file__).with_name("weights.safetensors"))
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--exams", type=int, default=EXAMS, help="generated exams of four images; 0 for none")
    parser.add_argument("--real", type=Path, help="folder of CDD-CESM")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each real image")
    options = parser.parse_args(arguments)
    told: dict[str, Mapping[str, Any]] = {}
    if options.exams:
        told["generated"] = generated(options.weights, options.first, options.exams, options.workers)
    if options.real:
        told["real"] = real(options.weights, options.real, options.pictures)
    text = json.dumps(told, indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
