"""What FLAIR itself says of a change: where it became brighter or darker since the earlier study.

The network draws the same lesion a little differently each time, and misses a faint one now and then. Two images of
one brain, laid over each other, tell more than two outlines: what was there before was as bright then as it is now.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.brain_lesions.detect import TOUCHING
from pipelines.brain_lesions.fields import Array, Bools

SLOW_MM, SMOOTH_MM = 12.0, 1.0
LEAST_GAIN = 0.7
"""From where on a voxel became brighter: spreads of the brain's own brightness. Lesions of patient19 above 100 mm3
stand out by 1.4 to 1.9; unchanged generated brains, lying differently, differ by 0.3 to 1 in a voxel of a thousand."""
NOTICED = 0.2
"""Probability of its surest voxel from which on a place that became brighter is a lesion."""
PLAIN_GAIN, HINT = 2.0, 0.01
"""The same where it became much brighter: 1.6 is the most that unchanged generated brains differ by in 20 mm3."""
MIN_VOXELS = 10


def gain(now: Array, then: Array, both: Bools) -> Array:
    """Return how much brighter FLAIR became, float32 [k, j, i], 0 outside `both`; slow differences are left out.

    Parameters
    ----------
    now, then : float32 [k, j, i]
        Normalised FLAIR of both studies on one grid of 1 mm.
    both : bool [k, j, i]
        What both brains show.
    """
    inside = both.astype(np.float32)
    difference = np.where(both, now - then, 0).astype(np.float32)
    # a lesion must not count as part of the slow difference that it stands on
    difference -= _mean(np.clip(difference, -1, 1), inside, SLOW_MM)
    return np.asarray(_mean(difference, inside, SMOOTH_MM) * inside, dtype=np.float32)


def _mean(image: Array, inside: Array, sigma: float) -> Array:
    """Return the mean about each voxel over what is inside."""
    weight = ndimage.gaussian_filter(inside, sigma, truncate=3)
    return np.asarray(ndimage.gaussian_filter(image * inside, sigma, truncate=3) / np.maximum(weight, 0.05), np.float32)


def with_appeared(labels: NDArray[np.int32], probability: Array, gained: Array) -> NDArray[np.int32]:
    """Return the current lesions with what became brighter and may be lesion: faint ones too, to half their brightness.

    Parameters
    ----------
    labels : int32 [k, j, i]
        Lesions found without an earlier study. What joins one of them takes its number.
    probability : float32 [k, j, i]
        Of lesion, in the current study.
    gained : float32 [k, j, i]
        From `gain`.
    """
    parts, _ = ndimage.label(gained > LEAST_GAIN, TOUCHING)
    found = labels.copy()
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        peak = float(gained[box][part].max())
        if probability[box][part].max() < (HINT if peak >= PLAIN_GAIN else NOTICED):
            continue
        part &= gained[box] >= peak / 2
        if part.sum() >= MIN_VOXELS:
            there = found[box]
            there[part & (there == 0)] = _number(there[part], int(found.max()))
    return found


def _number(labels: NDArray[np.int32], last: int) -> int:
    """Return the label that a part lies on most, or the next free one."""
    counts = np.bincount(labels[labels > 0])
    return int(counts.argmax()) if counts.size else last + 1
