"""A small renderer: an image with its GSPS or SEG, and three views of a volume with its findings.

It draws what this node writes: POLYLINE, INTERPOLATED (as straight lines), ELLIPSE, CIRCLE, POINT and TEXT in layer
order and colour, the VOI window, the presentation LUT shape and the displayed area. It knows no shutters, overlays,
rotations, lookup tables or display shades of graphics, and a picture from it is for looking, not for reading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_rescale

from pacsai.objects.contour import outlines
from pacsai.objects.frames import frame_macro, frames_on, holder, pixel_spacing_mm
from pacsai.render.draw import MARK, Canvas, Colour, Place, Window, grey

POINTS_OF_A_ROUND = 90


def render(
    image: Dataset,
    gsps: Dataset | None = None,
    seg: Dataset | None = None,
    *,
    frame: int = 1,
    zoom: float = 1,
    window: Window | None = None,
) -> Image.Image:
    """Draw one frame of a grey image as its presentation state asks, with the outlines of its segments.

    Parameters
    ----------
    image : Dataset
        A grey image with pixel data.
    gsps, seg : Dataset, optional
        What to draw over it. Graphics of other images and segments of other slices are left out.
    frame : int
        Number of the frame, from 1.
    zoom : float
        Picture pixels for one image column.
    window : (centre, width), optional
        In place of the one in the presentation state or the image.

    Returns
    -------
    PIL.Image.Image
        RGB; its size is the displayed area, `zoom` times.
    """
    left, top, right, bottom = _displayed_area(image, gsps)
    tall = zoom * _pixel_height(image, gsps)
    canvas = Canvas((round((right - left) * zoom), round((bottom - top) * tall)))
    shades = _shades(image, gsps, frame, window)[top:bottom, left:right]
    canvas.picture(shades, (0, 0, *canvas.image.size))
    place = Place((left, top), (zoom, tall))
    if seg is not None:
        _draw_segments(canvas, place, seg, image, frame)
    if gsps is not None:
        _draw_annotations(canvas, place, gsps, image, frame)
    return canvas.image


def _displayed_area(image: Dataset, gsps: Dataset | None) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom as array indices; the attribute counts pixels from 1 (PS3.3 C.10.4)."""
    for item in gsps.get("DisplayedAreaSelectionSequence", ()) if gsps is not None else ():
        if _refers(item, image):
            left, top = item.DisplayedAreaTopLeftHandCorner
            right, bottom = item.DisplayedAreaBottomRightHandCorner
            return max(left - 1, 0), max(top - 1, 0), min(right, image.Columns), min(bottom, image.Rows)
    return 0, 0, image.Columns, image.Rows


def _pixel_height(image: Dataset, gsps: Dataset | None) -> float:
    """Return how many times as high as wide a pixel is shown."""
    for item in gsps.get("DisplayedAreaSelectionSequence", ()) if gsps is not None else ():
        ratio = item.get("PresentationPixelSpacing") or item.get("PresentationPixelAspectRatio")
        if ratio and _refers(item, image):
            return float(ratio[0]) / float(ratio[1])
    rows_mm, columns_mm = pixel_spacing_mm(image) or (1.0, 1.0)
    return rows_mm / columns_mm


def _refers(item: Dataset, image: Dataset, frame: int | None = None) -> bool:
    """Tell whether an item of a presentation state applies to an image; one that names none applies to all."""
    references = item.get("ReferencedImageSequence")
    if not references:
        return True
    for reference in references:
        if reference.ReferencedSOPInstanceUID == image.SOPInstanceUID:
            numbers = np.atleast_1d(reference.get("ReferencedFrameNumber") or frame or 1)
            return frame is None or frame in numbers
    return False


def _shades(image: Dataset, gsps: Dataset | None, frame: int, window: Window | None) -> NDArray[np.uint8]:
    """Return the frame [j, i] after modality LUT, VOI window and presentation LUT."""
    pixels = image.pixel_array if image.get("NumberOfFrames", 1) == 1 else image.pixel_array[frame - 1]
    pixels = pixels.reshape(image.Rows, image.Columns)
    values = apply_rescale(pixels, _rescale(image, gsps, frame))
    shades = grey(values, window or _window(image, gsps) or _full_range(values))
    if gsps is not None:
        return np.asarray(255 - shades if gsps.get("PresentationLUTShape") == "INVERSE" else shades)
    return np.asarray(255 - shades if image.PhotometricInterpretation == "MONOCHROME1" else shades)


def _rescale(image: Dataset, gsps: Dataset | None, frame: int) -> Dataset:
    """Return what holds the rescale slope of a frame; what holds none leaves the pixels as they are."""
    if gsps is not None and "RescaleSlope" in gsps:
        return gsps
    try:
        return holder(image, frame, "RescaleSlope", "PixelValueTransformationSequence")
    except KeyError:
        return image


