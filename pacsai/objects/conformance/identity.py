"""Identity: the source's patient and study, a series and instance of its own, and the words about research use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from pacsai import MANUFACTURER, RESEARCH_USE_ONLY
from pacsai.objects.conformance.walk import items
from pacsai.objects.source import DOCUMENTS, ResultObject, Source

_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")
_NEVER_EMPTIED = ("PatientID", "StudyInstanceUID")


def mixed_up(one: ResultObject, objects: Sequence[ResultObject], source: Source) -> Iterator[str]:
    """Yield where an object says it is another patient's or study's, or takes another object's place."""
    for keyword in (*_PATIENT, *_STUDY):
        said, meant = str(one.dataset.get(keyword) or ""), str(source.header.get(keyword) or "")
        if said != meant and (said or keyword in _NEVER_EMPTIED):  # what cannot be read is left empty
            yield f"{keyword} is not the source's"
    studied = {instance.sop_instance_uid for series in source.study.series for instance in series.instances}
    if str(one.dataset.get("SOPInstanceUID")) in studied:
        yield "SOPInstanceUID is that of an instance of the study"
    if str(one.dataset.get("SeriesInstanceUID")) in {series.series_instance_uid for series in source.study.series}:
        yield "SeriesInstanceUID is that of a series of the study"
    others = [sibling for sibling in objects if sibling is not one]
    if any(other.dataset.get("SOPInstanceUID") == one.dataset.get("SOPInstanceUID") for other in others):
        yield "SOPInstanceUID is also that of another object of this result"
    if any(
        o.dataset.get("SeriesInstanceUID") == one.dataset.get("SeriesInstanceUID") for o in others if o.kind != one.kind
    ):
        yield "SeriesInstanceUID is also that of another object of this result"
    if one.dataset.get("Manufacturer") != MANUFACTURER:
        yield f"Manufacturer is not {MANUFACTURER}, so the node would not know its own object again"


def unmarked(one: ResultObject, _: Sequence[ResultObject], source: Source) -> Iterator[str]:  # noqa: ARG001
    """Yield where the words about research use are missing that a reader of this kind of object would see."""
    if not _says(one.dataset.get("SeriesDescription")):
        yield f"SeriesDescription does not say {RESEARCH_USE_ONLY!r}"
    if one.kind in ("SEG", "GSPS") and not _says(one.dataset.get("ContentDescription")):
        yield f"ContentDescription does not say {RESEARCH_USE_ONLY!r}"
    if one.kind in DOCUMENTS and not any(_says(item.get("TextValue")) for _, item in items(one.dataset)):
        yield f"no TEXT item says {RESEARCH_USE_ONLY!r}"
    if one.kind == "GSPS":
        yield from _unmarked_images(one.dataset)
    if one.kind == "SC" and one.dataset.get("BurnedInAnnotation") != "YES":
        yield "BurnedInAnnotation is not YES, though words are burned into the page"


def _unmarked_images(state: Dataset) -> Iterator[str]:
    for number, annotation in enumerate(state.get("GraphicAnnotationSequence", ()), start=1):
        texts = [text.get("UnformattedTextValue") for text in annotation.get("TextObjectSequence", ())]
        if not any(_says(text) for text in texts):
            yield f"annotation {number} does not say {RESEARCH_USE_ONLY!r} on its image"


def _says(text: object) -> bool:
    return RESEARCH_USE_ONLY.lower() in str(text).lower()
