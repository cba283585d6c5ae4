"""Which side and view a mammogram is of where its header does not say, from its pixels; else why that is not certain.

The rule is that of hanging (IHE Mammography Image): the chest wall of a left breast lies at the left of the picture, of
a right one at the right, with the axilla or the outer side on top. Patient Orientation, where it is told, has the last
word: of an oblique view it names the side however the picture was turned, of others it must be that of the usual
hanging. What was read is said; what is not certain is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from scipy import ndimage

from pacsai.organs.breast import Array, Breast, NotOneBreastError, one_breast
from pacsai.organs.pectoral import CERTAIN, corners
from pacsai.study import mammogram
from pacsai.study.header import values
from pacsai.study.mammogram import CC, MLO, VIEW_NAMES

CLOSED_TOP, CLOSED_BOTTOM = 0.25, 0.45
"""Most depth, in depths of the breast, at which the outline of a CC view ends; MLO views: from 0.24 and 0.56."""
OPEN_TOP = 0.3
"""Least depth at which an MLO view runs out of the picture into the axilla."""
MIDDLE = (0.35, 0.65)
"""Where from top to bottom the farthest point of a CC view lies."""
RIM = 12
"""How far from the outline, on the coarse grid, two images of one exposure are compared."""
CLEAR = 20
"""Least height of the peak of their correlation, in deviations; the same picture measured from 57, others up to 8."""
NO_VIEW = "its header names no view, and whether it is CC or MLO is not certain from the pixels"
UPSIDE_DOWN = "its header names no side, and the picture is upside down, so that the pixels do not tell it"
OTHER_WAY = "its header names no side, and Patient Orientation does not fit what the pixels show"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the pixels of one image tell.

    Attributes
    ----------
    side, view : str
        L or R, CC or MLO, where the header does not say and the pixels do; else empty.
    reason : str
        Why the image is left out; empty where nothing speaks against it.
    elsewhere : bool
        Its pixels are not at the same places as those of the image of its exposure that is analysed.
    """

    side: str = ""
    view: str = ""
    reason: str = ""
    elsewhere: bool = False

    @property
    def note(self) -> str:
        """Return what a reader should know of where side and view come from; empty where the header names them."""
        read = " and ".join(name for name, value in (("side", self.side), ("view", self.view)) if value)
        return f"its {read} {'were' if ' ' in read else 'was'} read from the pixels" if read else ""


def look(array: Array, header: Dataset) -> Seen:
    """Return side and view of an image as far as its header lacks them, or why it is not analysed."""
    try:
        breast = one_breast(array)
    except NotOneBreastError as error:
        return Seen(reason=f"not one breast: {error}")
    named, side = mammogram.view(header), mammogram.side(header)
    if named in VIEW_NAMES and side:
        return Seen()
    upper, lower = corners(breast)
    view = VIEW_NAMES[named] if named in VIEW_NAMES else _view(breast, upper, lower)
    if not view:
        return Seen(reason=NO_VIEW)
    seen_side, reason = ("", "") if side else _side(breast, view, lower > max(upper, CERTAIN), header)
    return Seen(seen_side, "" if named else view, reason)


def coincide(one: Array, other: Array) -> bool:
    """Tell whether two images of one exposure show every place at the same pixel, neither flipped nor moved.

    By correlation of their fine structure on the coarse grid, away from skin and chest wall, which look alike in many
    places; a move of less than one pixel of that grid is not seen.
    """
    if one.shape != other.shape:
        return False
    try:
        spectra = [np.fft.rfft2(_fine(array)) for array in (one, other)]
    except NotOneBreastError:
        return False
    cross = spectra[0] * np.conj(spectra[1])
    peaks = np.fft.irfft2(cross / np.sqrt(np.abs(cross) + 1e-30))  # between plain and phase correlation
    if peaks.max() < CLEAR * peaks.std():
        return False
    moved = np.unravel_index(int(peaks.argmax()), peaks.shape)
    return all(min(m, n - m) <= 1 for m, n in zip(moved, peaks.shape, strict=True))


def _fine(array: Array) -> Array:
    """Return the fine structure within the breast on the coarse grid, of even size."""
    breast = one_breast(array)
    bands = ndimage.gaussian_filter(breast.image, 1) - ndimage.gaussian_filter(breast.image, 4)
    inner = ndimage.binary_erosion(breast.body, iterations=RIM)
    soft = ndimage.gaussian_filter(inner.astype(np.float32), 2)
    found = bands / max(1e-6, float(bands[inner].std() if inner.any() else 1)) * soft
    found = np.clip(found, -3, 3)[: found.shape[0] // 2 * 2, : found.shape[1] // 2 * 2]
    return np.asarray(found if breast.wall_is_left else found[:, ::-1], dtype=np.float32)


def _view(breast: Breast, upper: float, lower: float) -> str:
    """Return CC or MLO by muscle and outline; empty where they do not agree.

    Parameters
    ----------
    upper, lower : float
        Confidence of a muscle in either corner.
    """
    depth, end = breast.depth / breast.farthest, max(2, breast.rows.size // 50)
    top, bottom = float(depth[:end].mean()), float(depth[-end:].mean())
    if upper >= CERTAIN and upper > lower and breast.rows[0] <= 1 and top >= OPEN_TOP:
        return VIEW_NAMES[MLO]
    middle = MIDDLE[0] <= depth.argmax() / depth.size <= MIDDLE[1]
    if max(upper, lower) < CERTAIN and top <= CLOSED_TOP and bottom <= CLOSED_BOTTOM and middle:
        return VIEW_NAMES[CC]
    return ""


def _side(breast: Breast, view: str, upside_down: bool, header: Dataset) -> tuple[str, str]:
    """Return L or R, or else the reason why that is not certain."""
    told = [str(value) for value in values(header, "PatientOrientation")]
    if not any(told):
        if upside_down:
            return "", UPSIDE_DOWN
        return "L" if breast.wall_is_left else "R", ""
    found = next(_oriented(told, breast.wall_is_left, view), "")
    return found, "" if found else OTHER_WAY


def _oriented(told: list[str], wall_is_left: bool, view: str) -> Iterator[str]:
    """Yield the side that Patient Orientation names (rows run away from the chest wall), where it fits the picture.

    The plane of an MLO view goes from the axilla down and to the other breast, so its columns run to the foot and right
    (FR), or to the head and left (HL), in a left breast alone. Columns of a CC view run from the outer side to the
    inner one in the usual hanging; turned otherwise, the same words fit both breasts.
    """
    if len(told) != 2 or told[0][:1] != ("A" if wall_is_left else "P"):
        return
    down = "".join(sorted(told[1]))
    if view == VIEW_NAMES[MLO] and len(down) > 1:
        yield from (side for side, words in (("L", ("FR", "HL")), ("R", ("FL", "HR"))) if down[:2] in words)
    elif view == VIEW_NAMES[CC]:
        yield from (side for side, words in (("L", "R"), ("R", "L")) if down == words and (side == "L") == wall_is_left)