def _window(image: Dataset, gsps: Dataset | None) -> Window | None:
    of_gsps = gsps.get("SoftcopyVOILUTSequence", ()) if gsps is not None else ()
    for item in [*(item for item in of_gsps if _refers(item, image)), image]:
        if "WindowCenter" in item and "WindowWidth" in item:
            return float(np.atleast_1d(item.WindowCenter)[0]), float(np.atleast_1d(item.WindowWidth)[0])
    return None


def _full_range(values: NDArray[np.generic]) -> Window:
    low, high = float(np.min(values)), float(np.max(values))
    return (low + high + 1) / 2, high - low + 1


def _draw_annotations(canvas: Canvas, place: Place, gsps: Dataset, image: Dataset, frame: int) -> None:
    colours = {layer.GraphicLayer: _layer_colour(layer) for layer in _layers(gsps)}
    for name, colour in colours.items():
        for annotation in gsps.get("GraphicAnnotationSequence", ()):
            if annotation.GraphicLayer == name and _refers(annotation, image, frame):
                for graphic in annotation.get("GraphicObjectSequence", ()):
                    _draw_graphic(canvas, place, graphic, colour)
                for text in annotation.get("TextObjectSequence", ()):
                    _draw_text(canvas, place, text, colour)


def _layers(gsps: Dataset) -> list[Dataset]:
    return sorted(gsps.get("GraphicLayerSequence", ()), key=lambda layer: layer.GraphicLayerOrder)


def _layer_colour(layer: Dataset) -> Colour:
    return _rgb(layer.get("GraphicLayerRecommendedDisplayCIELabValue"))


def _rgb(lab: Sequence[int] | None) -> Colour:
    """Return the RGB of a CIELab value as DICOM writes it (PS3.3 C.10.7.1.1), or the usual colour of marks."""
    return CIELabColor.from_dicom_value(lab).to_rgb() if lab else MARK


def _placed(canvas: Canvas, place: Place, points: NDArray[np.float64], units: str) -> list[tuple[float, float]]:
    """Return canvas positions of points in PIXEL or DISPLAY units (the latter 0 to 1 over the picture)."""
    if units == "DISPLAY":
        return Place(scale=canvas.image.size)(points)
    return place(points)


def _draw_graphic(canvas: Canvas, place: Place, graphic: Dataset, colour: Colour) -> None:
    points = np.reshape(np.asarray(graphic.GraphicData, dtype=np.float64), (-1, 2))
    shape = {"CIRCLE": _circle, "ELLIPSE": _ellipse}.get(graphic.GraphicType)
    placed = _placed(canvas, place, shape(points) if shape else points, graphic.GraphicAnnotationUnits)
    if graphic.GraphicType == "POINT":
        canvas.dot(placed[0], colour)
    elif graphic.get("GraphicFilled") == "Y":
        canvas.area(placed, colour)
    else:
        canvas.line(placed, colour)


def _circle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the outline of a circle given as its centre and a point on it."""
    radius = float(np.hypot(*(points[1] - points[0])))
    return np.asarray(points[0] + radius * _round())


def _ellipse(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the outline of an ellipse given as the ends of its major and of its minor axis."""
    half_axes = np.stack([points[1] - points[0], points[3] - points[2]]) / 2
    return np.asarray((points[0] + points[1]) / 2 + _round() @ half_axes)


def _round() -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, POINTS_OF_A_ROUND + 1)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _draw_text(canvas: Canvas, place: Place, text: Dataset, colour: Colour) -> None:
    """Write a text object into its bounding box, or beside its anchor point where it has no box."""
    if "BoundingBoxTopLeftHandCorner" in text:
        corners = np.array([text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner], dtype=float)
        (left, top), (right, _) = _placed(canvas, place, corners, text.BoundingBoxAnnotationUnits)
        side = text.get("BoundingBoxTextHorizontalJustification", "LEFT")
        x, anchor = {"LEFT": (left, "la"), "CENTER": ((left + right) / 2, "ma"), "RIGHT": (right, "ra")}[side]
        canvas.words(text.UnformattedTextValue, (x, top), colour, anchor=anchor)
    else:
        point = np.array([text.AnchorPoint], dtype=float)
        ((x, y),) = _placed(canvas, place, point, text.AnchorPointAnnotationUnits)
        canvas.words(text.UnformattedTextValue, (x + 4, y), colour, anchor="lm")


def _draw_segments(canvas: Canvas, place: Place, seg: Dataset, image: Dataset, frame: int) -> None:
    colours = {s.SegmentNumber: _rgb(s.get("RecommendedDisplayCIELabValue")) for s in seg.SegmentSequence}
    masks = np.reshape(seg.pixel_array, (-1, seg.Rows, seg.Columns))
    for number in frames_on(seg, image, frame):
        segment = frame_macro(seg, number, "SegmentIdentificationSequence").ReferencedSegmentNumber
        for outline in outlines(masks[number - 1] > 0):
            canvas.line(place(outline), colours[segment])
