"""Findings to a Segmentation (PS3.3 A.51): BINARY, one segment per finding, on the grid of the source images.

The segments of totals (all lesions of a class) come after those of the findings and overlap them: OHIF 3 shows the
first of segments that overlap, and single lesions are what a reader picks.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import DS

from pacsai import RESEARCH_USE_ONLY
from pacsai.finding import Finding, Mask, Result
from pacsai.objects import common
from pacsai.objects.common import NODE, Author, coded
from pacsai.objects.source import Source
from pacsai.terms import MORPHOLOGICALLY_ABNORMAL
from pacsai.volume.stack import geometry, spacing_of


def segmented(result: Result) -> tuple[Finding, ...]:
    """Return what becomes segments: findings, then totals, with a mask that holds a voxel. Segment n is the nth."""
    return tuple(finding for finding in result.told if finding.mask is not None and finding.mask.array.any())


def build(result: Result, source: Source, author: Author = NODE) -> Dataset:
    """Return the Segmentation of the findings that have a mask.

    Frames without a voxel are left out; the others lie where their source image lies and refer to it.

    Raises
    ------
    ValueError
        No finding has a mask, a mask reaches beyond the images, or the images lie in no frame of reference.
    """
    findings = segmented(result)
    images = common.evidence(source)
    _check(findings, images)
    frames, pixels = _pixels([finding.mask for finding in findings if finding.mask], source)
    dataset = hd.seg.Segmentation(
        source_images=images if _is_multi_frame(source) else [images[k] for k in frames],
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=_segments(findings, result, author),
        content_label=common.content_label(common.provenance_of(result)),
        content_description=common.description(common.provenance_of(result), author),
        content_creator_name=common.CONTENT_CREATOR,
        contributing_equipment=[common.contributing_equipment(source, result, author)],
        **common.identity("SEG", result, author),
    )
    _settle(dataset, result, source)
    return common.finish(dataset, source)


def _check(findings: Sequence[Finding], images: Sequence[Dataset]) -> None:
    if not findings:
        raise ValueError("no finding has a mask, so there is nothing to write as a segmentation")
    frames = {image.get("FrameOfReferenceUID") for image in images}
    if len(frames) > 1 or not frames.pop():
        raise ValueError("the images do not share one FrameOfReferenceUID, so a segmentation has no place to lie")


def _is_multi_frame(source: Source) -> bool:
    return "PerFrameFunctionalGroupsSequence" in source.header


def _pixels(masks: Sequence[Mask], source: Source) -> tuple[list[int], NDArray[np.uint8 | np.uint16]]:
    """Return the frames to write and their pixels: a label map [frame, j, i], or [frame, j, i, segment] on overlap.

    Only slices that a mask touches take memory, but of a multi-frame image, where highdicom wants every frame.
    """
    if _is_multi_frame(source):
        frame_of = list(geometry(source.instances).frames)
        frames = sorted(frame_of)
    else:
        frame_of = list(range(len(source.instances)))
        frames = sorted({k for mask in masks for k in frame_of[mask.box[0]]})
    shape = (len(frames), int(source.header.Rows), int(source.header.Columns))
    _check_bounds(masks, (len(frame_of), *shape[1:]))
    places = [np.searchsorted(frames, frame_of[mask.box[0]]) for mask in masks]
    labels = np.zeros(shape, dtype=np.uint8 if len(masks) < 256 else np.uint16)
    for number, (mask, place) in enumerate(zip(masks, places, strict=True), start=1):
        region = labels[place, mask.box[1], mask.box[2]]
        if region[mask.array].any():
            return frames, _stacked(masks, places, shape)
        region[mask.array] = number
        labels[place, mask.box[1], mask.box[2]] = region
    return frames, labels


def _stacked(
    masks: Sequence[Mask], places: Sequence[NDArray[np.int_]], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return masks that overlap as [frame, j, i, segment].

    Laid out segment by segment: 20 masks on 250 slices of 512 x 512 take 1.3 GB of addresses, but only the pages of
    frames that a mask touches, and highdicom reads whole frames twice as fast as with the segments interleaved.
    """
    pixels = np.zeros((len(masks), *shape), dtype=np.uint8)
    for segment, mask, place in zip(pixels, masks, places, strict=True):
        segment[place, mask.box[1], mask.box[2]] = mask.array
    return np.moveaxis(pixels, 0, -1)


def _check_bounds(masks: Sequence[Mask], shape_kji: tuple[int, int, int]) -> None:
    for mask in masks:
        if any(part.start < 0 or part.stop > n for part, n in zip(mask.box, shape_kji, strict=True)):
            raise ValueError(f"a mask at {mask.offset_kji} of {mask.array.shape} reaches beyond images of {shape_kji}")


def _segments(findings: Sequence[Finding], result: Result, author: Author) -> list[hd.seg.SegmentDescription]:
    algorithm = common.algorithm_sequence(result, author)
    return [_segment(number, finding, algorithm) for number, finding in enumerate(findings, start=1)]


def _segment(number: int, finding: Finding, algorithm: hd.AlgorithmIdentificationSequence) -> hd.seg.SegmentDescription:
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=finding.label[:64],
        segmented_property_category=coded(MORPHOLOGICALLY_ABNORMAL),
        segmented_property_type=coded(finding.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=finding.tracking_uid,
        tracking_id=finding.label[:64],
        anatomic_regions=[coded(finding.site)] if finding.site else None,
    )
    certainty = "" if finding.probability is None else f"Certainty {100 * finding.probability:.0f} %. "
    segment.SegmentDescription = f"{certainty}{RESEARCH_USE_ONLY}."
    if finding.site and finding.laterality:
        segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [coded(finding.laterality)]
    return segment


def _settle(dataset: Dataset, result: Result, source: Source) -> None:
    """Put right what highdicom 0.28.2 draws at random or reckons from the slices that it was shown alone.

    It invents the dimension organisation's UID, and takes the distance between the first frames that carry a mask
    for the spacing between slices: two marks 50 mm apart would read as slices 50 mm apart.
    """
    organisation = common.provenance_of(result).uid("SEG dimensions")
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    if source.volume is not None:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        spacing = DS(spacing_of(source.volume.affine)[0], auto_format=True)
        measures.SpacingBetweenSlices = spacing
        if not measures.get("SliceThickness"):  # type 1 of a segmentation's planes, type 2 of the images'
            measures.SliceThickness = spacing
