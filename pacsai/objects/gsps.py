"""GSPS: how the analysed images should be shown, with each finding's contour and a few words beside it.

One annotation per slice, since a graphic applies to every image its annotation names (PS3.3 C.10.5). Presentation
only: what was found stands in the SEG and the SR, under the same tracking UIDs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import DS

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.changes import difference
from pacsai.finding import Finding, Result
from pacsai.objects.common import (
    CONTENT_CREATOR,
    NODE,
    Author,
    content_label,
    contributing_equipment,
    description,
    evidence,
    finish,
    identity,
    provenance_of,
)
from pacsai.objects.contour import outlines
from pacsai.objects.frames import image_of_slice, pixel_spacing_mm
from pacsai.objects.source import Source
from pacsai.objects.window import window_for
from pacsai.render.draw import MARK, Window

LAYER = "AI_FINDINGS"
LABEL_SIZE = (0.3, 0.04)
"""Width and height of a label's box, as parts of the image's."""
NOTICE_BOX = (0.01, 0.95, 0.6, 0.99)
"""Where the words about research use stand: left, top, right, bottom as parts of the displayed area."""
SHORT_WORDS = {
    terms.SOLID: "solid",
    terms.PART_SOLID: "part-solid",
    terms.GROUND_GLASS: "ground glass",
    terms.CALCIFIED: "calcified",
    terms.BREAST_MASS: "mass",
    terms.BREAST_DENSITY: "mass",
    terms.CALCIFICATION_CLUSTER: "calcifications",
    terms.ARCHITECTURAL_DISTORTION: "distortion",
    terms.FOCAL_ASYMMETRY: "asymmetry",
    terms.ASYMMETRIC_TISSUE: "asymmetry",
}

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """What is drawn of one finding on one slice: outlines, or a single point, in PIXEL coordinates."""

    number: int
    finding: Finding
    drawn: tuple[Points, ...]


def build(
    result: Result, source: Source, author: Author = NODE, window: Window | None = None
) -> GrayscaleSoftcopyPresentationState | None:
    """Make the presentation state of a result.

    Parameters
    ----------
    result : Result
        Signed. Findings with a mask get its outlines, those without a point at their centre.
    source : Source
    author : Author
    window : (centre, width), optional
        VOI window in modality units, else the one that `window_for` gives.

    Returns
    -------
    GrayscaleSoftcopyPresentationState or None
        None where nothing is there to be drawn.

    Raises
    ------
    ValueError
        The images cannot share one presentation state: rescale slopes differ, or a pixel is not grey.
    """
    marks = _marks(result.findings, source)
    if not marks:
        return None
    headers = evidence(source)
    centre, width = window or window_for(source.volume)
    images = {k: image_of_slice(source, headers, k) for k in sorted(marks)}
    return state(
        list({image.SOPInstanceUID: image for image, _ in images.values()}.values()),
        [annotation(*images[k], marks[k]) for k in sorted(marks)],
        SoftcopyVOILUTTransformation(window_center=centre, window_width=width),
        result,
        source,
        author,
    )


def state(
    images: Sequence[Dataset],
    annotations: Sequence[GraphicAnnotation],
    voi: SoftcopyVOILUTTransformation,
    result: Result,
    source: Source,
    author: Author,
    role: str = "GSPS",
) -> GrayscaleSoftcopyPresentationState:
    """Return the presentation state of `images` with their annotations, which stand in `LAYER`.

    Parameters
    ----------
    role : str
        What the instance UID follows from: another one for each state of a result.
    """
    provenance = provenance_of(result)
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        content_label=content_label(provenance),
        content_description=description(provenance, author),
        graphic_annotations=annotations,
        graphic_layers=[_layer()],
        content_creator_name=CONTENT_CREATOR,
        voi_lut_transformations=[voi],
        presentation_lut_transformation=_presentation_lut(images[0]),
        contributing_equipment=[contributing_equipment(source, result, author)],
        **{**identity("GSPS", result, author), "sop_instance_uid": provenance.uid(role)},
    )
    _show_pixels_as_they_are(made, images[0])
    made.Laterality = ""  # type 2C; highdicom 0.28.2 leaves it out and dciodvfy asks for it
    return finish(made, source)  # type: ignore[return-value]


def _layer() -> GraphicLayer:
    return GraphicLayer(LAYER, order=1, display_color=CIELabColor.from_rgb(*MARK))


def caption(number: int, finding: Finding) -> str:
    """Return what stands beside a finding: "1  8 mm solid  0.93", "2  162 mm3 stable  0.81", "3  was 60 mm3 gone".

    A finding on a mammogram says what it is; its descriptors stand in the reports: "1  11 mm mass  0.73".
    """
    said = [finding.kind] if finding.on else [value for _, value in finding.qualities]
    qualities = [SHORT_WORDS.get(value, value.meaning.lower()) for value in said]
    change = (str(finding.change),) if finding.change else ()
    probability = "" if finding.probability is None else f"{finding.probability:.2f}"
    return "  ".join(
        filter(None, (str(number), " ".join(filter(None, (_size(finding), *qualities, *change))), probability))
    )


def _size(finding: Finding) -> str:
    """Return the long axis, or the volume of what has none, or the former volume of what is gone."""
    long_axis_mm, volume_mm3 = finding.value(terms.LONG_AXIS), finding.value(terms.VOLUME)
    if long_axis_mm is not None:
        return f"{long_axis_mm:.0f} mm"
    return difference(None, finding.prior_volume_mm3) if volume_mm3 is None else f"{volume_mm3:.0f} mm3"


def _marks(findings: Sequence[Finding], source: Source) -> dict[int, list[Mark]]:
    """Return what to draw on each slice k."""
    marks: dict[int, list[Mark]] = {}
    for number, finding in enumerate(findings, start=1):
        for k, drawn in (_contours(finding) if finding.mask is not None else _centre(finding, source)).items():
            marks.setdefault(k, []).append(Mark(number, finding, drawn))
    return marks


def _contours(finding: Finding) -> dict[int, tuple[Points, ...]]:
    assert finding.mask is not None  # noqa: S101  # the caller asked
    k0, j0, i0 = finding.mask.offset_kji
    traced = {k: outlines(section) for k, section in enumerate(finding.mask.array, start=k0)}
    return {k: tuple(points + np.array((i0, j0)) for points in drawn) for k, drawn in traced.items() if drawn}


def _centre(finding: Finding, source: Source) -> dict[int, tuple[Points, ...]]:
    """Return the slice and the PIXEL coordinates of a finding's centre; nothing where no volume tells them."""
    if source.volume is None:
        return {}
    i, j, k = np.linalg.solve(source.volume.affine, [*finding.centre_mm, 1.0])[:3]
    shown = int(np.clip(round(k), 0, len(source.volume.array) - 1))
    return {shown: (np.array([[i + 0.5, j + 0.5]]),)}


