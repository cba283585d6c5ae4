"""Examples as the networks see them, kept in files; and the real mammograms of CDD-CESM, split by patient."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pacsai.mammography import normalised
from pipelines.mammography_cad.anatomy import find_anatomy
from pipelines.mammography_cad.examples import Known, read
from pipelines.mammography_cad.look import Look, look_at, spacing_of

LEFT_OUT = (84, 93, 99, 108, 132, 165)
"""CDD-CESM patients that are for the evaluation alone: those whose number 3 divides."""
_THICK = 5
"""Pixels from its border to its middle that a marked region must have."""
_DRAWN_OUT = 30
"""Area over the square of that, from which on a region is a band along the skin and no lesion; of a disk it is 3.1."""


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A view as the networks see it, with its truth on the middle grid (0.4 mm).

    Attributes
    ----------
    index : uint8 [j, i]
        0, or the place from 1 of the lesion in `known`, whose centre and radius are in middle pixels.
    """

    name: str
    look: Look
    index: NDArray[np.uint8]
    known: tuple[Known, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RealImage:
    """One low-energy image of CDD-CESM: grey values 0 to 1 over the breast, and what its mask marks.

    The masks are red where the lesion is malignant and green where it is benign; all of an image have one colour.
    """

    name: str
    patient: int
    array: NDArray[np.float32]
    mask: NDArray[np.bool_]
    malignant: bool
    oblique: bool


def real_images(folder: Path, *, left_out: bool) -> list[RealImage]:
    """Return the low-energy images of the patients that are left out of training, or of the others."""
    found = []
    for path in sorted((folder / "images").glob("*_DM_*.jpg")):
        _, patient, _, _, view = path.stem.split("_")
        number = int(patient[1:])
        if (number in LEFT_OUT) != left_out:
            continue
        stored = np.asarray(Image.open(path).convert("L"), dtype=np.float32)
        marked = np.asarray(Image.open(folder / "masks" / f"{path.stem}.png").convert("RGB")) > 127
        mask, malignant = _lesions(np.asarray(marked.any(axis=-1))), bool(marked[..., 0].any())
        array = normalised(stored, np.zeros(stored.shape, dtype=np.bool_), darker=False)
        name = path.stem.removeprefix("flipped_")
        found.append(RealImage(name, number, array, mask, malignant, view == "MLO"))
    return found


def _lesions(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the marked regions without specks, lines and bands along the skin."""
    labels, count = ndimage.label(mask)
    deep = ndimage.distance_transform_edt(mask)
    kept = []
    for n in range(1, count + 1):
        depth, area = float(deep[labels == n].max()), int((labels == n).sum())
        if depth >= _THICK and area < _DRAWN_OUT * depth**2:
            kept.append(n)
    return np.isin(labels, kept)


def ready_real(image: RealImage) -> Ready:
    """Return a real image as the networks see it."""
    anatomy = find_anatomy(image.array, oblique=image.oblique)
    look = look_at(image.array, anatomy.breast, spacing_of(image.array.shape, None))
    labels, count = ndimage.label(image.mask)
    index = _nearest(labels.astype(np.uint8), look)
    known = []
    for n in range(1, count + 1):
        deep = ndimage.distance_transform_edt(labels == n)
        j, i = np.unravel_index(int(deep.argmax()), deep.shape)
        radius = min(float(np.sqrt((labels == n).sum() / np.pi)), 1.3 * float(deep.max())) / look.scale[0]
        known.append(Known("mass", look.from_view((float(j), float(i))), radius, malignant=image.malignant))
    return Ready(image.name, look, index, tuple(known))


def ready_view(path: Path) -> Ready:
    """Return a generated view as the networks see it; air is 0 there, so that the breast needs no search."""
    example = read(path)
    breast = np.asarray(ndimage.uniform_filter(example.image, 15) > 0.01, dtype=np.bool_)
    look = look_at(example.image, breast, (example.step_mm, example.step_mm))
    known = tuple(
        replace(one, centre=look.from_view(one.centre), radius=one.radius / look.scale[0]) for one in example.known
    )
    return Ready(path.stem, look, _nearest(example.index, look), known)


def _nearest(index: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """Return labels on the middle grid."""
    at = [
        np.clip(((np.arange(n) + 0.5) * s).astype(np.intp), 0, size - 1)
        for n, s, size in zip(look.breast.shape, look.scale, index.shape, strict=True)
    ]
    return np.asarray(index[np.ix_(at[0], at[1])])


def save_ready(ready: Ready, path: Path) -> None:
    """Write a view in half precision."""
    np.savez(
        path,
        fine=ready.look.fine.astype(np.float16),
        middle=ready.look.middle.astype(np.float16),
        breast=ready.look.breast,
        scale=ready.look.scale,
        index=ready.index,
        known=np.array(json.dumps([asdict(one) for one in ready.known])),
    )


def read_ready(path: Path) -> Ready:
    """Return what `save_ready` wrote."""
    with np.load(path) as file:
        known = tuple(Known(**{**one, "centre": tuple(one["centre"])}) for one in json.loads(str(file["known"])))
        fine, middle = (np.asarray(file[name], dtype=np.float32) for name in ("fine", "middle"))
        scale = (float(file["scale"][0]), float(file["scale"][1]))
        return Ready(path.stem, Look(fine, middle, file["breast"], scale), file["index"], known)


def _made(folder: Path, path: Path) -> None:
    target = folder / path.name
    if not target.exists():
        save_ready(ready_view(path), target)


def make_ready(folder: Path, views: Iterable[Path], workers: int) -> list[Path]:
    """Write the views that are not there yet as the networks see them, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(views)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_made, folder), wanted))
    return [folder / path.name for path in wanted]
