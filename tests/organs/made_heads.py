"""Generated heads of any contrast, to train brain extraction on: label maps, then random intensities for each label.

The idea is SynthStrip's (Hoopes et al., NeuroImage 2022): a network that has seen every contrast needs to know none.
Brains are a real one (open-ms, patient19) in random shape; skull, scalp, face and neck are made around it. Nothing here
is used when images are analysed. Arrays run [k, j, i] to the head, the back and the patient's left, voxels of 4 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

VOXEL_MM = 4.0
SHAPE_KJI = (56, 64, 48)
STEP = VOXEL_MM / 3.0
"""Of the coordinates that shapes are drawn in: they count in 3 mm."""
AIR, CSF, GREY, WHITE, MENINGES, BONE, MARROW, FAT, MUSCLE, EYE, CORD, CAVITY = range(12)
FIRST_PATCH = 12
"""Labels from here on are patches of soft tissue in face and neck."""
PATCHES = 6
CONTRASTS = {
    "T1": (0.02, 0.15, 0.50, 0.78, 0.30, 0.06, 0.6, 0.95, 0.45, 0.15, 0.7, 0.02),
    "T1C": (0.02, 0.15, 0.45, 0.60, 0.85, 0.06, 0.6, 1.0, 0.55, 0.2, 0.6, 0.02),
    "T2": (0.02, 1.0, 0.60, 0.42, 0.50, 0.05, 0.5, 0.7, 0.25, 1.0, 0.45, 0.02),
    "FLAIR": (0.02, 0.10, 0.75, 0.58, 0.35, 0.05, 0.4, 0.6, 0.35, 0.15, 0.6, 0.02),
}
"""About how bright each label is, before everything is varied."""

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """An image of a generated head, or of something that is none, and its brain."""

    image: Image
    brain: Mask


def real_brain(folder: Path) -> Labels:
    """Return the tissues of a stripped brain (`flair.nii.gz`, `t1.nii.gz`) in voxels of 4 mm (CSF, GREY, WHITE, 0)."""
    import nibabel

    flair, t1 = (
        np.asarray(nibabel.load(folder / f"{n}.nii.gz").dataobj, np.float32).T[:, ::-1] for n in ("flair", "t1")
    )
    inside = ndimage.binary_fill_holes(ndimage.binary_closing(flair != 0, iterations=4))
    labels = np.where(inside, CSF, 0).astype(np.uint8)
    tissue = inside & (flair > 0.6 * np.median(flair[flair != 0]))
    middle = float(np.median(t1[tissue]))
    labels[tissue] = GREY
    labels[tissue & (t1 > middle)] = WHITE
    return np.asarray(ndimage.zoom(labels, 1 / VOXEL_MM, order=0), dtype=np.uint8)


def _coordinates() -> tuple[NDArray[np.float64], ...]:
    """Return k, j, i of the grid's voxels in units of 3 mm, each along its own axis."""
    k, j, i = (np.arange(n) * STEP for n in SHAPE_KJI)
    return k[:, None, None], j[None, :, None], i[None, None, :]


def generated_head(brain: Labels, seed: int) -> Head:
    """Return a head, or in one of seven cases something that is no head; all of it follows from `seed`."""
    return photographed(generated_labels(brain, seed), seed)


