"""The pectoral muscle in an oblique mammogram: the bright corner at the chest wall, behind one long edge.

A straight edge is looked for first (every line across the corner, judged by the step over bands on both sides of it),
then bent to the steepest way through the image near that line. Where no edge is steep along most of its length,
none is told: the muscle is not in every oblique view. Knows nothing of headers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.organs.breast import Array, Breast, Mask

POINTS = 48
"""Places along a line at which the step over it is taken."""
NEAR, FAR = 2.0, 9.0
"""From and to how far from the line, on the coarse grid, both sides are averaged."""
BEND = 7
"""How far the edge may bend away from the line, on the coarse grid."""
STEP = 0.04
"""Least step that is one, in parts of the breast that are less dense."""
HELD = 0.45
"""Least part of a line that lies within the breast with both its bands."""
STEEPEST = 8.0
"""Greatest length along the chest wall against the width along the top."""
SURE = 0.065
"""Least confidence with which a muscle is told where one may be expected: the view is known to be oblique."""
CERTAIN = 0.08
"""Least confidence in the upper corner by which a view is told to be oblique; CC views measured up to 0.05 there."""
USUAL = 1.3
"""How much more the upper corner is believed than the lower: images are rarely upside down."""


@dataclass(frozen=True, slots=True, eq=False)
class Pectoral:
    """The muscle on the coarse grid of a `Breast`.

    Attributes
    ----------
    mask : bool [row, column]
    confidence : float
        0 to 1: how much of the edge is a step, and how steep.
    at_top : bool
        The muscle lies in the upper corner, as in the usual orientation; else in the lower.
    """

    mask: Mask
    confidence: float
    at_top: bool


@dataclass(frozen=True, slots=True)
class _Line:
    """From (top row, wall + width) to (top row + length, wall): along the top and along the wall."""

    width: float
    length: float


def pectoral(breast: Breast) -> Pectoral | None:
    """Return the muscle where one is seen with some confidence, in the upper corner or the lower."""
    upper, lower = (_in_corner(breast, at_top=at_top) for at_top in (True, False))
    best = upper if USUAL * upper.confidence >= lower.confidence else lower
    return best if best.confidence >= SURE else None


def corners(breast: Breast) -> tuple[float, float]:
    """Return with how much confidence a muscle is seen in the upper corner, and in the lower."""
    upper, lower = (_in_corner(breast, at_top=at_top).confidence for at_top in (True, False))
    return upper, lower


def _in_corner(breast: Breast, *, at_top: bool) -> Pectoral:
    """Return the best edge of one corner, however weak."""
    image, body = breast.image[:, breast.wall :], breast.body[:, breast.wall :]
    if not at_top:
        image, body = image[::-1], body[::-1]
    rows = np.flatnonzero(body.any(axis=1))
    image, body = image[rows[0] : rows[-1] + 1], body[rows[0] : rows[-1] + 1]
    flat = _flattened(image, body)
    line, confidence = _best_line(flat, body)
    edge = _bent(flat, line)
    inside = np.arange(image.shape[1]) < edge[:, None]
    mask = np.zeros_like(breast.body)
    part = (inside & body) if at_top else (inside & body)[::-1]
    first = rows[0] if at_top else breast.body.shape[0] - 1 - rows[-1]
    mask[first : first + part.shape[0], breast.wall :] = part
    return Pectoral(mask, confidence, at_top)


def _flattened(image: Array, body: Mask) -> Array:
    """Return the grey values spread evenly over the breast, 0 to 1, and smoothed: no curve of a vendor is left."""
    smooth = ndimage.gaussian_filter(np.where(body, image, 0), 1.5) / np.maximum(
        ndimage.gaussian_filter(body.astype(np.float32), 1.5), 0.05
    )
    ordered = np.sort(smooth[body])
    return np.asarray(np.searchsorted(ordered, smooth) / ordered.size, dtype=np.float32)


def _best_line(flat: Array, body: Mask) -> tuple[_Line, float]:
    """Return the line of the most confidence, and that."""
    height, reach = body.shape[0], int(body.any(axis=0).sum())
    held = np.where(body, flat, np.float32(np.nan))
    best, most = _Line(1.0, 1.0), 0.0
    for length in np.linspace(0.15, 1.3, 47) * height:
        widths = np.linspace(0.1, 1.2, 45) * reach
        widths = widths[(length / widths >= 1) & (length / widths <= STEEPEST)]
        if widths.size:
            confidence = _confidence(held, widths, float(length))
            k = int(confidence.argmax())
            if confidence[k] > most:
                best, most = _Line(float(widths[k]), float(length)), float(confidence[k])
    return best, most


def _confidence(held: Array, widths: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Return how sure an edge is for lines of one length: the median step, the part that is a step, the line's length.

    A muscle that fills the axilla leaves the breast at the skin: only the part of its line that lies within counts.
    """
    part = np.linspace(0.04, 0.96, POINTS)
    inside = part[part * length < held.shape[0]]
    inner, outer = (_band(held, inside, widths, length, side) for side in (-1.0, 1.0))
    step = inner - outer
    seen = np.isfinite(step)
    step = np.where(seen.mean(axis=1, keepdims=True) < HELD, 0, step)
    sure = np.nanmedian(step, axis=1) * np.nanmean(step > STEP, axis=1) + np.nanpercentile(step, 20, axis=1) / 2
    share = seen.sum(axis=1) / POINTS * length / held.shape[0]
    return np.asarray(sure * np.sqrt(np.minimum(1.0, share)), dtype=np.float64)


