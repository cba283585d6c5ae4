"""One breast in a mammogram, from its pixels alone: outline, side of the chest wall, skin line; or why it is none.

Works on about 400 rows. Every limit below stands beside what was measured on real and generated mammograms and on
real chest X-rays (model card of mammography_cad). Knows nothing of headers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
ROWS = 400
ABOVE_AIR = 0.015
"""Part of the image's range above air from which on a pixel is body."""
FOLD = 3
"""Half the width, on the coarse grid, of dark folds of skin that do not cut the breast in two."""
LEAST_AREA, MOST_AREA = 0.03, 0.9
"""Of the image; mammograms measured 0.16 to 0.62, chest X-rays 0.88 to 1."""
SECOND = 0.4
"""Size of the second largest body against the largest; measured up to 0.06."""
UNEVEN = 0.06
"""Mean departure of the wall from a straight column, in depths of the breast; measured up to 0.04."""
ROUND = 0.2
"""Least part of its depth that the far side bulges; measured from 0.26."""
FLAT = 0.5
"""Most rows in which the far side lies within 4 % of its farthest: breasts up to 0.41, plates and chests 0.48 to 1."""
SOLID = 0.75
"""Least part of its convex hull that a breast fills; measured from 0.81."""
BOTH_SIDES = 0.1
"""Part of its rows in which the body may reach both sides of the image; a breast ends in air at one of them."""
HIGH = 0.7
"""Least height of the outline against its depth; measured from 1.2."""


class NotOneBreastError(ValueError):
    """The image does not show one breast; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Breast:
    """One breast on a coarse grid, turned so that the chest wall is at the left.

    Attributes
    ----------
    image : float32 [row, column]
    body : bool [row, column]
        The breast, muscle included.
    factor : int
        Pixels of the whole image to a pixel of the grid, each way.
    wall_is_left : bool
        Of the picture as it was; where False, `image` and `body` are turned left to right.
    wall : int
        Column of the chest wall.
    rows : int [n]
        Rows that hold the breast, one after the other.
    skin : int [n]
        Column of the skin in each of `rows`.
    """

    image: Array
    body: Mask
    factor: int
    wall_is_left: bool
    wall: int
    rows: NDArray[np.intp]
    skin: NDArray[np.intp]

    @property
    def depth(self) -> NDArray[np.float64]:
        """Return how far the skin lies from the chest wall in each of `rows`."""
        return np.asarray(self.skin - self.wall, dtype=np.float64)

    @property
    def farthest(self) -> float:
        """Return the depth that is reached in one row of twenty."""
        return float(np.percentile(self.depth, 95))


def one_breast(array: Array) -> Breast:
    """Return the breast that an image shows.

    Parameters
    ----------
    array : float32 [row, column]
        Larger where denser.

    Raises
    ------
    NotOneBreastError
        The image is empty, or shows something else, or both breasts.
    """
    factor = max(1, array.shape[0] // ROWS)
    image = reduced(array, factor)
    body = _body(image)
    left = _wall_is_left(body)
    if not left:
        image, body = image[:, ::-1], body[:, ::-1]
    rows, first, last = _borders(body)
    wall = int(np.median(first))
    found = Breast(image, body, factor, left, wall, rows, last)
    _check(found, first)
    across = np.arange(body.shape[1])
    body[rows] |= (across >= wall) & (across <= last[:, None])  # dark tissue at the wall is no air
    return found


def reduced(array: Array, factor: int) -> Array:
    """Return the means of squares of `factor` x `factor` pixels; what is left over at right and below is cut.

    Raises
    ------
    NotOneBreastError
        Nothing is left.
    """
    rows, columns = (n // factor * factor for n in array.shape)
    if not rows or not columns:
        raise NotOneBreastError("the image is empty")
    blocks = array[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _body(image: Array) -> Mask:
    """Return the one large thing in the image."""
    low, high = (float(x) for x in np.percentile(image, (1, 99.5)))
    if not high > low:
        raise NotOneBreastError("the image is empty")
    above = ndimage.binary_opening(image > low + ABOVE_AIR * (high - low), iterations=2)
    above = ndimage.binary_closing(np.pad(above, FOLD), iterations=FOLD)[FOLD:-FOLD, FOLD:-FOLD]
    labels, count = ndimage.label(above)
    sizes = np.sort(np.bincount(labels.ravel(), minlength=2)[1:])[::-1]
    if sizes[0] < LEAST_AREA * image.size:
        raise NotOneBreastError("nothing as large as a breast is in the image")
    if count > 1 and sizes[1] > SECOND * sizes[0]:
        raise NotOneBreastError("two bodies of like size are in the image, as if both breasts were in it")
    largest = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    return np.asarray(ndimage.binary_fill_holes(labels == largest), dtype=np.bool_)


def _borders(body: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that hold the body, and its first and last column in each."""
    rows = np.flatnonzero(body.any(axis=1))
    return rows, body[rows].argmax(axis=1), body.shape[1] - 1 - body[rows, ::-1].argmax(axis=1)


def _wall_is_left(body: Mask) -> bool:
    """Tell whether the straight side, where the detector ends at the chest wall, is the left one."""
    _, first, last = _borders(body)
    return _unevenness(first) <= _unevenness(last)


def _unevenness(columns: NDArray[np.intp]) -> float:
    return float(np.mean(np.abs(columns - np.median(columns))))


def _check(breast: Breast, first: NDArray[np.intp]) -> None:
    """Raise where the body is not bounded by one straight side and one bulge."""
    depth, farthest = breast.depth, breast.farthest
    if breast.body.mean() > MOST_AREA:
        raise NotOneBreastError("the body fills the image, as on a chest X-ray; no skin line is seen")
    if min(float(breast.body[breast.rows, column].mean()) for column in (0, -1)) > BOTH_SIDES:
        raise NotOneBreastError("the body reaches both sides of the image, as a chest does")
    if _unevenness(first) > UNEVEN * farthest:
        raise NotOneBreastError("no straight chest wall is seen, as if both breasts or another body part were in it")
    if farthest - float(np.percentile(depth, 5)) < ROUND * farthest:
        raise NotOneBreastError("the body has no round side as a breast has")
    if float(np.mean(depth > 0.96 * depth.max())) > FLAT:
        raise NotOneBreastError("the side away from the chest wall is straight: no skin line is seen")
    if breast.rows.size < HIGH * farthest:
        raise NotOneBreastError("the body is much wider than it is high, as no breast is")
    if float(breast.body.sum()) < SOLID * _hull_area(breast):
        raise NotOneBreastError("the outline is not one smooth bulge, as a skin line is")


def _hull_area(breast: Breast) -> float:
    """Return the area of the convex hull of wall and skin line, the last row's pixels included."""
    rows, depth = breast.rows.astype(np.float64), breast.depth + 1
    skin, wall = np.stack([rows, depth], axis=1), np.stack([rows, np.zeros_like(rows)], axis=1)
    return float(ConvexHull(np.concatenate([skin, wall])).volume) + float(depth[-1])
