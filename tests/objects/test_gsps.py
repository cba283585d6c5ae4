"""GSPS: contours and words on the slices they belong to, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Mask, Result
from pacsai.objects import gsps
from pacsai.objects.source import Source
from pacsai.render import render
from pacsai.render.draw import MARK
from tests.objects import samples
from tests.objects.tools import dciodvfy, dcmpschk, saved

ZOOM = 8


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


def state_of(result: Result, source: Source) -> Dataset:
    state = gsps.build(result, source)
    assert state is not None
    return state


def block(k: int, rows: slice, columns: slice) -> Mask:
    array = np.ones((1, rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
    return Mask(array, (k, rows.start, columns.start))


def marked_pixels(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.bool_]:
    """Return the image pixels whose middle has marks both left and right, above and below it."""
    mark = (picture == MARK).all(axis=2)
    inside = np.ones(mark.shape, dtype=bool)
    for axis in (0, 1):
        before = np.logical_or.accumulate(mark, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(mark, axis), axis=axis), axis)
        inside &= before & after
    rows = ((np.arange(height) + 0.5) * picture.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * picture.shape[1] / width).astype(int)
    return inside[np.ix_(rows, columns)]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        pytest.param(slice(40, 47), slice(10, 22), id="inside"),
        pytest.param(slice(20, 21), slice(33, 34), id="one pixel"),
        pytest.param(slice(0, 3), slice(0, 2), id="first row and column"),
        pytest.param(slice(50, 64), slice(71, 80), id="last row and column"),
    ],
)
def test_a_block_of_pixels_is_drawn_exactly_on_those_pixels(source: Source, rows: slice, columns: slice) -> None:
    finding = samples.nodule(1, (5, 30, 40), mask=block(5, rows, columns), label="N")
    state = state_of(samples.result(finding), source)
    del state.GraphicAnnotationSequence[0].TextObjectSequence
    picture = np.asarray(render(dcmread(source.instances[5].path), state, zoom=ZOOM))
    expected = np.zeros((64, 80), dtype=bool)
    expected[rows, columns] = True
    assert np.array_equal(marked_pixels(picture, 64, 80), expected)


def test_each_slice_has_one_annotation_with_its_own_contour(source: Source) -> None:
    finding = samples.nodule(1, (5, 30, 40))
    state = state_of(samples.result(finding), source)
    assert finding.mask is not None
    slices = range(1, 10)
    assert len(state.GraphicAnnotationSequence) == len(slices)
    for k, annotation in zip(slices, state.GraphicAnnotationSequence, strict=True):
        (image,) = annotation.ReferencedImageSequence
        assert image.ReferencedSOPInstanceUID == source.instances[k].sop_instance_uid
        (graphic,) = annotation.GraphicObjectSequence
        points = np.reshape(graphic.GraphicData, (-1, 2))
        section = finding.mask.paste(samples.SHAPE_KJI)[k]
        assert np.abs(points[:-1, 0] @ np.roll(points[:-1, 1], -1) - np.roll(points[:-1, 0], -1) @ points[:-1, 1]) == (
            2 * section.sum()
        )


def test_only_annotated_images_are_referenced(source: Source) -> None:
    state = state_of(samples.result(samples.nodule(1, (9, 30, 40), radius=1)), source)
    (series,) = state.ReferencedSeriesSequence
    named = [image.ReferencedSOPInstanceUID for image in series.ReferencedImageSequence]
    assert named == [source.instances[k].sop_instance_uid for k in (8, 9, 10)]


def test_graphics_and_labels_carry_the_finding_s_tracking_uid(source: Source) -> None:
    result = samples.two_nodules()
    state = state_of(result, source)
    uids = {finding.tracking_uid for finding in result.findings}
    for annotation in state.GraphicAnnotationSequence:
        tracked = [*annotation.GraphicObjectSequence, *annotation.TextObjectSequence[:-1]]
        assert {item.TrackingUID for item in tracked} <= uids
        assert all(item.TrackingID for item in tracked)


def test_every_annotated_image_says_research_use_only_once(source: Source) -> None:
    state = state_of(samples.two_nodules(), source)
    for annotation in state.GraphicAnnotationSequence:
        words = [text.UnformattedTextValue for text in annotation.TextObjectSequence]
        assert words.count(RESEARCH_USE_ONLY) == 1


def test_a_label_says_number_size_type_and_probability(source: Source) -> None:
    state = state_of(samples.two_nodules(), source)
    words = {text.UnformattedTextValue for a in state.GraphicAnnotationSequence for text in a.TextObjectSequence}
    assert words == {"1  6 mm part-solid  0.93", "2  6 mm part-solid  0.93", RESEARCH_USE_ONLY}


def test_a_label_keeps_inside_the_image(source: Source) -> None:
    finding = samples.nodule(1, (5, 60, 76))
    state = state_of(samples.result(finding), source)
    for annotation in state.GraphicAnnotationSequence:
        label = annotation.TextObjectSequence[0]
        assert min(label.BoundingBoxTopLeftHandCorner) >= 0
        assert label.BoundingBoxBottomRightHandCorner[0] <= 80
        assert label.BoundingBoxBottomRightHandCorner[1] <= 64
        assert label.BoundingBoxTextHorizontalJustification == "RIGHT"


def test_a_finding_without_a_mask_is_a_point_at_the_middle_of_its_voxel(source: Source) -> None:
    finding = samples.nodule(1, (5, 30, 40), mask=None)
    (annotation,) = state_of(samples.result(finding), source).GraphicAnnotationSequence
    (graphic,) = annotation.GraphicObjectSequence
    assert graphic.GraphicType == "POINT"
    assert np.allclose(graphic.GraphicData, (40.5, 30.5))
    assert annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.instances[5].sop_instance_uid


def test_marks_on_an_enhanced_image_name_the_frame_that_holds_the_slice(tmp_path: Path) -> None:
    shuffled = [3, 1, 0, 2, 4]
    source = samples.enhanced_ct_source(tmp_path, shuffled)
    state = state_of(samples.result(samples.nodule(1, (2, 30, 40), mask=block(2, slice(9, 12), slice(9, 12)))), source)
    (annotation,) = state.GraphicAnnotationSequence
    (reference,) = annotation.ReferencedImageSequence
    frame = shuffled.index(2) + 1
    assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (
        source.instances[0].sop_instance_uid,
        frame,
    )
    assert state.DisplayedAreaSelectionSequence[0].PresentationPixelSpacing == [0.8, 0.7]
    image = dcmread(source.instances[0].path)
    drawn = [bool((np.asarray(render(image, state, frame=n)) == MARK).all(axis=2).any()) for n in range(1, 6)]
    assert drawn == [n == frame for n in range(1, 6)]


def test_a_mask_of_two_pieces_is_two_polylines_with_one_label(source: Source) -> None:
    mask = block(4, slice(10, 20), slice(10, 20))
    mask.array[:, :, 4:6] = False
    (annotation,) = state_of(
        samples.result(samples.nodule(1, (4, 15, 15), mask=mask)), source
    ).GraphicAnnotationSequence
    assert len(annotation.GraphicObjectSequence) == 2
    assert len(annotation.TextObjectSequence) == 2


@pytest.mark.parametrize("result", [Result.of(()), Result.not_analysed("the series has one image")])
def test_nothing_to_draw_makes_no_presentation_state(source: Source, result: Result) -> None:
    assert gsps.build(result.signed(samples.PROVENANCE), source) is None


def test_the_window_is_the_lung_s_unless_another_is_asked(source: Source) -> None:
    (voi,) = state_of(samples.two_nodules(), source).SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (-600, 1500)
    other = gsps.build(samples.two_nodules(), source, window=(40, 400))
    assert other is not None
    assert other.SoftcopyVOILUTSequence[0].WindowCenter == 40


def test_pixels_that_are_not_square_are_shown_in_their_true_shape(source: Source) -> None:
    (area,) = state_of(samples.two_nodules(), source).DisplayedAreaSelectionSequence
    assert "PresentationPixelAspectRatio" not in area
    assert area.PresentationPixelSpacing == [0.8, 0.7]
    assert area.DisplayedAreaBottomRightHandCorner == [80, 64]


def test_the_same_result_gives_the_same_bytes(source: Source, tmp_path: Path) -> None:
    first, second = (
        saved(state_of(samples.two_nodules(), source), tmp_path / name).read_bytes() for name in ("a.dcm", "b.dcm")
    )
    assert first == second


def test_a_caption_leaves_out_what_is_not_known() -> None:
    bare = replace(samples.nodule(3, (5, 30, 40)), measurements=(), qualities=())
    assert gsps.caption(3, bare) == "3  0.93"
    other = replace(bare, qualities=((terms.NODULE_TYPE, terms.CALCIFIED),))
    assert gsps.caption(3, other) == "3  calcified  0.93"


def test_the_conformance_tools_have_nothing_to_say(source: Source, tmp_path: Path) -> None:
    state = state_of(samples.two_nodules(), source)
    state.PatientName = "Doe^Jane"  # dcmpschk of DCMTK 3.6.7 takes every name outside ASCII for an error
    path = saved(state, tmp_path / "gsps.dcm")
    assert dciodvfy(path) == []
    assert dcmpschk(path) == []
