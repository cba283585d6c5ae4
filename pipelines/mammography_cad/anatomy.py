"""What a mammogram shows of the breast: where it lies, chest wall, skin, nipple, pectoral muscle, how dense it is.

Arrays are [row, column], larger where denser. The chest wall's side comes from the pixels, not from the header, and
an image that does not show one breast is refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.organs.breast import Array, Breast, Mask, NotOneBreastError, one_breast
from pacsai.organs.pectoral import pectoral

__all__ = ["BreastAnatomy", "NotOneBreastError", "find_anatomy"]
_DENSITY_CUTS = (0.1, 0.25, 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class BreastAnatomy:
    """What was found.

    Attributes
    ----------
    breast, pectoral : bool [j, i]
        On the image's own grid; the muscle is part of the breast mask and empty where none was found.
    chest_wall : str
        left or right: the side of the picture on which the chest wall lies.
    skin_line : float [n, 2]
        (row, column) of the skin in every row of the breast.
    nipple : (row, column)
        The skin's farthest point from the chest wall.
    density : float
        Part of the breast's area, muscle and skin left out, that is dense tissue.
    density_class : str
        BI-RADS A to D by that part.
    """

    breast: Mask
    pectoral: Mask
    chest_wall: str
    skin_line: NDArray[np.float64]
    nipple: tuple[float, float]
    density: float
    density_class: str


def find_anatomy(array: Array, *, oblique: bool) -> BreastAnatomy:
    """Return the anatomy of one mammogram.

    Parameters
    ----------
    array : float32 [j, i]
        One image, larger where denser.
    oblique : bool
        An MLO or LMO view: look for the pectoral muscle.

    Raises
    ------
    NotOneBreastError
        The image is empty, or shows something else, or both breasts.
    """
    breast = one_breast(array)
    muscle = pectoral(breast) if oblique else None
    hidden = muscle.mask if muscle else np.zeros_like(breast.body)
    share = _dense_share(breast.image, breast.body, hidden)
    line = _skin_line(breast)
    nipple = line[_nipple(breast)]
    return BreastAnatomy(
        breast=_enlarged(breast, breast.body, array.shape),
        pectoral=_enlarged(breast, hidden, array.shape),
        chest_wall="left" if breast.wall_is_left else "right",
        skin_line=line,
        nipple=(float(nipple[0]), float(nipple[1])),
        density=share,
        density_class="ABCD"[int(np.searchsorted(_DENSITY_CUTS, share))],
    )


def _skin_line(breast: Breast) -> NDArray[np.float64]:
    """Return the skin in the whole image's pixels, [n, 2]: row and column."""
    columns = breast.skin if breast.wall_is_left else breast.body.shape[1] - 1 - breast.skin
    middle = (breast.factor - 1) / 2
    return np.stack([breast.rows, columns], axis=1) * float(breast.factor) + middle


def _nipple(breast: Breast) -> int:
    """Return the place in the skin line of its farthest point from the chest wall."""
    return int(np.argmax(ndimage.gaussian_filter1d(breast.depth, 2.0)))


def _enlarged(breast: Breast, mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Return a mask of the coarse grid on the whole image's, turned back."""
    factor = breast.factor
    large = (mask if breast.wall_is_left else mask[:, ::-1]).repeat(factor, axis=0).repeat(factor, axis=1)
    more = [(0, n - m) for n, m in zip(shape, large.shape, strict=True)]
    return np.pad(large, more, mode="edge")


def _dense_share(image: Array, body: Mask, muscle: Mask) -> float:
    """Return the part of the breast that is denser than half way between its fat and its densest tissue."""
    padded = np.pad(body, ((1, 1), (1, 1)), mode="edge")
    inner = ndimage.distance_transform_edt(padded)[1:-1, 1:-1] > 0.04 * image.shape[0]
    values = image[inner & ~muscle]
    if values.size < 50:
        return 0.0
    fat, dense = (float(x) for x in np.percentile(values, (5, 99.5)))
    return float(np.mean(values > fat + 0.45 * (dense - fat)))