def generated_labels(brain: Labels, seed: int) -> tuple[Labels, Mask]:
    """Return the labels of a head, or of no head, and where its brain is."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.15:
        return _no_head(rng), np.zeros(SHAPE_KJI, np.bool_)
    tissues = _reshaped(brain, rng)
    inside = tissues > 0
    return _with_lesions(_around(tissues, rng), inside, rng), inside


def photographed(labels: tuple[Labels, Mask], seed: int) -> Head:
    """Return an image of labels, in a contrast and a field of view that follow from `seed`."""
    rng = np.random.default_rng((seed, 1))
    return _with_its_field(Head(_image(labels[0], rng), labels[1]), rng)


def _reshaped(brain: Labels, rng: np.random.Generator) -> Labels:
    """Return the brain turned, scaled, bent and moved, on the grid of the head."""
    scale = rng.uniform(0.98, 1.25) * rng.uniform(0.92, 1.08, 3)
    turn = Rotation.from_euler("xyz", rng.normal(0, (9, 7, 9)), degrees=True).as_matrix()
    matrix = turn @ np.diag(1 / scale)
    if rng.random() < 0.5:
        matrix[:, 2] *= -1  # mirrored
    place = np.array(SHAPE_KJI) / 2 + (rng.uniform(4, 9), rng.uniform(-2, 3), rng.uniform(-3, 3))
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE_KJI), indexing="ij")).astype(np.float32)
    bent = grid + _smooth_field(rng, 3, 8, rng.uniform(0, 1.2))
    flat = (bent.reshape(3, -1) - place[:, None]).T @ matrix.T + np.array(brain.shape) / 2
    sampled = ndimage.map_coordinates(brain, flat.T, order=0)
    return np.asarray(sampled.reshape(SHAPE_KJI), dtype=np.uint8)


def _smooth_field(rng: np.random.Generator, channels: int, every: int, size: float) -> Image:
    """Return smooth random fields of standard deviation `size` that vary over about `every` voxels."""
    coarse = rng.normal(0, size, (channels, *(n // every + 3 for n in SHAPE_KJI)))
    zoom = [1.0] + [n / (c - 2) for n, c in zip(SHAPE_KJI, coarse.shape[1:], strict=True)]
    fine = ndimage.zoom(coarse, zoom, order=1)
    return np.asarray(fine[:, : SHAPE_KJI[0], : SHAPE_KJI[1], : SHAPE_KJI[2]], dtype=np.float32)


def _around(tissues: Labels, rng: np.random.Generator) -> Labels:
    """Return the labels of the whole head around a brain."""
    inside = tissues > 0
    hull = ndimage.distance_transform_edt(~inside)
    closed = ndimage.distance_transform_edt(hull <= 3) > 3
    beyond = ndimage.distance_transform_edt(~(closed | inside)) * VOXEL_MM + _smooth_field(rng, 1, 12, 1.0)[0]
    labels = _body_below(tissues, rng)
    gap, skull, scalp = rng.uniform(0.5, 4), rng.uniform(4, 9), rng.uniform(3, 11)
    shell = beyond <= gap + skull + scalp
    labels[shell] = np.where(rng.random() < 0.8, FAT, MUSCLE)
    labels[beyond <= gap + skull + 0.35 * scalp] = MUSCLE if rng.random() < 0.4 else FAT
    labels[beyond <= gap + skull] = BONE
    if rng.random() < 0.6:
        labels[(beyond <= gap + 0.7 * skull) & (beyond > gap + 0.3 * skull)] = MARROW
    labels[beyond <= gap] = CSF if rng.random() < 0.6 else MENINGES
    labels[(closed | inside) & ~inside] = CSF if rng.random() < 0.7 else MENINGES
    return _stem(np.where(inside, tissues, labels).astype(np.uint8), tissues, rng)


def _body_below(tissues: Labels, rng: np.random.Generator) -> Labels:
    """Return face and neck: ellipsoids filled with random patches, cavities and eyes."""
    k, j, i = _coordinates()
    ck, cj, ci = (float(c) * STEP for c in ndimage.center_of_mass(tissues > 0))
    wide = rng.uniform(0.85, 1.1)
    face = ((i - ci) / (22 * wide)) ** 2 + ((j - cj + 14) / 20) ** 2 + ((k - ck + 22) / rng.uniform(18, 27)) ** 2 < 1
    neck = ((i - ci) / (19 * wide)) ** 2 + ((j - cj - 4) / rng.uniform(16, 23)) ** 2 < 1
    body = face | (neck & (k < ck - 4))
    labels = np.where(body, FIRST_PATCH + _patches(rng), AIR).astype(np.uint8)
    rim = body & (ndimage.distance_transform_edt(body) * VOXEL_MM < rng.uniform(2, 8))
    labels[rim] = FAT
    for side in (-1, 1):
        centre = (ck - rng.uniform(9, 13), cj - rng.uniform(25, 29), ci + side * rng.uniform(9, 12))
        far = np.sqrt((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2)
        labels[body & (far < 7)] = FAT
        labels[body & (far < 4.2)] = EYE
    nose = ((i - ci) / 5) ** 2 + ((j - cj + 24) / 10) ** 2 + ((k - ck + 20) / 9) ** 2 < 1
    labels[nose & body & (rng.random() < 0.8)] = CAVITY
    return labels


def _patches(rng: np.random.Generator) -> Labels:
    """Return smooth random patches of `PATCHES` kinds."""
    return np.asarray(_smooth_field(rng, PATCHES, int(rng.integers(3, 8)), 1.0).argmax(axis=0), dtype=np.uint8)


def _stem(labels: Labels, tissues: Labels, rng: np.random.Generator) -> Labels:
    """Return labels with a spinal cord in its canal below the brain's lowest part."""
    occupied = np.flatnonzero((tissues > 0).any(axis=(1, 2)))
    lowest = int(occupied[0])
    cj, ci = (float(c) * STEP for c in ndimage.center_of_mass(tissues[lowest : lowest + 2].any(axis=0)))
    k, j, i = _coordinates()
    bend = rng.normal(0, 0.15)
    far = np.sqrt((j - cj - bend * (lowest * STEP - k)) ** 2 + (i - ci) ** 2)
    below = (k < (lowest + 2) * STEP) & (tissues == 0)
    for radius, label in ((7.0, BONE), (3.6, CSF), (2.0, CORD)):
        labels[below & (far < radius) & (labels != AIR)] = label
    return labels


