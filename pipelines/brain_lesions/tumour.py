"""Tumour in a prepared brain: enhancing and necrotic parts and oedema, by a network of its own on a grid of 2 mm.

Works on plain arrays on the model grid (1 mm, [k, j, i]), as `detect.py` does; knows nothing of DICOM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from pipelines.brain_lesions.detect import TOUCHING, probabilities
from pipelines.brain_lesions.fields import Array, Bools, halved
from pipelines.brain_lesions.net import TUMOUR_CLASSES, LesionNet


@dataclass(frozen=True, slots=True)
class TumourRule:
    """What counts as a tumour (`evaluate_tumour.py` measures these).

    Attributes
    ----------
    threshold : float
        Least probability of one of the classes in each of its voxels.
    peak : float
        Least probability of enhancing or necrotic in its most probable voxel.
    core_ml : float
        Least volume that enhances or is necrotic: without it nothing is told, so that lesions of white matter and
        vascular changes are not called oedema.
    """

    threshold: float = 0.3
    peak: float = 0.8
    core_ml: float = 0.3


SHIPPED = TumourRule()


def tumour_probabilities(images: Mapping[str, Array], brain: Bools, network: LesionNet) -> dict[str, Array]:
    """Return the probability of each of `TUMOUR_CLASSES` per voxel of the model grid, 0 outside the brain.

    Parameters
    ----------
    images : float32 [k, j, i] by sequence name
        Normalised inside the brain, 0 outside.
    brain : bool [k, j, i]
    network : LesionNet
        With those classes.
    """
    small = {name: halved(image) for name, image in images.items()}
    found = probabilities(small, halved(brain.astype(np.float32)) > 0.5, network)
    return {name: np.where(brain, doubled(found[name], brain.shape), 0).astype(np.float32) for name in TUMOUR_CLASSES}


def doubled(array: Array, shape: tuple[int, ...]) -> Array:
    """Return values on the grid of `shape` that `halved` made this one of, interpolated linearly."""
    whole = functional.interpolate(torch.from_numpy(array)[None, None], scale_factor=2.0, mode="trilinear")
    k, j, i = shape
    return np.asarray(whole[0, 0, :k, :j, :i].numpy())


def tumour_parts(
    probability: Mapping[str, Array], rule: TumourRule = SHIPPED, voxel_ml: float = 0.001
) -> dict[str, Bools]:
    """Return the parts of the tumours by the names of `TUMOUR_CLASSES`, bool [k, j, i]; all empty where there is none.

    Each voxel belongs to its most probable class; touching voxels (26 neighbours) are one tumour.
    """
    stacked = np.stack([probability[name] for name in TUMOUR_CLASSES])
    best = stacked.argmax(axis=0)
    labels, count = ndimage.label(stacked.max(axis=0) > rule.threshold, TOUCHING)
    core = (labels > 0) & (best < TUMOUR_CLASSES.index("oedema"))
    volumes = np.bincount(labels[core], minlength=count + 1) * voxel_ml
    peaks = np.zeros(count + 1)
    np.maximum.at(peaks, labels[core], stacked[:2].max(axis=0)[core])
    wanted = (volumes >= rule.core_ml) & (peaks >= rule.peak)
    wanted[0] = False
    kept = wanted[labels]
    return {name: kept & (best == n) for n, name in enumerate(TUMOUR_CLASSES)}
