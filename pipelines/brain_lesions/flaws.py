"""What a reader must know of the images: slices torn by motion, cavities as surgery leaves them. Measured, not guessed.

Thresholds stand above what the real brains of open-ms show at 1, 3 and 5 mm (README.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

MISFIT = 0.08
"""How much less a slice must resemble its neighbours than those around it do (correlation), to be torn out of place."""
SPREADS = 6.0
"""The same in robust spreads of the volume's own slices; both must be passed."""
JUMP = 0.15
"""How much a slice's brightness must differ from its neighbours', as a part of it."""
DARK = -2.5
"""In robust spreads of the normalised FLAIR: fluid or air."""
CORE_MM = 6
"""A cavity holds a ball of this radius; sulci and most ventricles do not."""
CAVITY_ML = 4.0
MIRRORED = 0.3
"""Least part of a cavity that has a dark counterpart on the other side, if it is anatomy."""
TOLERANCE_MM = 8


def odd_slices(array: Image, brain: Mask) -> list[int]:
    """Return the slices (k) that fit their neighbours so badly that the patient must have moved.

    Slices of 5 mm differ so much that only a difference of brightness is seen in them, no shift.

    Parameters
    ----------
    array : float32 [k, j, i]
        As acquired: k from slice to slice.
    brain : bool [k, j, i]
    """
    areas = brain.sum(axis=(1, 2))
    large = np.flatnonzero(areas > 0.4 * areas.max())
    if large.size < 7:
        return []
    shown = [k for k in range(int(large[0]) + 1, int(large[-1])) if areas[k - 1 : k + 2].min() > 0]
    likeness, levels = (np.array(one) for one in zip(*(_fit(array, brain, k) for k in shown), strict=True))
    odd = _outlying(-likeness, MISFIT) | _outlying(levels, JUMP)
    return [k for k, one in zip(shown, odd, strict=True) if one]


def _fit(array: Image, brain: Mask, k: int) -> tuple[float, float]:
    """Return how a slice resembles the mean of its neighbours, and by which part its brightness differs from it."""
    inside = brain[k] & brain[k - 1] & brain[k + 1]
    here, between = array[k][inside], (array[k - 1][inside] + array[k + 1][inside]) / 2
    if here.size < 50 or np.ptp(here) == 0 or np.ptp(between) == 0:
        return 1.0, 0.0
    level = float(np.median(between))
    difference = abs(float(np.median(here)) - level) / max(abs(level), 1e-6)
    return float(np.corrcoef(here, between)[0, 1]), difference


def _outlying(values: Floats, least: float) -> NDArray[np.bool_]:
    """Return which values stand out of those around them by `least` and by the spread of all."""
    apart = values - ndimage.median_filter(values, 9, mode="nearest")
    spread = 1.4826 * float(np.median(np.abs(apart)))
    return np.asarray(apart > max(least, SPREADS * spread))


def cavity_ml(flair: Image, brain: Mask) -> float:
    """Return the volume of the largest dark cavity without a counterpart on the other side, mL; 0 for none.

    Parameters
    ----------
    flair : float32 [k, j, i]
        Normalised, on the model grid of 1 mm, i from right to left.
    brain : bool [k, j, i]
    """
    dark = brain & (ndimage.uniform_filter(flair, 3) < DARK)
    depth = ndimage.distance_transform_edt(dark)
    inside = depth > CORE_MM
    if not inside.any():
        return 0.0
    labels, n = ndimage.label(inside)
    far, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    cavity = np.where(dark & (far <= CORE_MM), labels[tuple(nearest)], 0)
    # a smaller cavity is counterpart enough; sulci are none, they are everywhere
    smaller = ndimage.distance_transform_edt(depth <= CORE_MM / 2) <= CORE_MM / 2 + TOLERANCE_MM
    mirror = _mirrored(smaller, brain)
    sizes, doubled = (np.bincount(cavity[where], minlength=n + 1)[1:] for where in (brain, mirror & brain))
    largest = float(sizes[doubled < MIRRORED * sizes].max(initial=0)) / 1000
    return largest if largest >= CAVITY_ML else 0.0


def _mirrored(mask: Mask, brain: Mask) -> Mask:
    """Return a mask with left and right exchanged about the brain's middle."""
    middle = float(np.nonzero(brain)[2].mean())
    columns = np.round(2 * middle - np.arange(mask.shape[2])).astype(int)
    shown = (columns >= 0) & (columns < mask.shape[2])
    return np.asarray(mask[:, :, columns.clip(0, mask.shape[2] - 1)] & shown)


def remarks(array: Image, brain: Mask, name: str) -> list[str]:
    """Return the remark on slices out of place in the sequence `name`, if there are any."""
    odd = odd_slices(array, brain)
    if not odd:
        return []
    told = ", ".join(str(k + 1) for k in odd[:8]) + (" ..." if len(odd) > 8 else "")
    one = "slice" if len(odd) == 1 else "slices"
    return [
        f"{len(odd)} {one} of {name} ({told}, from the first) do not fit their neighbours, as by motion or artefact"
    ]
