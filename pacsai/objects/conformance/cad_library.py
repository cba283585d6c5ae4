"""Whether an entry of the Image Library (TID 4020) says what its image says."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.objects.cad_sr import ExamImage, exam_image
from pacsai.objects.conformance import tree
from pacsai.terms import Code

_Said = Code | str | float | None


def unlike(entry: Dataset, header: Dataset) -> Iterator[str]:
    """Yield what an IMAGE item says that its image says otherwise.

    What the image does not say (a side seen from the pixels, say) may stand there. No value is repeated in the words:
    dates and times are a patient's.
    """
    image = exam_image(header)
    told = _told(image)
    for child in tree.children(entry):
        name = tree.concept(child)
        wanted = told.get(name) if name else None
        if name and wanted and not _same(_said(child), wanted):
            yield f"{name.meaning} is not what the image says"
        if name == terms.IMAGE_VIEW and image.modifiers:
            modifiers = {tree.value(one) for one in tree.children(child)}
            if modifiers and modifiers != set(image.modifiers):
                yield "its view modifiers are not those of the image"


def _told(image: ExamImage) -> dict[Code, _Said]:
    """Return what an image tells of itself, by the concept that says it."""
    row, column = image.patient_orientation or ("", "")
    between_rows, between_columns = image.spacing_mm or (None, None)
    return {
        terms.IMAGE_LATERALITY: image.laterality,
        terms.IMAGE_VIEW: image.view,
        terms.PATIENT_ORIENTATION_ROW: row,
        terms.PATIENT_ORIENTATION_COLUMN: column,
        terms.IMAGE_STUDY_DATE: image.study_date,
        terms.IMAGE_STUDY_TIME: image.study_time,
        terms.IMAGE_CONTENT_DATE: image.content_date,
        terms.IMAGE_CONTENT_TIME: image.content_time,
        terms.HORIZONTAL_SPACING: between_columns,
        terms.VERTICAL_SPACING: between_rows,
    }


def _said(item: Dataset) -> _Said:
    """Return the value of an item; of a number its mm."""
    kind = item.get("ValueType")
    if kind == "CODE":
        return tree.value(item)
    if kind == "NUM":
        measured = item.get("MeasuredValueSequence")
        number = measured[0].get("NumericValue") if measured else None
        unit = tree.unit(item)
        return None if number is None or unit is None else float(number) * (0.001 if unit.value == "um" else 1)
    return str(item.get({"DATE": "Date", "TIME": "Time"}.get(str(kind), "TextValue"), ""))


def _same(said: _Said, wanted: _Said) -> bool:
    if isinstance(said, float) and isinstance(wanted, float):
        return math.isclose(said, wanted, rel_tol=1e-3)
    return said == wanted
