"""The tree of a Mammography CAD SR (PS3.16 TID 4000): images, what is thought of them, what was tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.objects.cad_sr import items
from pacsai.objects.cad_sr.findings import Signature, composition, composition_in_words, density, impression
from pacsai.objects.cad_sr.items import (
    CONTAINS,
    HAS_ACQ_CONTEXT,
    HAS_CONCEPT_MOD,
    HAS_PROPERTIES,
    INFERRED_FROM,
    Identifier,
)
from pacsai.objects.cad_sr.model import Exam, ExamImage, Run, Status
from pacsai.terms import Code

LIBRARY: Identifier = (1, 2)
"""Where the Image Library stands: the root's second child, after the language."""


def build(exam: Exam, signature: Signature, parameters: Sequence[str]) -> Dataset:
    """Return the root container, without relationship.

    Parameters
    ----------
    parameters : sequence of str
        What tells two runs of one algorithm version apart; told once, with the overall impression.
    """
    places = {image.sop_instance_uid: (*LIBRARY, k) for k, image in enumerate(exam.images, start=1)}
    return items.container(
        None,
        terms.MAMMOGRAPHY_CAD_REPORT,
        [
            items.code(HAS_CONCEPT_MOD, terms.LANGUAGE, terms.ENGLISH),
            items.container(CONTAINS, terms.IMAGE_LIBRARY, map(_entry, exam.images)),
            _overall(exam, places, signature, parameters),
            _summary(_DETECTIONS, exam.detections, places, signature),
            _summary(_ANALYSES, exam.analyses, places, signature),
        ],
    )


def outcome(exam: Exam) -> Code:
    """Return how the exam as a whole went (CID 6047)."""
    ended = {run.status for run in (*exam.detections, *exam.analyses)} - {Status.NOT_ATTEMPTED}
    if Status.SUCCEEDED not in ended:
        return terms.NONE_SUCCEEDED
    if Status.FAILED in ended:
        return terms.NOT_ALL_SUCCEEDED_WITH_FINDINGS if exam.marks else terms.NOT_ALL_SUCCEEDED_WITHOUT_FINDINGS
    return terms.SUCCEEDED_WITH_FINDINGS if exam.marks else terms.SUCCEEDED_WITHOUT_FINDINGS


def result_status(runs: Sequence[Run]) -> Code:
    """Return how detections or analyses went together (CID 6042)."""
    ended = {run.status for run in runs} - {Status.NOT_ATTEMPTED}
    if not ended:
        return terms.NOT_ATTEMPTED
    if len(ended) == 2:
        return terms.PARTIALLY_SUCCEEDED
    return terms.SUCCEEDED if Status.SUCCEEDED in ended else terms.FAILED


def _entry(image: ExamImage) -> Dataset:
    """Return an Image Library entry (TID 4020)."""
    return items.image(CONTAINS, image.sop_class_uid, image.sop_instance_uid, _acquisition(image))


def _acquisition(image: ExamImage) -> Iterator[Dataset]:
    if image.laterality:
        yield items.code(HAS_ACQ_CONTEXT, terms.IMAGE_LATERALITY, image.laterality)
    if image.view:
        modifiers = [items.code(HAS_CONCEPT_MOD, terms.IMAGE_VIEW_MODIFIER, one) for one in image.modifiers]
        yield items.code(HAS_ACQ_CONTEXT, terms.IMAGE_VIEW, image.view, modifiers)
    for name, direction in zip(_ORIENTATION, image.patient_orientation, strict=False):
        yield items.text(HAS_ACQ_CONTEXT, name, direction)
    for make, name, value in (
        (items.date, terms.IMAGE_STUDY_DATE, image.study_date),
        (items.time, terms.IMAGE_STUDY_TIME, image.study_time),
        (items.date, terms.IMAGE_CONTENT_DATE, image.content_date),
        (items.time, terms.IMAGE_CONTENT_TIME, image.content_time),
    ):
        if value:
            yield make(HAS_ACQ_CONTEXT, name, value)
    if image.spacing_mm:
        between_rows, between_columns = image.spacing_mm
        yield items.number(HAS_ACQ_CONTEXT, terms.HORIZONTAL_SPACING, between_columns, terms.MM)
        yield items.number(HAS_ACQ_CONTEXT, terms.VERTICAL_SPACING, between_rows, terms.MM)


