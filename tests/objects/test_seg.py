"""The Segmentation: what highdicom reads back is what was found, where it was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Finding, Mask, Result
from pacsai.objects import seg
from pacsai.objects.source import Source
from tests.objects import samples, tools

SHAPE = samples.SHAPE_KJI


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def written(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nodules, one cut by the first slice, row and column."""
    return tools.saved(seg.build(samples.two_nodules(), source), tmp_path_factory.mktemp("seg") / "seg.dcm")


def read_back(dataset: Dataset, source: Source) -> NDArray[np.bool_]:
    """Return [segment, k, j, i] on the whole grid; get_volume would give the slices that are not empty."""
    pixels = hd.seg.Segmentation.from_dataset(dataset).get_pixels_by_source_instance(
        [instance.sop_instance_uid for instance in source.instances], assert_missing_frames_are_empty=True
    )
    return np.moveaxis(pixels, -1, 0).astype(bool)


def pasted(result: Result) -> NDArray[np.bool_]:
    return np.array([finding.mask.paste(SHAPE) for finding in result.findings if finding.mask])


def masked(number: int, offset_kji: tuple[int, int, int], shape: tuple[int, int, int]) -> Finding:
    return samples.nodule(number, (5, 30, 40), mask=Mask(np.ones(shape, dtype=bool), offset_kji))


def test_masks_come_back_on_the_voxels_they_lay_on(written: Path, source: Source) -> None:
    assert np.array_equal(read_back(hd.seg.segread(written), source), pasted(samples.two_nodules()))


def test_tracking_identifiers_come_back(written: Path) -> None:
    expected = [(finding.label, finding.tracking_uid) for finding in samples.two_nodules().findings]
    assert sorted(hd.seg.segread(written).get_tracking_ids()) == expected


def test_it_is_binary_with_a_segment_for_each_finding_and_no_empty_frame(written: Path) -> None:
    made = hd.seg.segread(written)
    touched = sum(mask.any(axis=(1, 2)).sum() for mask in pasted(samples.two_nodules()))
    assert made.SegmentationType == "BINARY"
    assert made.number_of_segments == 2
    assert made.number_of_frames == touched


def test_frames_lie_exactly_where_their_images_lie(written: Path, source: Source) -> None:
    made = hd.seg.segread(written)
    positions = {i.sop_instance_uid: i.header.ImagePositionPatient for i in source.instances}
    for frame in made.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert frame.PlanePositionSequence[0].ImagePositionPatient == positions[image]
    shared = made.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == source.header.ImageOrientationPatient
    assert shared.PixelMeasuresSequence[0].PixelSpacing == source.header.PixelSpacing
    assert made.FrameOfReferenceUID == source.header.FrameOfReferenceUID
    assert (made.Rows, made.Columns) == SHAPE[1:]


def test_the_source_series_is_referenced(written: Path, source: Source) -> None:
    assert [item.SeriesInstanceUID for item in hd.seg.segread(written).ReferencedSeriesSequence] == [
        source.header.SeriesInstanceUID
    ]


def test_marks_far_apart_do_not_stretch_the_spacing_between_slices(source: Source) -> None:
    made = seg.build(samples.result(masked(1, (1, 5, 5), (1, 4, 4)), masked(2, (9, 5, 5), (1, 4, 4))), source)
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == samples.SPACING_MM[0]


@pytest.mark.parametrize("thickness", [None, ""])
def test_images_of_unknown_thickness_are_segmented_all_the_same(tmp_path: Path, thickness: str | None) -> None:
    unknown = samples.ct_source(tmp_path, SliceThickness=thickness)
    made = seg.build(samples.two_nodules(), unknown)
    assert np.array_equal(read_back(made, unknown), pasted(samples.two_nodules()))
    assert tools.dciodvfy(tools.saved(made, tmp_path / "seg.dcm")) == []


def test_a_single_voxel_in_the_last_corner_comes_back(source: Source) -> None:
    corner = samples.result(masked(1, (SHAPE[0] - 1, SHAPE[1] - 1, SHAPE[2] - 1), (1, 1, 1)))
    assert np.array_equal(read_back(seg.build(corner, source), source), pasted(corner))


