"""An image's header to its entry in the Image Library: side, view, orientation, dates, spacing (PS3.16 TID 4020).

Reads attributes only; which images belong to an exam is the selection's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from pacsai import terms
from pacsai.objects.cad_sr.model import ExamImage
from pacsai.study import mammogram
from pacsai.study.header import texts, values
from pacsai.terms import Code

_SIDES = {"L": terms.LEFT_BREAST, "R": terms.RIGHT_BREAST, "B": terms.BOTH_BREASTS}


def exam_image(header: Dataset) -> ExamImage:
    """Return the entry of an image; what its header does not say in a form that can be handed on stays empty."""
    return ExamImage(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        columns=int(header.Columns),
        rows=int(header.Rows),
        laterality=laterality(header),
        view=mammogram.view(header),
        modifiers=mammogram.modifiers(header),
        patient_orientation=patient_orientation(header),
        spacing_mm=mammogram.spacing_mm(header),
        study_date=_readable(header, "StudyDate", DA),
        study_time=_readable(header, "StudyTime", TM),
        content_date=_readable(header, "ContentDate", DA),
        content_time=_readable(header, "ContentTime", TM),
    )


def laterality(header: Dataset) -> Code | None:
    """Return the breast that an image is of, CID 6022."""
    return _SIDES.get(mammogram.side(header))


def patient_orientation(header: Dataset) -> tuple[str, ...]:
    """Return PatientOrientation (0020,0020) where it has its two values."""
    found = tuple(str(value) for value in values(header, "PatientOrientation"))
    return found if len(found) == 2 and all(found) else ()


def tells(header: Dataset, keyword: str) -> bool:
    """Tell whether a header has this attribute in a form that the Image Library can hand on."""
    return (keyword in header or keyword in _NESTED) and bool(_READERS[keyword](header))


def _readable(header: Dataset, keyword: str, parse: Callable[[str], object]) -> str:
    """Return a date or time as it is written, empty where it is missing or none."""
    value = texts(header, keyword)
    try:
        return value if value and parse(value) is not None else ""
    except ValueError:
        return ""


_READERS: Mapping[str, Callable[[Dataset], object]] = {
    "ImageLaterality": laterality,
    "ViewCodeSequence": mammogram.view,
    "ViewModifierCodeSequence": mammogram.modifiers,
    "PatientOrientation": patient_orientation,
    "ImagerPixelSpacing": mammogram.spacing_mm,
    "PixelSpacing": mammogram.spacing_mm,
    "StudyDate": lambda header: _readable(header, "StudyDate", DA),
    "StudyTime": lambda header: _readable(header, "StudyTime", TM),
    "ContentDate": lambda header: _readable(header, "ContentDate", DA),
    "ContentTime": lambda header: _readable(header, "ContentTime", TM),
}
"""Reader of each attribute that TID 4020 asks for where the image has it."""
_NESTED = frozenset({"ViewModifierCodeSequence"})
"""Those that stand in an item of another attribute."""
