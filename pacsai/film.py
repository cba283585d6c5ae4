"""The bright frame round a scanned film or a collimated image: lines at the edge of one bright grey, no tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BRIGHT = 0.9
"""Part of the image's range above which a pixel of a frame lies."""
SOLID = 0.8
"""Part of a line's pixels that must be so bright: tissue is not, along a whole side of an image."""
DEEPEST = 0.15
"""Of the image's size: how far from its edge a frame ends at the latest."""
BLUR = 2
"""Lines beside the frame that are grey from scanning and go with it."""


def frame(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where the frame is, bool [j, i]; nowhere for most images.

    Parameters
    ----------
    image : float32 [j, i]
        Larger where brighter.
    """
    found = np.zeros(image.shape, dtype=np.bool_)
    low, high = float(image.min()), float(image.max())
    if not high > low:
        return found
    bright = image > low + BRIGHT * (high - low)
    for turns in range(4):
        depth = _depth(np.rot90(bright, turns))
        np.rot90(found, turns)[:depth] = True
    return found


def _depth(bright: NDArray[np.bool_]) -> int:
    """Return how many rows from the top are frame, whatever narrow dark line lies outside it."""
    rows = bright[: max(1, int(DEEPEST * bright.shape[0]))].mean(axis=1) > SOLID
    return int(np.flatnonzero(rows)[-1]) + 1 + BLUR if rows.any() and not rows.all() else 0
