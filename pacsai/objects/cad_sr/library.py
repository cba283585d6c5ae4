"""An image's header to its entry in the Image Library: side, view, orientation, dates, spacing (PS3.16 TID 4020).

Reads attributes only; which images belong to an exam is the selection's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DictionaryCode
from pydicom.valuerep import DA, TM

from pacsai import terms
from pacsai.objects.cad_sr.model import ExamImage
from pacsai.terms import Code

_SIDES = {"L": terms.LEFT_BREAST, "R": terms.RIGHT_BREAST, "B": terms.BOTH_BREASTS}
_VIEW_POSITIONS = {
    "CC": codes.cid4014.CranioCaudal,
    "MLO": codes.cid4014.MedioLateralObliqueProjection,
    "ML": codes.cid4014.MedioLateralProjection,
    "LM": codes.cid4014.LateroMedial,
}


def exam_image(header: Dataset) -> ExamImage:
    """Return the entry of an image; what its header does not say in a form that can be handed on stays empty."""
    return ExamImage(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        columns=int(header.Columns),
        rows=int(header.Rows),
        laterality=laterality(header),
        view=view(header),
        modifiers=modifiers(header),
        patient_orientation=patient_orientation(header),
        spacing_mm=spacing_mm(header),
        study_date=readable(header, "StudyDate", DA),
        study_time=readable(header, "StudyTime", TM),
        content_date=readable(header, "ContentDate", DA),
        content_time=readable(header, "ContentTime", TM),
    )


def laterality(header: Dataset) -> Code | None:
    """Return the breast of ImageLaterality (0020,0062), CID 6022."""
    return _SIDES.get(str(header.get("ImageLaterality", "")))


def view(header: Dataset) -> Code | None:
    """Return the view (CID 4014) of the View Code Sequence, in SNOMED CT though it be RT; else of ViewPosition."""
    named = header.get("ViewCodeSequence")
    found = _in_group(named[0], codes.cid4014.concepts.values()) if named else None
    position = _VIEW_POSITIONS.get(str(header.get("ViewPosition", "")))
    return found or (_ours(position) if position else None)


def modifiers(header: Dataset) -> tuple[Code, ...]:
    """Return the view modifiers (CID 4015) that are known."""
    named = header.get("ViewCodeSequence")
    written = named[0].get("ViewModifierCodeSequence") or () if named else ()
    found = (_in_group(one, codes.cid4015.concepts.values()) for one in written)
    return tuple(one for one in found if one)


def patient_orientation(header: Dataset) -> tuple[str, ...]:
    """Return PatientOrientation (0020,0020) where it has its two values."""
    value = header.get("PatientOrientation") or ()
    return tuple(map(str, value)) if not isinstance(value, str) and len(value) == 2 and all(value) else ()


def spacing_mm(header: Dataset) -> tuple[float, float] | None:
    """Return ImagerPixelSpacing (0018,1164), or PixelSpacing (0028,0030): between rows, between columns."""
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        value = header.get(keyword)
        if value and len(value) == 2 and min(map(float, value)) > 0:
            return float(value[0]), float(value[1])
    return None


def readable(header: Dataset, keyword: str, parse: Callable[[str], object]) -> str:
    """Return a date or time as it is written, empty where it is missing or none."""
    value = str(header.get(keyword) or "")
    try:
        return value if value and parse(value) is not None else ""
    except ValueError:
        return ""


def tells(header: Dataset, keyword: str) -> bool:
    """Tell whether a header has this attribute in a form that the Image Library can hand on."""
    readers: dict[str, Callable[[Dataset], object]] = {
        "ImageLaterality": laterality,
        "ViewCodeSequence": view,
        "PatientOrientation": patient_orientation,
        "ImagerPixelSpacing": spacing_mm,
        "PixelSpacing": spacing_mm,
        "StudyDate": lambda said: readable(said, "StudyDate", DA),
        "StudyTime": lambda said: readable(said, "StudyTime", TM),
        "ContentDate": lambda said: readable(said, "ContentDate", DA),
        "ContentTime": lambda said: readable(said, "ContentTime", TM),
    }
    return keyword in header and bool(readers[keyword](header))


def _in_group(item: Dataset, group: Iterable[DictionaryCode]) -> Code | None:
    """Return the concept of a context group that a code item means; pydicom compares SNOMED RT with CT."""
    written = DictionaryCode(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")), "")
    return next((_ours(one) for one in group if one == written), None)


def _ours(one: DictionaryCode) -> Code:
    return Code(one.value, one.scheme_designator, one.meaning)
