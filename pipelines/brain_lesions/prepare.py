"""From the sequences that arrived to images the networks can read: one grid, one scale, the brain only.

Every transform is kept; what was found on the model grid goes back onto the reference's grid by one resampling
(`back_onto`). Refuses, with the reason, what cannot be prepared; leaves out optional sequences that cannot.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name that its own manual gives it)
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.organs.brain import extract_brain
from pacsai.registration import Registration, register
from pacsai.sequences import Sequences
from pacsai.volume import Grid
from pacsai.volume.itk import onto, shrunk, to_itk
from pipelines.brain_lesions import flaws

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]

MODEL_MM = 1.0
MARGIN_MM = 8.0
CLIP = (-6.0, 12.0)
BIAS_MM = 5.0
"""Voxels of the bias field's estimate; the field itself is smooth over centimetres."""
THREADS = 2
MIN_COVERED = 0.6
"""Least part of the brain that an optional sequence must show."""
TORN = 0.35
"""Median jump of brightness between neighbouring slices, as a part of the brain's, above which they are torn apart."""
SHAKEN = 0.12
"""The same, from where on a remark is made."""

CAVITY = (
    "a dark cavity of {:.0f} mL has no counterpart on the other side, as after surgery, by a cyst or an old infarct: "
    "what is found at its rim may be false"
)


class Unfit(Exception):  # noqa: N818 (it is no error of the program)
    """The study cannot be prepared; the message says why, for the reader of the report."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The sequences of a study on the model grid: 1 mm, k to the head, j to the back, i to the patient's left.

    Attributes
    ----------
    images : mapping of str to float32 [k, j, i]
        By sequence; normalised inside the brain, 0 outside. The reference is always there.
    brain : bool [k, j, i]
    affine : float64 (4, 4)
        Maps (i, j, k, 1) of the model grid to LPS mm of the reference series' frame.
    registrations : mapping of str to Registration
        Of each other sequence, from the reference's frame to its own; refused ones too.
    remarks : tuple of str
        What a reader should know: sequences left out, motion.
    """

    images: Mapping[str, Image]
    brain: Mask
    affine: Matrix
    registrations: Mapping[str, Registration]
    remarks: tuple[str, ...]


def prepare(sequences: Sequences) -> Prepared:
    """Return the sequences on the model grid.

    Raises
    ------
    Unfit
        No brain is found in the reference, or its slices are torn apart by motion.
    """
    reference = sequences.volumes[sequences.reference]
    others = {name: volume for name, volume in sequences.volumes.items() if name != sequences.reference}
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(others, pool.map(lambda other: register(reference, other), others.values()), strict=True))
    brain, remarks = find_brain(sequences, found)
    remarks += _motion(reference, brain, sequences.reference)
    affine, shape = model_grid(reference, brain)
    mask = _inside(reference, brain, affine, shape)
    images = {sequences.reference: normalised(onto(reference, affine, shape).array, mask)}
    if sequences.reference == "FLAIR" and (void := flaws.cavity_ml(images["FLAIR"], mask)):
        remarks.append(CAVITY.format(void))
    for name, other in others.items():
        image, reason = _other_image(other, found[name], affine, mask)
        if reason:
            remarks.append(f"{name} was left out: {reason}")
        else:
            images[name] = image
    return Prepared(images, mask, affine, found, tuple(remarks))


def find_brain(sequences: Sequences, registrations: Mapping[str, Registration]) -> tuple[Mask, list[str]]:
    """Return the brain on the reference's grid, and a remark where another sequence had to show it.

    Raises
    ------
    Unfit
        Neither the reference nor a registered sequence shows a brain.
    """
    reference = sequences.volumes[sequences.reference]
    brain = extract_brain(reference, sequences.reference)
    if not brain.reason:
        return brain.mask, []
    for name, registration in registrations.items():
        other = sequences.volumes[name]
        seen = extract_brain(other, name) if registration.accepted else None
        if seen is not None and not seen.reason:
            moved = Grid(seen.mask.astype(np.float32), np.linalg.inv(registration.matrix) @ other.affine)
            mask = onto(moved, reference.affine, reference.shape_kji).array > 0.5
            return mask, [f"the brain was found in {name}; in {sequences.reference}: {brain.reason}"]
    raise Unfit(f"no brain could be prepared from {sequences.reference}: {brain.reason}")


def model_grid(reference: Grid, brain: Mask) -> tuple[Matrix, tuple[int, int, int]]:
    """Return affine and shape (k, j, i) of the model grid: around the brain, along the world."""
    places = reference.world_mm(np.argwhere(brain & ~ndimage.binary_erosion(brain)))
    margin = MARGIN_MM + max(reference.spacing_mm) / 2
    low, high = np.floor(places.min(axis=0) - margin), np.ceil(places.max(axis=0) + margin)
    affine = np.diag([MODEL_MM, MODEL_MM, MODEL_MM, 1.0])
    affine[:3, 3] = low
    i, j, k = (int(n) for n in (high - low) / MODEL_MM + 1)
    return affine, (k, j, i)


def back_onto(reference: Grid, values: Image, affine: Matrix) -> Image:
    """Return values of the model grid, as a probability, on the reference's own grid: linear, 0 outside.

    Where the reference's voxels are larger than the model's, a voxel gets the mean over its extent, so that a lesion's
    volume is kept.

    Parameters
    ----------
    values : float32 [k, j, i]
        On the model grid that `affine` places.
    """
    layers = [max(1, round(step / MODEL_MM)) for step in reference.spacing_mm]
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in layers]
    total = np.zeros(reference.shape_kji, np.float32)
    matrix = (np.linalg.inv(affine) @ reference.affine)[:3]
    for offset in np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3):
        start = matrix[::-1, 3] + matrix[::-1, 2::-1] @ offset
        total += ndimage.affine_transform(
            values, matrix[::-1, 2::-1], offset=start, output_shape=reference.shape_kji, order=1, mode="grid-constant"
        )
    return np.asarray(total / np.float32(np.prod(layers)))