def test_masks_that_overlap_both_come_back_whole(source: Source) -> None:
    overlapping = samples.result(masked(1, (3, 10, 10), (3, 8, 8)), masked(2, (4, 12, 12), (3, 8, 8)))
    made = seg.build(overlapping, source)
    assert made.SegmentsOverlap == "YES"
    assert np.array_equal(read_back(made, source), pasted(overlapping))


def test_frames_of_an_enhanced_ct_are_found_by_where_they_lie(tmp_path: Path) -> None:
    shuffled = [3, 1, 0, 2, 4]
    enhanced = samples.enhanced_ct_source(tmp_path, shuffled)
    found = samples.result(masked(1, (1, 5, 6), (2, 3, 4)))
    made = seg.build(found, enhanced)
    frames = {
        item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for item in made.PerFrameFunctionalGroupsSequence
    }
    assert frames == {shuffled.index(1) + 1, shuffled.index(2) + 1}
    pixels = hd.seg.Segmentation.from_dataset(made).get_pixels_by_source_frame(
        enhanced.instances[0].sop_instance_uid,
        [shuffled.index(k) + 1 for k in range(5)],
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(pixels[..., 0].astype(bool), pasted(found)[0][:5])


def test_a_segment_says_what_it_is_where_and_by_whom(written: Path) -> None:
    segment = hd.seg.segread(written).SegmentSequence[0]
    region = segment.AnatomicRegionSequence[0]
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert segment.SegmentLabel == "Nodule 1"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == terms.NODULE.value
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == terms.MORPHOLOGICALLY_ABNORMAL.value
    assert region.CodeValue == terms.UPPER_LOBE.value
    assert region.AnatomicRegionModifierSequence[0].CodeValue == terms.RIGHT.value
    assert RESEARCH_USE_ONLY in segment.SegmentDescription
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert algorithm.AlgorithmVersion == "1.0.0"
    assert samples.PROVENANCE.model_digest in algorithm.AlgorithmParameters


def test_a_finding_without_a_mask_is_no_segment(source: Source) -> None:
    made = seg.build(samples.result(samples.nodule(1, (5, 30, 40), mask=None), masked(2, (4, 5, 6), (2, 2, 2))), source)
    assert [segment.SegmentLabel for segment in made.SegmentSequence] == ["Nodule 2"]


def test_no_mask_at_all_is_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="no finding has a mask"):
        seg.build(samples.result(samples.nodule(1, (5, 30, 40), mask=None)), source)
    with pytest.raises(ValueError, match="no finding has a mask"):
        seg.build(samples.result(), source)


def test_a_mask_beyond_the_images_is_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="reaches beyond"):
        seg.build(samples.result(masked(1, (11, 0, 0), (2, 2, 2))), source)
    with pytest.raises(ValueError, match="reaches beyond"):
        seg.build(samples.result(masked(1, (0, 0, 79), (2, 2, 2))), source)


def test_images_without_a_frame_of_reference_are_refused(tmp_path: Path) -> None:
    lost = samples.ct_source(tmp_path, FrameOfReferenceUID=None)
    with pytest.raises(ValueError, match="FrameOfReferenceUID"):
        seg.build(samples.two_nodules(), lost)


def test_images_of_two_frames_of_reference_are_refused(source: Source, tmp_path: Path) -> None:
    other = samples.ct_source(tmp_path, FrameOfReferenceUID="1.2.3")
    mixed = replace(source, instances=(*source.instances[:-1], other.instances[-1]))
    with pytest.raises(ValueError, match="FrameOfReferenceUID"):
        seg.build(samples.two_nodules(), mixed)


def test_the_checker_has_nothing_to_say(written: Path) -> None:
    assert tools.dciodvfy(written) == []


def test_every_code_in_it_is_known(written: Path) -> None:
    assert samples.unknown_codes(hd.seg.segread(written)) == set()
