"""Lesions in a prepared brain: probability by sliding window, then separate lesions.

Works on plain arrays on the model grid (1 mm, [k, j, i]); knows nothing of DICOM or of world coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from pipelines.brain_lesions.fields import Array, Bools
from pipelines.brain_lesions.net import SEQUENCES, LesionNet

WINDOW = 96
STEP = 64
TOUCHING = np.ones((3, 3, 3))
REACH, MIN_RING = 5, 20
"""How far around a lesion the white matter is measured (voxels), and on how many voxels at least."""
SURELY_NONE, FLUID = 0.1, -1.5
"""Probability below which a voxel is no lesion, normalised FLAIR below which it is fluid."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts as a lesion (`choose.py` measures these).

    Attributes
    ----------
    threshold : float
        Least probability of its voxels.
    min_voxels : int
        Least size, in voxels of 1 mm3.
    peak : float
        Least probability of its most probable voxel.
    rise : float
        Least brightness on FLAIR of its voxels: this part of the way from the white matter around to its brightest.
    """

    threshold: float = 0.5
    min_voxels: int = 10
    peak: float = 0.9
    rise: float = 0.4


SHIPPED = Rule()
"""The operating point, chosen on patient19, variants of it, and generated brains."""


def probabilities(images: Mapping[str, Array], brain: Bools, network: LesionNet) -> dict[str, Array]:
    """Return the probability of each class per voxel, 0 outside the brain.

    Parameters
    ----------
    images : float32 [k, j, i] by sequence name
        Normalised inside the brain, 0 outside; what there is of the four.
    brain : bool [k, j, i]
    network : LesionNet

    Returns
    -------
    dict of float32 [k, j, i]
        By the names of the network's classes.
    """
    if not brain.any():
        return {name: np.zeros(brain.shape, np.float32) for name in network.classes}
    present = torch.tensor([[name in images for name in SEQUENCES]])
    pads = [(8, max(8, WINDOW - 8 - n)) for n in brain.shape]
    blank = np.zeros(brain.shape, dtype=np.float32)
    whole = torch.from_numpy(np.stack([np.pad(images.get(name, blank), pads) for name in SEQUENCES]))
    total, weights = torch.zeros((len(network.classes), *whole.shape[1:])), torch.zeros(whole.shape[1:])
    bell = _bell()
    for window in _windows(tuple(whole.shape[1:]), np.pad(brain, pads)):
        answer = _answer(network, whole[(slice(None), *window)][None], present)
        total[(slice(None), *window)] += answer * bell
        weights[window] += bell
    k, j, i = (slice(8, 8 + n) for n in brain.shape)
    mean = (total / weights.clamp_min(1e-6))[:, k, j, i].numpy()
    return {name: np.where(brain, mean[n], 0).astype(np.float32) for n, name in enumerate(network.classes)}


def _bell() -> Tensor:
    """Return the weight of each voxel of a window: highest in the middle."""
    line = torch.exp(-0.5 * ((torch.arange(WINDOW) - (WINDOW - 1) / 2) / (WINDOW / 5)) ** 2)
    return line[:, None, None] * line[None, :, None] * line[None, None, :] + 1e-4


def _windows(shape: tuple[int, ...], brain: Bools) -> Iterator[tuple[slice, ...]]:
    """Yield overlapping windows that cover the brain."""
    starts = [sorted({*range(0, n - WINDOW, STEP), n - WINDOW}) for n in shape]
    for corner in product(*starts):
        window = tuple(slice(c, c + WINDOW) for c in corner)
        if brain[window].any():
            yield window


def _answer(network: LesionNet, images: Tensor, present: Tensor) -> Tensor:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits: Tensor = network(images, present)
    return torch.sigmoid(logits.float())[0]


def lesions(probability: Array, images: Mapping[str, Array], brain: Bools, rule: Rule = SHIPPED) -> NDArray[np.int32]:
    """Return the lesions numbered from 1 (0: none), int32 [k, j, i]; touching voxels (26 neighbours) are one lesion.

    Parameters
    ----------
    probability : float32 [k, j, i]
        Of class lesion, from `probabilities`.
    images : float32 [k, j, i] by sequence name
        As given to `probabilities`: what is darker on FLAIR than the brain's median is no lesion.
    """
    mask = _trimmed((probability > rule.threshold) & brain, probability, images["FLAIR"], brain, rule.rise)
    labels, n = ndimage.label(mask, TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    light = np.bincount(labels.ravel(), weights=images["FLAIR"].ravel(), minlength=n + 1)
    peaks = np.asarray(ndimage.maximum(probability, labels, np.arange(n + 1)))
    wanted = (sizes >= rule.min_voxels) & (light > 0) & (peaks >= rule.peak)
    wanted[0] = False
    numbers = np.zeros(n + 1, dtype=np.int32)
    numbers[wanted] = np.arange(1, int(wanted.sum()) + 1)
    return np.asarray(numbers[labels], dtype=np.int32)


def _trimmed(mask: Bools, probability: Array, flair: Array, brain: Bools, rise: float) -> Bools:
    """Return the mask without the faint rim of each lesion: the network's outlines are wider than readers' are."""
    if rise <= 0:
        return mask
    labels, _ = ndimage.label(mask, TOUCHING)
    smooth = ndimage.gaussian_filter(flair, 0.5)
    around = brain & (probability < SURELY_NONE) & (flair > FLUID)
    kept = mask.copy()
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        wide = tuple(slice(max(0, part.start - REACH - 1), part.stop + REACH + 1) for part in box)
        lesion = labels[wide] == number
        ring = ndimage.binary_dilation(lesion, iterations=REACH) & around[wide]
        if ring.sum() >= MIN_RING:
            low, high = float(np.median(smooth[wide][ring])), float(np.percentile(smooth[wide][lesion], 90))
            kept[wide] &= ~(lesion & (smooth[wide] < low + rise * (high - low)))
    return kept