_ORIENTATION = (terms.PATIENT_ORIENTATION_ROW, terms.PATIENT_ORIENTATION_COLUMN)


def _overall(exam: Exam, places: Mapping[str, Identifier], signature: Signature, parameters: Sequence[str]) -> Dataset:
    """Return the overall impression (TID 4001, 4002) with the findings below it."""
    assessment = exam.assessment
    children = [
        *([items.code(HAS_PROPERTIES, terms.ASSESSMENT_CATEGORY, assessment)] if assessment else []),
        items.text(HAS_PROPERTIES, terms.IMPRESSION_DESCRIPTION, " ".join(_sentences(exam))),
        *signature.items(),
        *(items.text(HAS_PROPERTIES, terms.ALGORITHM_PARAMETERS, one) for one in parameters),
        *(density(HAS_PROPERTIES, one) for one in exam.compositions if one.percent is not None),
        *(impression(finding, places, len(exam.images), signature) for finding in exam.findings),
        *(composition(one, signature) for one in exam.compositions if exam.marks),
    ]
    return items.code(CONTAINS, terms.PROCESSING_SUMMARY, outcome(exam), children)


def _sentences(exam: Exam) -> Iterator[str]:
    """Yield what the codes below say, and what has no code, in words."""
    yield f"{RESEARCH_USE_ONLY}."
    count = len(exam.findings)
    yield f"{outcome(exam).meaning}{f': {count} finding' + 's' * (count > 1) if count else ''}."
    if exam.case_score is not None:
        yield f"Case score {exam.case_score:.2f} (0 to 1)."
    if exam.assessment:
        yield f"Assessment suggested by the software, for a radiologist to judge: {exam.assessment.meaning}."
    yield from map(composition_in_words, exam.compositions)
    if any(image.spacing_mm is None for image in exam.images):
        yield "No sizes in mm where an image does not tell its pixel spacing."
    yield from exam.remarks


_Names = tuple[Code, Code, Code, Code]
_DETECTIONS: _Names = (
    terms.SUMMARY_OF_DETECTIONS,
    terms.SUCCESSFUL_DETECTIONS,
    terms.FAILED_DETECTIONS,
    terms.DETECTION_PERFORMED,
)
_ANALYSES: _Names = (
    terms.SUMMARY_OF_ANALYSES,
    terms.SUCCESSFUL_ANALYSES,
    terms.FAILED_ANALYSES,
    terms.ANALYSIS_PERFORMED,
)


def _summary(names: _Names, runs: Sequence[Run], places: Mapping[str, Identifier], signature: Signature) -> Dataset:
    """Return Summary of Detections or of Analyses (TID 4000 rows 6 to 9; TID 4015 to 4018)."""
    summary, successful, failed, performed = names
    lists = []
    for title, status in ((successful, Status.SUCCEEDED), (failed, Status.FAILED)):
        done = [_performed(performed, run, places, signature) for run in runs if run.status is status]
        if done:
            lists.append(items.container(INFERRED_FROM, title, done))
    return items.code(CONTAINS, summary, result_status(runs), lists)


def _performed(name: Code, run: Run, places: Mapping[str, Identifier], signature: Signature) -> Dataset:
    children = [
        items.text(HAS_PROPERTIES, terms.ALGORITHM_NAME, run.algorithm or signature.title),
        items.text(HAS_PROPERTIES, terms.ALGORITHM_VERSION, signature.version),
        *(items.reference(HAS_PROPERTIES, places[image]) for image in run.images),
    ]
    return items.code(CONTAINS, name, run.kind, children)
