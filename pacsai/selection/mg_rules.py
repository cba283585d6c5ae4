"""What speaks against one image as a mammogram to analyse, and what a reader should know of one; by its header."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pydicom.dataset import Dataset

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.selection.wording import DESCRIPTIONS, QUALITY_ASSURANCE, says
from pacsai.study import mammogram
from pacsai.study.header import items, number, texts, uid
from pacsai.study.mammogram import VIEW_NAMES

MAGNIFIED = 1.4
"""Contact views have an EstimatedRadiographicMagnificationFactor of up to 1.2, magnification views of 1.5 to 2."""
_TOMOSYNTHESIS = {
    "1.2.840.10008.5.1.4.1.1.13.1.3": "a tomosynthesis volume: not analysed",
    "1.2.840.10008.5.1.4.1.1.13.1.4": "a tomosynthesis projection: not analysed",
    "1.2.840.10008.5.1.4.1.1.13.1.5": "a tomosynthesis projection: not analysed",
}
PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.2.1"
"""Digital Mammography X-Ray Image, For Processing."""
_TAKEN_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1.2",  # Digital Mammography X-Ray Image, For Presentation
    PROCESSING_CLASS,
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography Image
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray Image, For Presentation
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image: scanned film
)
_SPECIMEN = "127457009"
_MODIFIERS = {
    "399163009": "a magnification view",
    "399055006": "a spot compression view",
    "399209000": "a view with the implant displaced",
    "399226006": "a rolled view",
    "399197002": "a rolled view",
    "415670009": "a rolled view",
    "414493004": "a rolled view",
    "399110001": "a tangential view",
    "399161006": "a view of the cleavage",
    "399011000": "a view of the axillary tail",
    "442580003": "a view of the axilla",
    "442593008": "a view of the inframammary fold",
    "441752004": "a view of the anterior breast",
}
"""View modifiers (CID 4015) of images that do not show the whole breast as a screening view does."""
_IMAGE_TYPES = {
    "STEREO_SCOUT": "an image of a biopsy",
    "STEREO_MINUS": "an image of a biopsy",
    "STEREO_PLUS": "an image of a biopsy",
    "HIGH_ENERGY": "a high-energy image of contrast mammography",
    "SUBTRACTION": "a subtracted image of contrast mammography",
}
_SYNTHETIC = ("GENERATED_2D", "TOMO_2D", "TOMOSYNTHESIS_2D")


def reason_against(header: Dataset) -> str:
    """Return why one image is not analysed, by its header alone; empty where nothing speaks against it."""
    return next((reason for rule in _RULES if (reason := rule(header))), "")


def _made_here(header: Dataset) -> str:
    made = texts(header, "Manufacturer"), texts(header, "ManufacturerModelName")
    return "made by this node" if made == (MANUFACTURER, MODEL_NAME) else ""


def _another_kind(header: Dataset) -> str:
    sop_class = uid(header, "SOPClassUID")
    if sop_class in _TOMOSYNTHESIS:
        return _TOMOSYNTHESIS[sop_class]
    if texts(header, "Modality") != "MG":
        return f"no mammogram: its modality is {texts(header, 'Modality')[:16] or 'not told'}"
    if sop_class not in _TAKEN_CLASSES:
        return "no image of a kind that mammograms are stored as"
    if (number(header, "NumberOfFrames") or 1) > 1:
        return "an image of several frames: not analysed"
    return "a colour image" if (number(header, "SamplesPerPixel") or 1) > 1 else ""


def _a_test(header: Dataset) -> str:
    quality = texts(header, "QualityControlImage") == "YES" or says(QUALITY_ASSURANCE, header, *DESCRIPTIONS)
    return "an image for quality control" if quality else ""


def _a_specimen(header: Dataset) -> str:
    view = mammogram.view(header)
    specimen = items(header, "SpecimenDescriptionSequence") or (view is not None and view.value == _SPECIMEN)
    return "an image of a specimen" if specimen else ""


def _of_another_type(header: Dataset) -> str:
    said = texts(header, "ImageType").upper().split()
    return next((reason for word, reason in _IMAGE_TYPES.items() if word in said), "")


def _modified(header: Dataset) -> str:
    found = [modifier.value for modifier in mammogram.modifiers(header)]
    if reason := next((_MODIFIERS[value] for value in found if value in _MODIFIERS), ""):
        return reason
    factor = number(header, "EstimatedRadiographicMagnificationFactor") or 1
    return _MODIFIERS["399163009"] if factor > MAGNIFIED else ""


def _partial(header: Dataset) -> str:
    return "a partial view" if texts(header, "PartialView") == "YES" else ""


def _of_both(header: Dataset) -> str:
    return "both breasts are in one image" if mammogram.side(header) == "B" else ""


def _contradictory(header: Dataset) -> str:
    sides = {texts(header, keyword) for keyword in ("ImageLaterality", "Laterality")} & {"L", "R", "B"}
    if len(sides) > 1:
        return "ImageLaterality and Laterality name different sides"
    told = items(header, "ViewCodeSequence") and texts(header, "ViewPosition")
    if told and mammogram.view(header) is None and _view_names(header) > 1:
        return "view code and ViewPosition name different views"
    return ""


def _view_names(header: Dataset) -> int:
    """Return how many of view code and ViewPosition name a known view."""
    alone = []
    for keyword in ("ViewCodeSequence", "ViewPosition"):
        part = Dataset()
        part.add(header[keyword])
        alone.append(mammogram.view(part))
    return sum(view is not None for view in alone)


def _of_another_view(header: Dataset) -> str:
    view = mammogram.view(header)
    return f"a {view.meaning} view: CC and MLO are analysed" if view and view not in VIEW_NAMES else ""


_RULES: Sequence[Callable[[Dataset], str]] = (
    _made_here,
    _another_kind,
    _a_test,
    _a_specimen,
    _of_another_type,
    _modified,
    _partial,
    _of_both,
    _contradictory,
    _of_another_view,
)


def notes(header: Dataset) -> Iterator[str]:
    """Yield what a reader should know of an image that is analysed."""
    if is_synthetic(header):
        yield "a synthetic 2-D image, made of tomosynthesis, was analysed like an acquired one"
    if texts(header, "BreastImplantPresent") == "YES":
        yield "there is an implant"
    if mammogram.spacing_mm(header) is None:
        yield "its pixel spacing is not told, so sizes are not given in mm"
    if texts(header, "BurnedInAnnotation") == "YES":
        yield "text is burned into the image"
    if texts(header, "LossyImageCompression") == "01":
        yield "the image went through lossy compression"
    if (number(header, "BitsStored") or 16) <= 8:
        yield "the image has 8 bits, as scanned film has"


def is_synthetic(header: Dataset) -> bool:
    """Tell whether an image is a 2-D image made of tomosynthesis."""
    return any(word in texts(header, "ImageType").upper().split() for word in _SYNTHETIC)
