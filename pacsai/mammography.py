"""A mammogram's stored pixels to the values that are analysed: dense tissue bright, 0 to 1 over the breast, no holes.

Knows nothing of which image of a study it is given; that is selection/mg.py's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi
from scipy import ndimage

from pacsai.exam import Exam, View
from pacsai.film import frame
from pacsai.selection.mg import FOR_PROCESSING, Chosen
from pacsai.selection.mg_rules import MAGNIFIED, PROCESSING_CLASS
from pacsai.study import Instance
from pacsai.study.header import as_number, number, texts, values
from pacsai.study.mammogram import spacing_mm
from pacsai.volume.pixels import PixelError, read_padded

AIR = 0.02
"""Part of the range above the darkest value up to which a pixel is air beside the breast."""
DARKEST, BRIGHTEST = 0.5, 99.9
"""Percentiles of the pixels that are not air which become 0 and 1."""
SAMPLED = 1_000_000
"""Pixels that the range of the breast is found from, about."""


def read_exam(chosen: Sequence[Chosen], missing: Sequence[str]) -> Exam:
    """Return the views with their pixels.

    Raises
    ------
    PixelError
        The pixels of a view cannot be read; the message names the view.
    """
    return Exam(tuple(read_view(one) for one in chosen), tuple(missing))


def read_view(chosen: Chosen) -> View:
    """Return one view with its pixels.

    Raises
    ------
    PixelError
        The pixels cannot be read, or are all alike.
    """
    name = f"{chosen.side} {chosen.view}"
    header = chosen.analysed.header
    try:
        array = read_array(chosen.analysed)
    except PixelError as error:
        raise PixelError(f"{name}: {error}") from error
    return View(
        name=name,
        laterality=chosen.side,
        view=chosen.view,
        array=array,
        spacing_mm=spacing_at_breast(header),
        for_processing=is_for_processing(header),
        analysed=chosen.analysed,
        shown=chosen.shown,
        notes=chosen.notes,
    )


def read_array(instance: Instance) -> NDArray[np.float32]:
    """Return the values of one image, [row j, column i], as a `View` holds them.

    Raises
    ------
    PixelError
        The pixels cannot be read, or are all alike.
    """
    header = instance.header
    raw = is_for_processing(header)
    stored, padded = read_padded(instance)
    values, darker = _through_table(stored, header, raw), is_dense_dark(header, raw)
    if not raw:
        padded |= frame(-values if darker else values)
    return normalised(values, padded, darker=darker)


def normalised(stored: NDArray[np.float32], padded: NDArray[np.bool_], *, darker: bool) -> NDArray[np.float32]:
    """Return values with air and padding at 0, the breast from about 0 to 1, and dense tissue bright.

    A value above 1 is one of the brightest calcifications, or a burned-in marker: it is not cut.

    Parameters
    ----------
    stored : float32 [j, i]
    darker : bool
        Denser tissue has lower values.

    Raises
    ------
    PixelError
        There is nothing but padding, or one grey value.
    """
    image = -stored if darker else stored
    step = max(1, round((image.size / SAMPLED) ** 0.5))
    tissue = _tissue(image[::step, ::step], padded[::step, ::step])
    darkest, brightest = (float(v) for v in np.percentile(tissue, (DARKEST, BRIGHTEST)))
    if brightest <= darkest:
        raise PixelError("the image is of two grey values")
    array = np.clip((image - np.float32(darkest)) / np.float32(brightest - darkest), 0, None)
    array[padded] = 0
    return np.asarray(np.nan_to_num(array, copy=False), dtype=np.float32)


def _tissue(image: NDArray[np.float32], padded: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the values of the largest thing in the image that is not air: markers lie beside it."""
    real = np.isfinite(image) & ~padded
    low, high = np.percentile(image[real], (0, BRIGHTEST)) if real.any() else (0.0, 0.0)
    labels, count = ndimage.label(real & (image > low + AIR * (high - low)))
    if not count:
        raise PixelError("the image is of one grey value")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(image[labels == int(sizes.argmax())])


def is_for_processing(header: Dataset) -> bool:
    """Tell whether an image holds detector values, not processed for people."""
    return texts(header, "PresentationIntentType") == FOR_PROCESSING or header.get("SOPClassUID") == PROCESSING_CLASS


def is_dense_dark(header: Dataset, raw: bool) -> bool:
    """Tell whether denser tissue has lower stored values.

    Where fewer X-rays arrive lies what is dense: of raw values PixelIntensityRelationshipSign (PS3.3 C.8.11.3.1.2)
    says it, whatever MONOCHROME1 or 2 is for showing them; of others MONOCHROME1 does, since they are shown bright.
    """
    sign = number(header, "PixelIntensityRelationshipSign")
    if raw and sign is not None:
        return sign > 0
    return bool(texts(header, "PhotometricInterpretation") == "MONOCHROME1")


def spacing_at_breast(header: Dataset) -> tuple[float, float] | None:
    """Return the pixel spacing where the breast is: between rows, between columns; None where nothing tells it.

    ImagerPixelSpacing is that of the detector, which sees the breast larger by EstimatedRadiographicMagnificationFactor
    (PS3.3 C.8.11.7.1.1); a PixelSpacing that was calibrated (PS3.3 10.7.1.3) is that of the breast.
    """
    calibrated = [as_number(value) for value in values(header, "PixelSpacing")]
    if texts(header, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL") and len(calibrated) == 2:
        rows, columns = calibrated
        if rows and columns and rows > 0 and columns > 0:
            return rows, columns
    found = spacing_mm(header)
    factor = number(header, "EstimatedRadiographicMagnificationFactor") or 1
    if found is None or not values(header, "ImagerPixelSpacing") or not 1 <= factor <= MAGNIFIED:
        return found
    return found[0] / factor, found[1] / factor


def _through_table(stored: NDArray[np.float32], header: Dataset, raw: bool) -> NDArray[np.float32]:
    """Return values after the first VOI LUT or sigmoid window of an image for presentation.

    A linear window only cuts: the range of the breast is found by itself. Raw values have none that is meant for us.
    """
    sigmoid = texts(header, "VOILUTFunction").upper() == "SIGMOID" and header.get("WindowWidth")
    if raw:
        return stored
    if header.get("VOILUTSequence"):
        return _looked_up(stored, header)
    return _sigmoid(stored, header) if sigmoid else stored


def _looked_up(stored: NDArray[np.float32], header: Dataset) -> NDArray[np.float32]:
    try:
        return apply_voi(np.rint(stored).astype(np.int32), header).astype(np.float32)
    except Exception as error:  # a broken table raises as it likes
        raise PixelError(f"the VOI LUT cannot be read ({type(error).__name__})") from error


def _sigmoid(stored: NDArray[np.float32], header: Dataset) -> NDArray[np.float32]:
    """Return the values of PS3.3 C.11.2.1.3.1, 0 to 1."""
    centre, width = (number(header, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or not width or width < 0:
        raise PixelError("the sigmoid window has no centre and width")
    return np.asarray(1 / (1 + np.exp(-4 * (stored - np.float32(centre)) / np.float32(width))), dtype=np.float32)
