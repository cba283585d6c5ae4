"""The frame round a scanned film or a collimated image: lines at its edge of one bright or one dark grey, no tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BRIGHT, DARK = 0.9, 0.01
"""Parts of the image's range above and below which pixels of a frame lie; the air of film is brighter than black."""
SOLID = 0.8
"""Part of a line that must be so bright: tissue is not, along a whole side of an image.

A dark line is dark all along."""
DEEPEST = 0.15
"""Of the image's size: how far from its edge a frame ends at the latest; what is alike farther in is air."""
BLUR = 2
"""Lines beside a bright frame that are grey from scanning and go with it."""


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
    for turns in range(4):
        depth = _depth(np.rot90(image, turns), low, high - low)
        np.rot90(found, turns)[:depth] = True
    return found


def _depth(image: NDArray[np.float32], low: float, span: float) -> int:
    """Return how many rows from the top are frame: to the last bright one, and dark ones that go on from there."""
    rows = image[: max(1, int(DEEPEST * image.shape[0]))]
    bright = (rows > low + BRIGHT * span).mean(axis=1) > SOLID
    dark = np.asarray((rows <= low + DARK * span).all(axis=1), dtype=np.bool_)  # any tissue in a line ends it
    depth = int(np.flatnonzero(bright)[-1]) + 1 + BLUR if bright.any() else 0
    depth += int(np.argmin(np.append(dark[depth:], False)))
    return depth if depth < len(rows) else 0