def _band(
    held: Array, part: NDArray[np.float64], widths: NDArray[np.float64], length: float, side: float
) -> NDArray[np.float64]:
    """Return the mean beside each place of each line, [line, place]; not a number where that leaves the breast."""
    across = side * np.linspace(NEAR, FAR, 4)[:, None, None]
    slant = np.hypot(widths, length)[:, None]
    rows = np.rint(part * length + across * widths[:, None] / slant).astype(np.intp)
    columns = np.rint((1 - part) * widths[:, None] + across * length / slant).astype(np.intp)
    rows, columns = (np.clip(x, 0, n - 1) for x, n in zip((rows, columns), held.shape, strict=True))
    return np.asarray(held[rows, columns].mean(axis=0), dtype=np.float64)


def _bent(flat: Array, line: _Line) -> NDArray[np.float64]:
    """Return the column of the edge in each row: the steepest way down that stays near the line; 0 below its end."""
    rows = np.arange(flat.shape[0])
    straight = line.width * (1 - rows / line.length)
    last = int(min(flat.shape[0], np.ceil(line.length)))
    offsets = np.arange(-BEND, BEND + 1)
    fall = -ndimage.gaussian_filter1d(flat, 2.0, axis=1, order=1)
    at = np.clip(np.rint(straight[:last, None] + offsets).astype(np.intp), 0, flat.shape[1] - 1)
    gain = fall[rows[:last, None], at] - 0.002 * np.abs(offsets)
    edge = np.zeros(flat.shape[0])
    edge[:last] = np.clip(straight[:last] + offsets[_steepest_way(gain)], 0, None)
    return edge


def _steepest_way(gain: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the column of each row on the way down of the largest sum that moves one column a row at most."""
    total, came = gain[0].copy(), np.zeros(gain.shape, dtype=np.intp)
    columns = np.arange(gain.shape[1])
    for row in range(1, gain.shape[0]):
        before = np.stack([np.roll(total, 1), total, np.roll(total, -1)])
        before[0, 0] = before[2, -1] = -np.inf
        came[row] = np.clip(columns + before.argmax(axis=0) - 1, 0, columns[-1])
        total = before.max(axis=0) + gain[row]
    way = np.zeros(gain.shape[0], dtype=np.intp)
    way[-1] = int(total.argmax())
    for row in range(gain.shape[0] - 1, 0, -1):
        way[row - 1] = came[row, way[row]]
    return way
