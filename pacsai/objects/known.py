"""What an earlier report of this node told: its findings, read back from SR (TID 1500) and SEG.

Reads only what this node wrote, of one pipeline, and believes little of it: what is missing or broken is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai import MANUFACTURER, MODEL_NAME, terms
from pacsai.sequences import Known
from pacsai.study import Instance, Study
from pacsai.study.header import as_number, items, texts, uid
from pacsai.volume.plane import GeometryError, Plane, planes

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
MEASUREMENT_GROUP, TRACKING_UID, TRACKING_IDENTIFIER, VOLUME = "125007", "112040", "112039", "118565006"
CHANGE, RESOLVED, LESION_COUNT = terms.CHANGE.value, terms.RESOLVED.value, terms.LESION_COUNT.value
MOST_VOXELS = 2**29

_Place = tuple[float, float, float]


def known_findings(study: Study, pipeline: str) -> tuple[tuple[Known, ...], tuple[Instance, ...]]:
    """Return the findings of the latest report of `pipeline` in `study`, and the instances that told them.

    The place is the centre of the finding's segment, else of its outline; a finding without a place is left out.
    """
    ours = [one for one in study.instances if _is_ours(one.header, pipeline)]
    reports = [one for one in ours if one.sop_class_uid == COMPREHENSIVE_3D_SR]
    if not reports:
        return (), ()
    report = max(reports, key=lambda one: (texts(one.header, "ContentDate", "ContentTime"), one.sop_instance_uid))
    segmentations = [one for one in ours if one.sop_class_uid == SEGMENTATION and _names(report, one)]
    centres: dict[str, _Place] = {}
    for one in segmentations:
        with suppress(Exception):  # whatever broken pixels make decoders raise: the outline stands in
            centres |= _segment_centres(one)
    known = tuple(_known(report.header, centres, study))
    return known, (report, *segmentations)


def _known(report: Dataset, centres: Mapping[str, _Place], study: Study) -> Iterator[Known]:
    groups: dict[str, list[Dataset]] = {}
    for group in _groups(report):
        if tracking_uid := next((uid(one, "UID") for one in _items(group, TRACKING_UID)), ""):
            groups.setdefault(tracking_uid, []).append(group)
    images = {one.sop_instance_uid: one for one in study.instances}
    for tracking_uid, parts in groups.items():
        if _is_no_lesion(parts):
            continue
        centre = centres.get(tracking_uid) or next(filter(None, (_outline_centre(one, images) for one in parts)), None)
        if centre:
            labels = (texts(one, "TextValue") for part in parts for one in _items(part, TRACKING_IDENTIFIER))
            yield Known(tracking_uid, next(labels, ""), centre, _volume_mm3(parts))


def _is_no_lesion(groups: list[Dataset]) -> bool:
    """Tell whether groups are a total over many lesions, or a lesion that was gone by then."""
    changes = (code for group in groups for one in _items(group, CHANGE) for code in items(one, "ConceptCodeSequence"))
    counted = any(True for group in groups for _ in _items(group, LESION_COUNT))
    return counted or any(texts(code, "CodeValue") == RESOLVED for code in changes)


def _groups(item: Dataset) -> Iterator[Dataset]:
    for one in items(item, "ContentSequence"):
        if _concept(one) == MEASUREMENT_GROUP:
            yield one
        else:
            yield from _groups(one)


def _volume_mm3(groups: list[Dataset]) -> float | None:
    numbers = (
        value for group in groups for one in _items(group, VOLUME) for value in items(one, "MeasuredValueSequence")
    )
    return next((as_number(texts(one, "NumericValue")) for one in numbers), None)


def _segment_centres(instance: Instance) -> dict[str, _Place]:
    """Return the centre of each segment's voxels by tracking UID (binary segmentations)."""
    header = instance.header
    count = int(header.NumberOfFrames)
    if count * int(header.Rows) * int(header.Columns) > MOST_VOXELS:
        return {}
    frames = np.reshape(dcmread(instance.path).pixel_array, (count, header.Rows, header.Columns))
    sums: dict[int, NDArray[np.float64]] = {}
    for frame, plane, pixels in zip(header.PerFrameFunctionalGroupsSequence, planes((instance,)), frames, strict=True):
        number = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        rows, columns = np.nonzero(pixels)
        places = _places(plane, np.column_stack([columns, rows]))
        sums[number] = sums.get(number, np.zeros(4)) + np.append(places.sum(axis=0), len(places))
    found = {int(one.SegmentNumber): uid(one, "TrackingUID") for one in header.SegmentSequence}
    return {found[n]: _place(total[:3] / total[3]) for n, total in sums.items() if found.get(n) and total[3]}


def _outline_centre(group: Dataset, images: Mapping[str, Instance]) -> _Place | None:
    """Return the middle of a planar group's outline (SCOORD) in the world, None where it has none on our images."""
    for region in (one for one in items(group, "ContentSequence") if one.get("ValueType") == "SCOORD"):
        for reference in (
            one for shown in items(region, "ContentSequence") for one in items(shown, "ReferencedSOPSequence")
        ):
            image = images.get(uid(reference, "ReferencedSOPInstanceUID"))
            with suppress(GeometryError, ValueError, IndexError):
                plane = planes((image,))[int(reference.get("ReferencedFrameNumber") or 1) - 1] if image else None
                points = np.reshape(np.asarray(region.GraphicData, dtype=np.float64), (-1, 2)) - 0.5
                if plane is not None and len(points):
                    middle = (points.min(axis=0) + points.max(axis=0)) / 2
                    return _place(_places(plane, middle[None])[0])
    return None


def _places(plane: Plane, column_row: NDArray[Any]) -> NDArray[np.float64]:
    """Return the world places (n, 3) of indices (n, 2) as (column, row), whole numbers at pixel centres."""
    between_rows, between_columns = plane.spacing_mm
    steps = np.array([plane.axes[0] * between_columns, plane.axes[1] * between_rows])
    places: NDArray[np.float64] = plane.position_mm + column_row @ steps
    return places


def _place(xyz: NDArray[np.float64]) -> _Place:
    x, y, z = (float(value) for value in xyz)
    return x, y, z


def _items(group: Dataset, concept: str) -> Iterator[Dataset]:
    return (one for one in items(group, "ContentSequence") if _concept(one) == concept)


def _concept(item: Dataset) -> str:
    return next((texts(one, "CodeValue") for one in items(item, "ConceptNameCodeSequence")), "")


def _is_ours(header: Dataset, pipeline: str) -> bool:
    """Return whether this node made it, with the pipeline of this name in whatever version."""
    made = texts(header, "Manufacturer"), texts(header, "ManufacturerModelName")
    versions = header.get("SoftwareVersions") or ()
    named = [str(one).split(" ")[0] for one in ([versions] if isinstance(versions, str) else versions)]
    return made == (MANUFACTURER, MODEL_NAME) and pipeline in named


def _names(report: Instance, other: Instance) -> bool:
    """Return whether the report's evidence names the other instance."""
    studies = items(report.header, "CurrentRequestedProcedureEvidenceSequence")
    series = (one for study in studies for one in items(study, "ReferencedSeriesSequence"))
    objects = (one for each in series for one in items(each, "ReferencedSOPSequence"))
    return any(uid(one, "ReferencedSOPInstanceUID") == other.sop_instance_uid for one in objects)
