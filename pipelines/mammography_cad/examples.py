"""Generated views and windows with their truth, kept in files: what the networks are trained on.

Everything has the chest wall on the left, and is drawn at 0.1 mm. A view is then brought to 0.2 mm just as the pipeline
brings its images there: one that is drawn at 0.2 mm is sharper than any that the networks will be asked about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacsai.mammography import normalised
from pipelines.mammography_cad.look import resized
from pipelines.mammography_cad.phantom import calcifications, lesions
from pipelines.mammography_cad.phantom.calcifications import Cluster
from pipelines.mammography_cad.phantom.grids import Grid
from pipelines.mammography_cad.phantom.placing import scenes
from pipelines.mammography_cad.phantom.scene import Frame, Scene, frame, render

DRAWN_MM, VIEW_MM, COARSE_MM = 0.1, 0.2, 1.0
WINDOW = 640
FIELD_MM = (240.0, 192.0)
NORMAL_EVERY = 4
"""One exam of so many has no lesion."""
OF_VIEWS, OF_WINDOWS = 12, 3
"""Lesions of the others: half of them masses. An image with six teaches as much as six with one, and is drawn once."""


@dataclass(frozen=True, slots=True)
class Known:
    """A lesion that is there: `centre` (row, column) and `radius` in pixels, the rest as PhantomLesion names it."""

    kind: str
    centre: tuple[float, float]
    radius: float
    malignant: bool
    shape: str = ""
    margin: str = ""
    density: str = ""
    morphology: str = ""
    distribution: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An image with its truth.

    Attributes
    ----------
    image : float32 [j, i]
        As a pipeline is given it: 0 to 1 over the breast, air 0.
    index : uint8 [j, i]
        0, or the place from 1 of the lesion in `known`.
    specks : float32 [n, 4]
        Row, column, diameter in pixels, and 1 for one of a cluster or 0 for a harmless one; of windows only.
    """

    image: NDArray[np.float32]
    index: NDArray[np.uint8]
    known: tuple[Known, ...]
    specks: NDArray[np.float32]
    step_mm: float


def views(seed: int) -> Iterator[Example]:
    """Yield the four views of an exam at 0.2 mm, cut to the breast."""
    for scene in _scenes(seed, OF_VIEWS):
        width = min(FIELD_MM[1], scene.outline.nipple[1] + 12)
        size = [2 * round(mm / VIEW_MM / 2) for mm in (FIELD_MM[0], width)]
        fine = Grid(DRAWN_MM, 0.0, 0.0, (2 * size[0], 2 * size[1]))
        drawn = render(scene, fine, frame(scene), for_processing=False)
        image = normalised(drawn, np.zeros(drawn.shape, dtype=np.bool_), darker=False)
        # a pixel that is the mean of two by two has its middle between them
        grid = Grid(VIEW_MM, DRAWN_MM / 2, DRAWN_MM / 2, (size[0], size[1]))
        small = resized(image, (DRAWN_MM, DRAWN_MM), VIEW_MM, even=True)
        yield Example(small, *_truth(scene, grid), np.zeros((0, 4), dtype=np.float32), VIEW_MM)