def labels_back_onto(reference: Grid, labels: NDArray[np.int32], affine: Matrix) -> NDArray[np.int32]:
    """Return labels of the model grid on the reference's own grid: a voxel goes to the label that fills half of it."""
    found = np.zeros(reference.shape_kji, np.int32)
    best = np.full(reference.shape_kji, 0.5, np.float32)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        wider = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in box)
        corner = affine.copy()
        corner[:3, 3] += affine[:3, :3] @ [wider[axis].start for axis in (2, 1, 0)]
        filled = _back_onto_part(reference, (labels[wider] == number).astype(np.float32), corner)
        if filled is not None:
            place, share = filled
            better = share >= best[place]
            best[place][better], found[place][better] = share[better], number
    return found


def _back_onto_part(reference: Grid, values: Image, affine: Matrix) -> tuple[tuple[slice, ...], Image] | None:
    """Return which part of the reference's grid a small piece of the model grid covers, and its values there."""
    piece = Grid(values, affine)
    corners = np.array(np.meshgrid(*((0, n) for n in values.shape), indexing="ij")).reshape(3, -1).T
    index = reference.index_kji(piece.world_mm(corners))
    low = np.maximum(np.floor(index.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 2, reference.shape_kji)
    if (low >= high).any():
        return None
    place = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    moved = reference.affine.copy()
    moved[:3, 3] = reference.world_mm(low)
    return place, back_onto(Grid(reference.array[place], moved), values, affine)


def normalised(image: Image, brain: Mask) -> Image:
    """Return an image without bias field, scaled by median and spread of the brain, clipped, 0 outside the brain."""
    inside = image[brain]
    if inside.size == 0 or np.ptp(inside) == 0:
        return np.zeros_like(image)
    flat = image / bias_field(image, brain)
    low, middle, high = (float(v) for v in np.percentile(flat[brain], (25, 50, 75)))
    spread = max((high - low) / 1.349, 1e-3 * abs(middle), 1e-6)
    scaled = np.clip((flat - middle) / spread, *CLIP)
    return np.where(brain, scaled, 0).astype(np.float32)


def bias_field(image: Image, brain: Mask) -> Image:
    """Return the smooth field that the image is brighter by, about 1, by N4 (Tustison et al., IEEE TMI 2010)."""
    affine = np.diag([MODEL_MM, MODEL_MM, MODEL_MM, 1.0])
    full = to_itk(np.maximum(image, 0), affine)
    small = sitk.Cast(shrunk(full, BIAS_MM), sitk.sitkFloat32)
    where = shrunk(to_itk((brain & (image > 0)).astype(np.float32), affine), BIAS_MM) > 0.7
    if int(sitk.GetArrayViewFromImage(where).sum()) < 200:
        return np.ones_like(image)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([20, 20])
    corrector.SetNumberOfThreads(1)
    corrector.Execute(small, where)
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(full))
    return np.asarray(np.exp(np.clip(field, -1.5, 1.5)), np.float32)


def _inside(reference: Grid, brain: Mask, affine: Matrix, shape: tuple[int, int, int]) -> Mask:
    """Return the brain on the model grid."""
    soft = onto(Grid(brain.astype(np.float32), reference.affine), affine, shape)
    mask = soft.array > 0.5
    if not mask.any():
        raise Unfit("the brain is thinner than the voxels it is to be analysed in")
    return mask


def _other_image(other: Grid, found: Registration, affine: Matrix, brain: Mask) -> tuple[Image, str]:
    """Return another sequence on the model grid, or why it is left out."""
    if not found.accepted:
        return np.zeros(brain.shape, np.float32), f"registration failed ({found.reason})"
    # the other image's grid, told in the reference's frame: one resampling for geometry and registration together
    in_reference = Grid(other.array, np.linalg.inv(found.matrix) @ other.affine)
    k, j, i = brain.shape
    moved = onto(in_reference, affine, (k, j, i), outside=float("nan")).array
    shown = np.isfinite(moved)
    covered = float((brain & shown).sum() / brain.sum())
    if covered < MIN_COVERED:
        return moved, f"it shows only {covered:.0%} of the brain"
    return np.where(shown, normalised(np.nan_to_num(moved), brain & shown), 0).astype(np.float32), ""


def _motion(reference: Grid, brain: Mask, name: str) -> list[str]:
    """Return a remark on slices that differ by more than anatomy does, or refuse them where it is gross."""
    jump = slice_jump(reference.array, brain)
    if jump > TORN:
        raise Unfit(f"the slices of {name} are torn apart, as by motion (brightness jumps by {jump:.0%})")
    if jump > SHAKEN:
        return [f"the slices of {name} differ in brightness by {jump:.0%}, as by motion: read the result with care"]
    return flaws.remarks(reference.array, brain, name)


def slice_jump(array: Image, brain: Mask) -> float:
    """Return how much the brain's median brightness jumps between neighbouring slices, as a part of it.

    A smooth change along the stack (anatomy, coil) does not count: each slice is held against the mean of its two
    neighbours.
    """
    large = np.flatnonzero(brain.sum(axis=(1, 2)) > 0.25 * brain.sum(axis=(1, 2)).max())
    if large.size < 5:
        return 0.0
    medians = np.array([np.median(array[k][brain[k]]) for k in large])
    between = np.abs(medians[1:-1] - (medians[:-2] + medians[2:]) / 2)
    return float(np.percentile(between, 75) / max(abs(float(np.median(medians))), 1e-6))