def _with_lesions(labels: Labels, inside: Mask, rng: np.random.Generator) -> Labels:
    """Return labels where a lump in the brain, a lesion or a cavity, may have another one."""
    changed = labels.copy()
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.5 else 0):
        places = np.argwhere(inside)
        centre = places[rng.integers(len(places))]
        k, j, i = (axis - c * STEP for axis, c in zip(_coordinates(), centre, strict=True))
        lump = k**2 + j**2 + i**2 < rng.uniform(1, 6) ** 2
        changed[lump & inside] = int(rng.integers(0, FIRST_PATCH + PATCHES))
    return changed


def _no_head(rng: np.random.Generator) -> Labels:
    """Return a trunk, a limb or a neck of random patches, with bones, tubes and air in it."""
    k, j, i = (axis - n * STEP / 2 for axis, n in zip(_coordinates(), SHAPE_KJI, strict=True))
    body = np.zeros(SHAPE_KJI, np.bool_)
    for _ in range(int(rng.integers(1, 3))):
        centre = rng.uniform(-12, 12, 2)
        body |= ((j - centre[0]) / rng.uniform(8, 36)) ** 2 + ((i - centre[1]) / rng.uniform(8, 32)) ** 2 < 1 + 0 * k
    labels = np.where(body, FIRST_PATCH + _patches(rng), AIR).astype(np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        centre, radii = rng.uniform(-18, 18, 3), rng.uniform(2, 18, 3)
        lump = ((k - centre[0]) / radii[0]) ** 2 + ((j - centre[1]) / radii[1]) ** 2 + ((i - centre[2]) / radii[2]) ** 2
        labels[body & (lump < 1)] = BONE
        labels[body & (lump < rng.uniform(0.4, 0.95))] = int(rng.integers(0, FIRST_PATCH + PATCHES))
    labels[body & (ndimage.distance_transform_edt(body) * VOXEL_MM < rng.uniform(2, 12))] = FAT
    return labels


def _image(labels: Labels, rng: np.random.Generator) -> Image:
    """Return an image of labels: a contrast near a usual one or any at all, texture, blur, bias field and noise."""
    image = _intensities(rng)[labels]
    image = image * (1 + _smooth_field(rng, 1, 3, rng.uniform(0, 0.08))[0])
    image = image * np.exp(_smooth_field(rng, 1, 30, rng.uniform(0, 0.3))[0])
    blur = np.full(3, rng.uniform(0.2, 0.5))
    if rng.random() < 0.4:
        blur[rng.integers(3)] = rng.uniform(0.5, 1.1)  # thick slices
    image = ndimage.gaussian_filter(image, blur)
    level = rng.uniform(0, 0.07)
    noisy = np.hypot(image + rng.normal(0, level, image.shape), rng.normal(0, level, image.shape))
    return np.asarray(noisy ** rng.uniform(0.75, 1.3), dtype=np.float32)


def _intensities(rng: np.random.Generator) -> Image:
    """Return the brightness of each label."""
    patches = rng.uniform(0.05, 1, PATCHES)
    if rng.random() < 0.35:
        drawn = rng.uniform(0.0, 1.0, FIRST_PATCH)
        drawn[[AIR, CAVITY]] = rng.uniform(0, 0.05)
    else:
        usual = np.array(CONTRASTS[str(rng.choice(list(CONTRASTS)))])
        drawn = usual * rng.uniform(0.7, 1.3, FIRST_PATCH) + rng.uniform(-0.04, 0.04, FIRST_PATCH)
        if rng.random() < 0.3:
            drawn[FAT] *= rng.uniform(0.1, 0.5)  # fat suppressed
    return np.asarray(np.clip(np.concatenate([drawn, patches]), 0, None), dtype=np.float32)


def _with_its_field(head: Head, rng: np.random.Generator) -> Head:
    """Return the head as far as the field of view shows it: cut above or below, without face, without skull."""
    image, brain = head.image.copy(), head.brain.copy()
    fate = rng.random()
    if fate < 0.15:
        image[~ndimage.binary_dilation(brain, iterations=int(rng.integers(1, 3)))] = 0
        image[ndimage.binary_dilation(brain) & ~brain] *= rng.random()
    elif fate < 0.4:
        k, j, _ = _coordinates()
        front = np.argwhere(brain).min(axis=0)[1] * STEP
        plane = (j - front - rng.uniform(0, 6)) + (k - SHAPE_KJI[0] * STEP / 2) * rng.uniform(0.2, 1.0)
        image[(plane < 0) & ~ndimage.binary_dilation(brain, iterations=2) & np.ones(SHAPE_KJI, np.bool_)] = 0
    if rng.random() < 0.5:
        below = int(rng.integers(0, 21))
        image[:below], brain[:below] = 0, False
    if rng.random() < 0.15:
        above = int(rng.integers(SHAPE_KJI[0] - 15, SHAPE_KJI[0]))
        image[above:], brain[above:] = 0, False
    return Head(image, brain)