def windows(seed: int) -> Iterator[Example]:
    """Yield windows at 0.1 mm: about each cluster, about the calcified vessel, and now and then anywhere."""
    rng = np.random.default_rng([seed, 11])
    for scene in _scenes(seed, OF_WINDOWS):
        places = [item.at for item in scene.lesions if isinstance(item, Cluster)]
        places += [(float(v), float(u)) for grains in scene.spots[1:] for v, u in grains.at[len(grains.at) // 2][None]]
        if rng.random() < 0.5:
            v, u = scene.outline.nipple
            places.append((v + rng.uniform(-50, 50), u * rng.uniform(0.2, 0.9)))
        shared = frame(scene) if places else None
        for place in places:
            assert shared is not None  # noqa: S101 (for the type checker)
            yield _window(rng, scene, shared, place)


def _scenes(seed: int, lesions: int) -> tuple[Scene, ...]:
    return scenes(seed, FIELD_MM, 0 if seed % NORMAL_EVERY == 0 else lesions, None)


def _window(rng: np.random.Generator, scene: Scene, shared: Frame, place: tuple[float, float]) -> Example:
    half = WINDOW * DRAWN_MM / 2
    v, u = (float(max(0.0, p + rng.uniform(-8, 8) - half)) for p in place)
    grid = Grid(DRAWN_MM, round(v, 1), round(u, 1), (WINDOW, WINDOW))
    coarse = render(scene, _whole(COARSE_MM), shared, for_processing=False)
    low, high = (float(x) for x in np.percentile(coarse[coarse > 0.02], (0.5, 99.9)))
    drawn = render(scene, grid, shared, for_processing=False)
    image = np.clip((drawn - low) / (high - low), 0, None).astype(np.float32)
    return Example(image, *_truth(scene, grid), _specks(scene, grid), DRAWN_MM)


def _whole(step_mm: float) -> Grid:
    return Grid(step_mm, 0.0, 0.0, (round(FIELD_MM[0] / step_mm), round(FIELD_MM[1] / step_mm)))


def _truth(scene: Scene, grid: Grid) -> tuple[NDArray[np.uint8], tuple[Known, ...]]:
    index, known = np.zeros(grid.shape, dtype=np.uint8), []
    for item in scene.lesions:
        box = grid.around(item.at, 2.2 * item.radius_mm + 3)
        if box is None:
            continue
        local = grid.part(box)
        mask = calcifications.mask(item, local) if isinstance(item, Cluster) else lesions.mask(item, local)
        if mask.any():
            known.append(_known(item, grid))
            index[box][mask] = len(known)
    return index, tuple(known)


def _known(item: lesions.Mass | Cluster, grid: Grid) -> Known:
    centre = ((item.at[0] - grid.v_mm) / grid.step_mm, (item.at[1] - grid.u_mm) / grid.step_mm)
    kind = "calcifications" if isinstance(item, Cluster) else item.kind
    known = Known(kind, centre, item.radius_mm / grid.step_mm, item.malignant)
    words = ("morphology", "distribution") if isinstance(item, Cluster) else ("shape", "margin", "density")
    return Known(**{**asdict(known), **{word: getattr(item, word) for word in words}})


def _specks(scene: Scene, grid: Grid) -> NDArray[np.float32]:
    """Return every calcification in the window."""
    clusters = [item for item in scene.lesions if isinstance(item, Cluster)]
    found = [(calcifications.grains(item), 1) for item in clusters]
    found += [(grains, 0) for grains in scene.spots]
    origin = (grid.v_mm, grid.u_mm)
    rows = [
        np.column_stack([(g.at - origin) / grid.step_mm, g.size_mm / grid.step_mm, np.full(len(g.at), n)])
        for g, n in found
    ]
    table = np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, 4), dtype=np.float32)
    inside = ((table[:, :2] >= 0) & (table[:, :2] < grid.shape)).all(axis=1)
    return np.asarray(table[inside], dtype=np.float32)


def save(example: Example, path: Path) -> None:
    """Write an example."""
    words = json.dumps([asdict(known) for known in example.known])
    np.savez(
        path,
        image=example.image.astype(np.float16),
        index=example.index,
        specks=example.specks,
        step_mm=example.step_mm,
        known=np.array(words),
    )


def read(path: Path) -> Example:
    """Return an example that `save` wrote."""
    with np.load(path) as file:
        known = tuple(Known(**{**one, "centre": tuple(one["centre"])}) for one in json.loads(str(file["known"])))
        image = np.asarray(file["image"], dtype=np.float32)
        return Example(image, file["index"], known, file["specks"], float(file["step_mm"]))


def _written(folder: Path, make: Callable[[int], Iterable[Example]], seed: int) -> None:
    done = folder / f"{seed:05d}.done"
    if done.exists():
        return
    for n, example in enumerate(make(seed)):
        save(example, folder / f"{seed:05d}-{n}.npz")
    done.touch()


def prepare(folder: Path, make: Callable[[int], Iterable[Example]], seeds: Iterable[int], workers: int) -> list[Path]:
    """Write the examples of the seeds that are not there yet, and return the files of all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(seeds)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_written, folder, make), wanted))
    return [path for seed in wanted for path in sorted(folder.glob(f"{seed:05d}-*.npz"))]
