"""What a mammogram shows of the breast: where it lies, chest wall, skin, nipple, pectoral muscle, how dense it is.

Arrays are [row, column], larger where denser. The chest wall's side comes from the pixels, not from the header, and
an image that does not show one breast is refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
_ROWS = 400
_DENSITY_CUTS = (0.1, 0.25, 0.5)


class NotOneBreastError(ValueError):
    """The image does not show one breast; the text says why."""


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
    factor = max(1, array.shape[0] // _ROWS)
    small = _reduced(array, factor)
    mask = _body(small)
    left = _wall_is_left(mask)
    turned, body = (small, mask) if left else (small[:, ::-1], mask[:, ::-1])
    rows, wall, skin = _borders(body)
    _check_shape(body, wall, skin)
    muscle = _pectoral(turned, body, wall, rows) if oblique else np.zeros_like(body)
    share = _dense_share(turned, body, muscle)
    k = int(np.argmax(ndimage.gaussian_filter1d(skin.astype(np.float64), 2.0)))
    columns = skin if left else body.shape[1] - 1 - skin
    middle = (factor - 1) / 2
    line = np.stack([rows, columns], axis=1) * float(factor) + middle
    if not left:
        muscle = muscle[:, ::-1]
    return BreastAnatomy(
        breast=_enlarged(mask, factor, array.shape),
        pectoral=_enlarged(muscle, factor, array.shape),
        chest_wall="left" if left else "right",
        skin_line=line,
        nipple=(float(line[k, 0]), float(line[k, 1])),
        density=share,
        density_class="ABCD"[int(np.searchsorted(_DENSITY_CUTS, share))],
    )


def _reduced(array: Array, factor: int) -> Array:
    rows, columns = (n // factor * factor for n in array.shape)
    if not rows or not columns:
        raise NotOneBreastError("the image is empty")
    blocks = array[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _enlarged(mask: Mask, factor: int, shape: tuple[int, ...]) -> Mask:
    large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
    more = [(0, n - m) for n, m in zip(shape, large.shape, strict=True)]
    return np.pad(large, more, mode="edge")


def _body(small: Array) -> Mask:
    """Return the one large thing in the image."""
    low, high = (float(x) for x in np.percentile(small, (1, 99.5)))
    if not high > low:
        raise NotOneBreastError("the image is empty")
    above = ndimage.binary_opening(small > low + 0.03 * (high - low), iterations=2)
    labels, n = ndimage.label(above)
    if n == 0:
        raise NotOneBreastError("the image is empty")
    sizes = np.bincount(labels.ravel())[1:]
    order = np.argsort(sizes)[::-1]
    if sizes[order[0]] < 0.03 * small.size:
        raise NotOneBreastError("nothing as large as a breast is in the image")
    if n > 1 and sizes[order[1]] > 0.4 * sizes[order[0]]:
        raise NotOneBreastError("two bodies of like size are in the image, as if both breasts were in it")
    return np.asarray(ndimage.binary_fill_holes(labels == order[0] + 1), dtype=np.bool_)


def _borders(body: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that hold the body, and its first and last column in each."""
    rows = np.flatnonzero(body.any(axis=1))
    return rows, body[rows].argmax(axis=1), body.shape[1] - 1 - body[rows, ::-1].argmax(axis=1)


def _wall_is_left(body: Mask) -> bool:
    """Tell whether the straight side, where the detector ends at the chest wall, is the left one."""
    _, first, last = _borders(body)
    return float(np.mean(np.abs(first - np.median(first)))) <= float(np.mean(np.abs(last - np.median(last))))


def _check_shape(body: Mask, wall: NDArray[np.intp], skin: NDArray[np.intp]) -> None:
    """Raise where the body is not bounded by one straight side and one bulge."""
    if body.mean() > 0.9:
        raise NotOneBreastError("the body fills the image, as on a chest X-ray; no skin line is seen")
    uneven = float(np.mean(np.abs(wall - np.median(wall))))
    if uneven > 0.05 * float(np.percentile(skin - wall, 95)):
        raise NotOneBreastError("no straight chest wall is seen, as if both breasts or another body part were in it")
    depth = skin - np.median(wall)
    if float(np.percentile(depth, 95) - np.percentile(depth, 5)) < 0.2 * float(np.percentile(depth, 95)):
        raise NotOneBreastError("the body has no round side as a breast has")


def _pectoral(image: Array, body: Mask, wall: NDArray[np.intp], rows: NDArray[np.intp]) -> Mask:
    """Return the muscle: the corner at the chest wall behind the straight edge with the strongest step."""
    first, edge = int(np.median(wall)), np.asarray(ndimage.gaussian_filter(image, 1.5), dtype=np.float32)
    level = float(np.percentile(image[body], 90) - np.percentile(image[body], 10))
    best, found = 0.1 * level, np.zeros_like(body)
    for upside_down in (False, True):
        step, length, width = _best_edge(
            edge[::-1] if upside_down else edge, body[::-1] if upside_down else body, first
        )
        if step > best:
            best = step
            j, i = np.mgrid[: body.shape[0], : body.shape[1]]
            down = (body.shape[0] - 1 - rows[-1]) if upside_down else rows[0]
            from_end = (body.shape[0] - 1 - j if upside_down else j) - down
            found = body & (from_end / length + (i - first) / width < 1)
    return found


def _best_edge(image: Array, body: Mask, first: int) -> tuple[float, float, float]:
    """Return the step, length along the wall and width along the top of the best muscle edge."""
    top = int(np.flatnonzero(body.any(axis=1))[0])
    height, reach = int(body.any(axis=1).sum()), int(body.any(axis=0).sum())
    best = (0.0, 1.0, 1.0)
    part = np.linspace(0.06, 0.94, 40)
    for length in np.linspace(0.2, 0.9, 29) * height:
        for width in np.linspace(0.12, 0.85, 30) * reach:
            norm = np.array([width, length]) / np.hypot(width, length) * 3
            j, i = top + part * length, first + (1 - part) * width
            inner = ndimage.map_coordinates(image, [j - norm[0], i - norm[1]], order=1, mode="nearest")
            outer = ndimage.map_coordinates(image, [j + norm[0], i + norm[1]], order=1, mode="nearest")
            ends = (j + norm[0], i + norm[1])
            at = [np.clip(e, 0, n - 1).astype(np.intp) for e, n in zip(ends, body.shape, strict=True)]
            held = body[at[0], at[1]]
            step = float(np.percentile((inner - outer)[held], 30)) if held.mean() > 0.65 else 0.0
            if step > best[0]:
                best = (step, float(length), float(width))
    return best


def _dense_share(image: Array, body: Mask, muscle: Mask) -> float:
    """Return the part of the breast that is denser than half way between its fat and its densest tissue."""
    padded = np.pad(body, ((1, 1), (1, 1)), mode="edge")
    inner = ndimage.distance_transform_edt(padded)[1:-1, 1:-1] > 0.04 * image.shape[0]
    values = image[inner & ~muscle]
    if values.size < 50:
        return 0.0
    fat, dense = (float(x) for x in np.percentile(values, (5, 99.5)))
    return float(np.mean(values > fat + 0.45 * (dense - fat)))
