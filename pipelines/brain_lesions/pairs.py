"""Follow lesions on generated pairs: planted new ones must be found, and nothing called where nothing changed.

    python -m pipelines.brain_lesions.pairs [--first 6000] [--pairs 10] [--sequences FLAIR,T1] [--json FILE]

Per seed one brain is scanned three times, lying differently each time (turned by up to 10 degrees, 10 mm), with
noise, a bias field and a field of view of its own: first, again unchanged, again with new lesions. All three are
DICOM studies; the first one's report goes into its folder, as it would lie in an archive. The later ones are then
analysed with the first as their prior, as `pacsai analyse` does it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from pacsai.changes import Change
from pacsai.finding import Result
from pacsai.flow import Order, analyse_study
from pacsai.objects.common import Author
from pacsai.registration import moved
from pacsai.registry import find
from pacsai.study.reading import read_folder
from pacsai.volume import Grid
from pacsai.wrap import About, wrap
from pipelines.brain_lesions.evaluate import save_nifti
from pipelines.brain_lesions.fields import blurred
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.painting import Look, painted
from pipelines.brain_lesions.phantom import (
    BRAIN_SIGNAL,
    SPREAD_SIGNAL,
    BrainPhantom,
    brain_phantom,
    lesion_shapes,
)
from pipelines.brain_lesions.registration_trials import Matrix, acquired

FIRST_SEED = 6000
LESIONS, NEW, LEAST_MM3, APART_MM = 8, 3, 100, 6.0
MAX_DEGREES, MAX_SHIFT_MM = 10.0, 10.0
LOOK = Look(flair=2.2, t2=2.0, t1=-1.0, varying=0.2, border=0.7, halo=0.1, enhancing=0.0)
"""How the lesions look: ordinary ones; on FLAIR those of patient19 above 100 mm3 are 1.4 to 1.9 spreads brighter."""
NEAR_MM = 4.0
"""How far from the edge of a planted lesion, as a ball of its volume, the centre of a finding may lie to be it."""
DAYS = {"first": datetime(2025, 1, 2), "unchanged": datetime(2026, 1, 2), "changed": datetime(2026, 1, 3)}
CALLED = (Change.NEW, Change.ENLARGING, Change.SHRINKING, Change.GONE)
TOUCHING = np.ones((3, 3, 3))
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Planted:
    """A new lesion: its place in the frame of the study that shows it, and its volume."""

    centre_mm: tuple[float, float, float]
    volume_mm3: float


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """How a seed's pairs ended.

    Attributes
    ----------
    new, found, seen : int
        Lesions planted; called new; found, called new or not.
    false_new : int
        Called new in the changed pair, and none of the planted.
    called : mapping of str to int
        Changes called in the unchanged pair, by kind.
    known, kept : int
        Lesions that the first report knew; whose tracking UID the unchanged study's result carries on.
    """

    seed: int
    new: int
    found: int
    seen: int
    false_new: int
    called: dict[str, int]
    known: int
    kept: int
    remarks: tuple[str, ...]


def brains(seed: int) -> tuple[BrainPhantom, BrainPhantom]:
    """Return the brain of a seed before and after new lesions came."""
    healthy = brain_phantom(seed, lesions=0)
    rng = np.random.default_rng([seed, 50])
    old = lesion_shapes(rng, healthy.anatomy, LESIONS)
    labels, n = ndimage.label(lesion_shapes(rng, healthy.anatomy, 8 * NEW), TOUCHING)
    away = ndimage.distance_transform_edt(~old)
    fit = [m for m in range(1, n + 1) if away[labels == m].min() > APART_MM and (labels == m).sum() > 1.5 * LEAST_MM3]
    return with_lesions(healthy, old, seed), with_lesions(healthy, old | np.isin(labels, fit[:NEW]), seed)


def with_lesions(healthy: BrainPhantom, wanted: Bools, seed: int) -> BrainPhantom:
    """Return a healthy brain with lesions painted in; the same seed paints what both have alike."""
    rng = np.random.default_rng([seed, 51])
    images = np.stack([(healthy.images[name] - BRAIN_SIGNAL) / SPREAD_SIGNAL for name in SEQUENCES])
    soft = blurred(wanted.astype(np.float32), 0.5)
    images, truth = painted(rng, images, healthy.anatomy.tissues, soft, LOOK)
    signal = np.clip(BRAIN_SIGNAL + SPREAD_SIGNAL * images, 20, None) * healthy.brain
    named = {name: np.asarray(image, np.float32) for name, image in zip(SEQUENCES, signal, strict=True)}
    return replace(healthy, images=named, truth=truth & healthy.brain)


def planted(before: BrainPhantom, after: BrainPhantom, affine: Matrix, movement: Matrix) -> tuple[Planted, ...]:
    """Return the new lesions of `LEAST_MM3` or more, where `movement` has taken them."""
    labels, n = ndimage.label(after.truth & ~ndimage.binary_dilation(before.truth, iterations=3), TOUCHING)
    sizes = np.bincount(labels.ravel())
    told = []
    for m in range(1, n + 1):
        if sizes[m] >= LEAST_MM3:
            kji = np.argwhere(labels == m).mean(axis=0)
            x, y, z = (float(c) for c in moved(movement, Grid(labels, affine).world_mm(kji)))
            told.append(Planted((x, y, z), float(sizes[m])))
    return tuple(told)


def scan(brain: BrainPhantom, name: str, names: Sequence[str], rng: np.random.Generator, folder: Path) -> Matrix:
    """Write a DICOM study of a brain that lies in a way of its own into `folder`; return how it was moved."""
    affine = affine_of(brain)
    movement = np.eye(4)
    movement[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-MAX_DEGREES, MAX_DEGREES, 3), degrees=True).as_matrix()
    movement[:3, 3] = rng.uniform(-MAX_SHIFT_MM, MAX_SHIFT_MM, 3)
    files = []
    for one in names:
        grid = Grid(brain.images[one], affine)
        files.append(save_nifti(acquired(grid, movement, "axial", 1.0, rng), folder / f"{one}.nii.gz"))
    about = About(patient_id="GENERATED", study=name, body_part="HEAD", acquired=DAYS[name])
    agents = {"T1C": "gadolinium"} if "T1C" in names else {}
    wrap(files, "MR", folder, about, same_space=True, contrast=agents)
    return movement


def affine_of(brain: BrainPhantom) -> Matrix:
    """Return the affine of a generated brain, its middle at the origin."""
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(brain.brain.shape[::-1]) - 1) / 2
    return affine


def analysed(folder: Path, out: Path, prior: Path | None = None) -> Result:
    """Return the result of the study in `folder`, its SR written into `out`."""
    package = find("brain_lesions")
    (study,) = read_folder(folder)
    order = Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("SR",),
        author=Author(title=package.manifest.title),
        folder=out,
        now=datetime(2026, 2, 1, tzinfo=UTC),
    )
    earlier = read_folder(prior)[0] if prior else None
    return analyse_study(study, replace(order, prior=earlier)).result


def followed(seed: int, names: Sequence[str], folder: Path) -> Row:
    """Return how the pairs of a seed ended; their studies are written into `folder`."""
    before, after = brains(seed)
    movements = {
        name: scan(brain, name, names, np.random.default_rng([seed, number]), _made(folder / name))
        for number, (name, brain) in enumerate((("first", before), ("unchanged", before), ("changed", after)))
    }
    first = analysed(folder / "first", folder / "first")
    unchanged = analysed(folder / "unchanged", folder / "out", folder / "first")
    changed = analysed(folder / "changed", folder / "out", folder / "first")
    wanted = planted(before, after, affine_of(after), movements["changed"])
    new = [one for one in changed.findings if one.change is Change.NEW]
    uids = {one.tracking_uid for one in first.findings}
    return Row(
        seed=seed,
        new=len(wanted),
        found=sum(_hit(one, new) for one in wanted),
        seen=sum(_hit(one, changed.findings) for one in wanted),
        false_new=sum(not any(_hit(lesion, [one]) for lesion in wanted) for one in new),
        called=dict(Counter(one.change.value for one in unchanged.findings if one.change in CALLED)),
        known=len(uids),
        kept=len(uids & {one.tracking_uid for one in unchanged.findings}),
        remarks=tuple(dict.fromkeys(unchanged.remarks + changed.remarks)),
    )


def _hit(lesion: Planted, findings: Sequence[Any]) -> bool:
    reach_mm = (3 * lesion.volume_mm3 / (4 * np.pi)) ** (1 / 3) + NEAR_MM
    return any(np.linalg.norm(np.subtract(one.centre_mm, lesion.centre_mm)) <= reach_mm for one in findings)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    """Follow the pairs, print each and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--sequences", default="FLAIR,T1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rows = []
    for seed in range(options.first, options.first + options.pairs):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(followed(seed, options.sequences.split(","), Path(folder)))
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    new, found = sum(one.new for one in rows), sum(one.found for one in rows)
    quiet = sum(not one.called for one in rows)
    kept, known = sum(one.kept for one in rows), sum(one.known for one in rows)
    told = {"new": new, "found": found, "pairs": len(rows), "unchanged_without_a_call": quiet, "known": known}
    told |= {"kept_uids": kept, "false_new": sum(one.false_new for one in rows)}
    sys.stdout.write(json.dumps(told) + "\n")
    if options.json:
        options.json.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
