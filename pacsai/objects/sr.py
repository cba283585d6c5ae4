"""A result to a Comprehensive 3D SR (PS3.3 A.35.13) with a Measurement Report (PS3.16 TID 1500).

Every result has one, also *no finding* and *not analysed*: the qualitative evaluations at its root say how the
analysis ended (CID 6047) and why. What is said of each finding is sr_groups.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import highdicom as hd
from highdicom.sr import RelationshipTypeValues
from highdicom.sr.templates import ImageLibrary
from highdicom.sr.value_types import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DateContentItem,
    NumContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Outcome, Result
from pacsai.objects import common
from pacsai.objects.common import NODE, Author, coded
from pacsai.objects.source import Source
from pacsai.objects.sr_groups import comment, groups, image_shown

_DESCRIPTORS = ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient")
_SUMMARY = {
    Outcome.FINDINGS: terms.SUCCEEDED_WITH_FINDINGS,
    Outcome.NO_FINDING: terms.SUCCEEDED_WITHOUT_FINDINGS,
    Outcome.NOT_ANALYSED: terms.NONE_SUCCEEDED,
}


def build(
    result: Result,
    source: Source,
    segmentation: Dataset | None = None,
    previous: Sequence[Dataset] = (),
    author: Author = NODE,
) -> Dataset:
    """Return the SR of a result: PRELIMINARY, UNVERIFIED, COMPLETE.

    Parameters
    ----------
    segmentation : Dataset or None
        The Segmentation of the same result, as `seg.build` gives it, for the volumetric groups to refer to.
    previous : sequence of Dataset
        Earlier SRs of this node on the same study that this one takes the place of (Predecessor Documents Sequence).

    Raises
    ------
    ValueError
        The images cannot be filed with, or a measurement is no finite number.
    """
    images = common.evidence(source)
    others = common.completed(source.others)
    said = common.identity("SR", result, author)
    # The same images analysed again give the same report, and no report comes before itself.
    earlier = [one for one in previous if one.SOPInstanceUID != said["sop_instance_uid"]]
    dataset = hd.sr.Comprehensive3DSR(
        evidence=[*images, *others, *([segmentation] if segmentation else [])],
        content=_report(result, source, images, segmentation, author),
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=earlier or None,
        contributing_equipment=[common.contributing_equipment(source, result, author)],
        **said,
    )
    return common.finish(dataset, source)


def _report(
    result: Result, source: Source, images: Sequence[Dataset], segmentation: Dataset | None, author: Author
) -> ContainerContentItem:
    """Return the root of TID 1500; highdicom's MeasurementReport would refuse one without measurement groups."""
    root = ContainerContentItem(name=coded(terms.MEASUREMENT_REPORT), template_id="1500")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(hd.sr.LanguageOfContentItemAndDescendants(coded(terms.ENGLISH)))
    root.ContentSequence.extend(common.device_observer(author))
    root.ContentSequence.append(_procedure(source))
    root.ContentSequence.extend(_library(result, source, images))
    root.ContentSequence.append(
        _container(terms.IMAGING_MEASUREMENTS, _measurements(result, source, segmentation, author))
    )
    root.ContentSequence.append(_container(terms.QUALITATIVE_EVALUATIONS, _evaluations(result, author)))
    return root


def _library(result: Result, source: Source, images: Sequence[Dataset]) -> ContentSequence:
    """Return the images that the findings are drawn on (TID 1600); the evidence sequence names all that were analysed.

    A library of 300 slices would put 5000 lines before the first finding in every viewer that shows an SR as text.
    highdicom 0.28.2 makes no entry of an image that lacks what TID 1604 tells (multi-frame, SliceThickness empty).
    """
    slices = {image_shown(finding, source) for finding in result.told}
    shown = [images[k] for k in sorted(slices)] if len(images) > 1 else images
    described = all(image.get(keyword) for image in shown for keyword in _DESCRIPTORS)
    return ImageLibrary(shown) if slices and described else ContentSequence()


def _procedure(source: Source) -> CodeContentItem:
    procedure = terms.PROCEDURES.get(str(source.header.get("Modality", "")), terms.IMAGING_PROCEDURE)
    return CodeContentItem(coded(terms.PROCEDURE_REPORTED), coded(procedure), RelationshipTypeValues.HAS_CONCEPT_MOD)


def _container(name: terms.Code, items: list[Dataset]) -> ContainerContentItem:
    container = ContainerContentItem(name=coded(name), relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence(cast(list[ContentItem], items))
    return container


def _measurements(result: Result, source: Source, segmentation: Dataset | None, author: Author) -> list[Dataset]:
    """Return the measurement groups, or a sentence in their place.

    Early OHIF 3 fails on a report without this container, and highdicom 0.28.2 reads none that is empty.
    """
    return list(groups(result, source, segmentation, author)) or [comment("No measurements.")]


def _evaluations(result: Result, author: Author) -> list[Dataset]:
    """Return how the analysis ended, by which algorithm, and what a reader should know (TID 1500 rows 12 to 14)."""
    summary = CodeContentItem(
        coded(terms.PROCESSING_SUMMARY), coded(_SUMMARY[result.outcome]), RelationshipTypeValues.CONTAINS
    )
    summary.ContentSequence = common.algorithm_content(result, author)
    compared = (result.earlier.sentence(f.change for f in result.findings),) if result.earlier else ()
    whole = result.reading.sentences if result.reading else ()
    sentences = (f"{RESEARCH_USE_ONLY}.", _sentence(result), *whole, *compared, *result.remarks)
    return [summary, *(comment(sentence) for sentence in sentences), *_compared(result)]


def _compared(result: Result) -> list[Dataset]:
    """Return the study that was compared with, by its UID, date and the days since; nothing where there is none.

    TID 1500 has no row for it, but may be extended.
    """
    earlier = result.earlier
    if earlier is None:
        return []
    item = CodeContentItem(coded(terms.COMPARED), coded(terms.YES), RelationshipTypeValues.CONTAINS)
    belongs = RelationshipTypeValues.HAS_PROPERTIES
    told: list[ContentItem] = [UIDRefContentItem(coded(terms.STUDY_UID), earlier.study_instance_uid, belongs)]
    if earlier.study_date is not None:
        told.append(DateContentItem(coded(terms.STUDY_DATE), earlier.study_date, belongs))
    if earlier.interval_days is not None:
        days = NumContentItem(coded(terms.INTERVAL), earlier.interval_days, coded(terms.DAY), relationship_type=belongs)
        told.append(days)
    item.ContentSequence = ContentSequence(told)
    return [item]


def _sentence(result: Result) -> str:
    """Return the outcome in words."""
    if result.outcome is Outcome.FINDINGS:
        count = len(result.findings)
        return f"{count} finding{'s' if count > 1 else ''}."
    said = "No finding" if result.outcome is Outcome.NO_FINDING else "Not analysed"
    return f"{said}: {result.reason}" if result.reason else f"{said}."
