"""References: each to an image that was analysed or to a sibling, of the right class, to a segment or frame it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset

from pacsai.objects.conformance.walk import items, own
from pacsai.objects.source import DOCUMENTS, ResultObject, Source


def dangling(one: ResultObject, objects: Sequence[ResultObject], source: Source) -> Iterator[str]:
    """Yield the references that lead nowhere."""
    known = _known(one, objects, source)
    for path, item in items(own(one.dataset, source)):
        if "ReferencedSOPInstanceUID" in item and not path.startswith("PredecessorDocumentsSequence"):
            yield from _judged(path, item, known)
    if one.kind in DOCUMENTS:
        yield from _without_evidence(one.dataset)
    if one.kind == "GSPS":
        yield from _without_series(one.dataset)
    yield from _tracks(one, objects)


def _known(one: ResultObject, objects: Sequence[ResultObject], source: Source) -> Mapping[str, Dataset]:
    """Return what `one` may refer to: a rejection note to what was made here alone, never to anybody's images."""
    made = {str(other.dataset.SOPInstanceUID): other.dataset for other in objects}
    if one.kind == "REJECTION":
        return made
    studied = {i.sop_instance_uid: i.header for series in source.study.series for i in series.instances}
    analysed = {instance.sop_instance_uid: instance.header for instance in source.instances}
    return studied | analysed | made


def _judged(path: str, item: Dataset, known: Mapping[str, Dataset]) -> Iterator[str]:
    target = known.get(str(item.ReferencedSOPInstanceUID))
    if target is None:
        yield f"{path} names {item.ReferencedSOPInstanceUID}, which is neither analysed nor made here"
        return
    if item.get("ReferencedSOPClassUID") != target.SOPClassUID:
        yield f"{path} names an instance of class {target.SOPClassUID} as one of {item.get('ReferencedSOPClassUID')}"
    segments = {int(segment.SegmentNumber) for segment in target.get("SegmentSequence", ())}
    for number in _numbers(item, "ReferencedSegmentNumber"):
        if number not in segments:
            yield f"{path} names segment {number}, and the segmentation has {sorted(segments)}"
    for number in _numbers(item, "ReferencedFrameNumber"):
        frames = int(target.get("NumberOfFrames") or 1)
        if not 1 <= number <= frames:
            yield f"{path} names frame {number} of {frames}"


def _numbers(item: Dataset, keyword: str) -> list[int]:
    return [int(number) for number in np.atleast_1d(item[keyword].value)] if keyword in item else []


def _without_evidence(document: Dataset) -> Iterator[str]:
    """Yield what a document refers to in its content without naming it as evidence (PS3.3 C.17.2.3)."""
    for uid in _only_below("ContentSequence", document):
        yield f"the content refers to {uid}, which the evidence does not name"


def _without_series(state: Dataset) -> Iterator[str]:
    """Yield what a presentation state annotates without listing it among its images (PS3.3 C.11.11)."""
    for uid in _only_below("Graphic", state):
        yield f"an annotation refers to {uid}, which ReferencedSeriesSequence does not name"


def _only_below(start: str, document: Dataset) -> list[str]:
    """Return the instances that are referred to in sequences whose path begins with `start`, and nowhere else."""
    below: set[str] = set()
    elsewhere: set[str] = set()
    for path, item in items(document):
        if "ReferencedSOPInstanceUID" in item:
            (below if path.startswith(start) else elsewhere).add(str(item.ReferencedSOPInstanceUID))
    return sorted(below - elsewhere)


def _tracks(one: ResultObject, objects: Sequence[ResultObject]) -> Iterator[str]:
    """Yield the tracking UIDs of segments and graphics that the report of the same result does not have."""
    reports = [sibling.dataset for sibling in objects if sibling.kind in ("SR", "CADSR")]
    if one.kind not in ("SEG", "GSPS") or not reports:
        return
    told = {str(item.UID) for report in reports for _, item in items(report) if "UID" in item}
    for path, item in items(one.dataset):
        if "TrackingUID" in item and str(item.TrackingUID) not in told:
            yield f"{path} has a tracking UID that the SR does not know"
