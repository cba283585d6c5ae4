"""A finding to the measurement groups of an SR: volumetric (TID 1411) over its segment, planar (TID 1410) beside it.

Both carry the finding's tracking identifier and UID. The numbers stand in the first group of a finding; the planar
one gives viewers something to draw: seen in OHIF 3.13, an SR with volumetric groups alone leaves the viewport black.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr.value_types import TextContentItem
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.changes import Change, difference
from pacsai.finding import Finding, Measurement, Result
from pacsai.objects import spots
from pacsai.objects.common import Author, coded, provenance_of, title
from pacsai.objects.contour import outlines
from pacsai.objects.frames import image_of_slice
from pacsai.objects.seg import segmented
from pacsai.objects.source import Source
from pacsai.reading import Spot
from pacsai.study import Instance
from pacsai.volume import Volume

_Arguments = dict[str, Any]
_ONE_DECIMAL = frozenset({terms.MM, terms.MM3, terms.HU, terms.PERCENT})
_SIGNIFICANT_DIGITS = 6
CHANGES = {
    Change.NEW: terms.NEW_FINDING,
    Change.ENLARGING: terms.INCREASE_IN_SIZE,
    Change.STABLE: terms.NO_SIGNIFICANT_CHANGE,
    Change.SHRINKING: terms.DECREASE_IN_SIZE,
    Change.GONE: terms.RESOLVED,
}


def groups(result: Result, source: Source, segmentation: Dataset | None, author: Author) -> Iterator[Dataset]:
    """Yield the measurement groups of every finding and then of every total, in their order.

    Raises
    ------
    ValueError
        A measurement is no finite number, or a finding without a mask comes with no volume to place it in.
    """
    numbers = {finding.tracking_uid: n for n, finding in enumerate(segmented(result), start=1)}
    for finding in result.told:
        number = numbers.get(finding.tracking_uid) if segmentation is not None else None
        told = _told(finding) | {"algorithm_id": _algorithm(result, author)}
        if segmentation is not None and number is not None:
            yield _volumetric(finding, _segment(number, segmentation, source), told)
            told = {}
        yield _planar(finding, _region(finding, source), told)


def comment(sentence: str) -> TextContentItem:
    """Return a sentence for the reader as a TEXT item."""
    return TextContentItem(coded(terms.COMMENT), sentence, hd.sr.RelationshipTypeValues.CONTAINS)


def _volumetric(finding: Finding, segment: hd.sr.ReferencedSegment, told: _Arguments) -> Dataset:
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        **_subject(finding), **told, referenced_segment=segment
    )
    return _with_remarks(group[0], finding)


def _planar(finding: Finding, region: hd.sr.ImageRegion, told: _Arguments) -> Dataset:
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(**_subject(finding), **told, referenced_region=region)
    return _with_remarks(group[0], finding) if told else group[0]


def _with_remarks(group: Dataset, finding: Finding) -> Dataset:
    before = difference(finding.value(terms.VOLUME), finding.prior_volume_mm3)
    for remark in (*finding.remarks, *((f"Earlier study: {before}",) if before else ())):
        group.ContentSequence.append(comment(remark))
    return group


def _subject(finding: Finding) -> _Arguments:
    """Return what both groups of a finding say: which one it is, what it is and where."""
    laterality = coded(finding.laterality) if finding.laterality else None
    return {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid=finding.tracking_uid, identifier=finding.label),
        "finding_type": coded(finding.kind),
        "finding_sites": [hd.sr.FindingSite(coded(finding.site), laterality)] if finding.site else None,
    }


def _told(finding: Finding) -> _Arguments:
    """Return what one group of a finding says for both: its numbers and qualities, and its change."""
    numbers = list(finding.measurements)
    if finding.probability is not None:
        concept = terms.CERTAINTY if finding.on is None else terms.PROBABILITY_OF_CANCER
        numbers.append(Measurement(concept, 100 * finding.probability, terms.PERCENT))
    change = ((terms.CHANGE, CHANGES[finding.change]),) if finding.change else ()
    return {
        "measurements": [_measurement(m) for m in numbers],
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(coded(concept), coded(value))
            for concept, value in (*finding.qualities, *change)
        ],
    }


def _algorithm(result: Result, author: Author) -> hd.sr.AlgorithmIdentification:
    """Return name and version (TID 4019); the digests stand once, beside the outcome."""
    provenance = provenance_of(result)
    return hd.sr.AlgorithmIdentification(title(provenance, author), provenance.version)


def _measurement(measurement: Measurement) -> hd.sr.Measurement:
    """Return a NUM item (TID 300); a method out of CID 7464, such as the mean, is its derivation."""
    method = coded(measurement.method) if measurement.method else None
    derived = measurement.method in terms.DERIVATIONS
    return hd.sr.Measurement(
        name=coded(measurement.name),
        value=_rounded(measurement),
        unit=coded(measurement.unit),
        derivation=method if derived else None,
        method=None if derived else method,
    )


def _rounded(measurement: Measurement) -> float:
    """Return the value without digits that no measurement on images carries; well inside the 16 characters of DS."""
    if not math.isfinite(measurement.value):
        raise ValueError(f"{measurement.name.meaning} is {measurement.value}, and a report wants a finite number")
    if measurement.unit in _ONE_DECIMAL:
        return round(float(measurement.value), 1)
    return float(f"{measurement.value:.{_SIGNIFICANT_DIGITS}g}")


def _segment(number: int, segmentation: Dataset, source: Source) -> hd.sr.ReferencedSegment:
    """Return the reference to a segment, by its parts.

    ReferencedSegment.from_segmentation of highdicom 0.28.2 raises AttributeError (SegmentIdentificationSequence) on
    single-segment objects that highdicom itself wrote.
    """
    return hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        number,
        source_series=hd.sr.SourceSeriesForSegmentation(source.header.SeriesInstanceUID),
    )


def image_shown(finding: Finding, source: Source) -> int:
    """Return the place in `source.instances` of the image a finding is drawn on: of its view, else of its slice.

    Raises
    ------
    ValueError
        As `slice_shown`.
    """
    if finding.on is None:
        return slice_shown(finding, source)
    return [instance.sop_instance_uid for instance in source.instances].index(finding.on.image)


def slice_shown(finding: Finding, source: Source) -> int:
    """Return the slice a finding is drawn on: the one that holds most of its mask, or that of its centre.

    Raises
    ------
    ValueError
        The finding has no mask, and there is no volume to find its centre in.
    """
    if finding.mask is not None and finding.mask.array.any():
        return finding.mask.offset_kji[0] + int(np.argmax(finding.mask.array.sum(axis=(1, 2))))
    return int(np.clip(round(float(_centre_kji(finding, source)[0])), 0, len(_volume(finding, source).array) - 1))


def _region(finding: Finding, source: Source) -> hd.sr.ImageRegion:
    """Return the outline on a view, or of the mask's largest piece on its slice; else the centre as a point."""
    if finding.on is not None:
        return _region_on(finding.on, source.instances[image_shown(finding, source)])
    k = slice_shown(finding, source)
    if finding.mask is None or not finding.mask.array.any():
        column_row = (
            _centre_kji(finding, source)[:0:-1] + 0.5
        )  # an index is a pixel's centre, SCOORD counts from its corner
        return hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POINT, column_row[np.newaxis], _image(k, source))
    k_0, j_0, i_0 = finding.mask.offset_kji
    outline = outlines(finding.mask.array[k - k_0])[0] + (i_0, j_0)
    return hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, outline, _image(k, source))


def _region_on(spot: Spot, image: Instance) -> hd.sr.ImageRegion:
    reference = hd.sr.SourceImageForRegion(image.sop_class_uid, image.sop_instance_uid)
    if spot.outline_ji:
        return hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, spots.outline(spot), reference)
    return hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POINT, spots.centre(spot), reference)


def _centre_kji(finding: Finding, source: Source) -> NDArray[np.float64]:
    return _volume(finding, source).index_kji(finding.centre_mm)


def _volume(finding: Finding, source: Source) -> Volume:
    if source.volume is None:
        raise ValueError(f"{finding.label} has no mask, and there is no volume to find the slice of its centre in")
    return source.volume


def _image(k: int, source: Source) -> hd.sr.SourceImageForRegion:
    """Return the reference to the image of slice `k`, with the frame (from 1) where it has frames."""
    image, frame = image_of_slice(source, [instance.header for instance in source.instances], k)
    return hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, [frame] if frame else None)