def annotation(image: Dataset, frame: int | None, marks: Sequence[Mark]) -> GraphicAnnotation:
    """Return marks with their captions and the words about research use, for one image or frame."""
    graphics = [_graphic(points, mark.finding) for mark in marks for points in mark.drawn]
    notice = TextObject(RESEARCH_USE_ONLY, "DISPLAY", bounding_box=NOTICE_BOX, text_justification="LEFT")
    labels = [_label(mark, image) for mark in marks]
    return GraphicAnnotation(
        referenced_images=[image],
        referenced_frame_number=frame,
        graphic_layer=_layer(),
        graphic_objects=graphics,
        text_objects=[*labels, notice],
    )


def _graphic(points: Points, finding: Finding) -> GraphicObject:
    return GraphicObject(
        "POLYLINE" if len(points) > 1 else "POINT",
        points,
        units="PIXEL",
        tracking_id=finding.label,
        tracking_uid=finding.tracking_uid,
    )


def _label(mark: Mark, image: Dataset) -> TextObject:
    """Return the words right of the largest outline, or left of it where the image ends."""
    points = mark.drawn[0]
    width, height = LABEL_SIZE[0] * image.Columns, LABEL_SIZE[1] * image.Rows
    (low_x, top), (high_x, _) = points.min(axis=0), points.max(axis=0)
    right_of_it = bool(high_x + 2 + width <= image.Columns)
    left = high_x + 2 if right_of_it else max(low_x - 2 - width, 0.0)
    top = min(float(top), image.Rows - height)
    return TextObject(
        caption(mark.number, mark.finding),
        units="PIXEL",
        bounding_box=(float(left), top, float(left) + width, top + height),
        text_justification="LEFT" if right_of_it else "RIGHT",
        tracking_id=mark.finding.label,
        tracking_uid=mark.finding.tracking_uid,
    )


def _presentation_lut(image: Dataset) -> hd.PresentationLUTTransformation:
    shape = "INVERSE" if image.PhotometricInterpretation == "MONOCHROME1" else "IDENTITY"
    return hd.PresentationLUTTransformation(presentation_lut_shape=shape)


def _show_pixels_as_they_are(state: Dataset, image: Dataset) -> None:
    """Give the displayed area the image's pixel spacing: highdicom 0.28.2 writes every pixel as a square."""
    (area,) = state.DisplayedAreaSelectionSequence
    del area.PixelOriginInterpretation  # for whole slide microscopy only
    spacing_mm = pixel_spacing_mm(image)
    if spacing_mm and spacing_mm[0] != spacing_mm[1]:
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = [DS(length, auto_format=True) for length in spacing_mm]
