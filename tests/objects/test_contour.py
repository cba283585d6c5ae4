"""Outlines: what is drawn is what was segmented."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.objects.contour import area, largest_section, outlines


def filled(polygons: tuple[NDArray[np.float64], ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre (index + 0.5) lies inside a polygon, by counting the edges to their right."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    mask = np.zeros(shape, dtype=bool)
    for polygon in polygons:
        inside = np.zeros(shape, dtype=bool)
        for (x0, y0), (x1, y1) in itertools.pairwise(polygon):
            if y0 != y1:
                crosses = (rows > min(y0, y1)) & (rows < max(y0, y1))
                inside ^= crosses & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
        mask |= inside
    return mask


def without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_fill_holes(mask, structure=np.ones((3, 3))))


def test_a_single_pixel_is_outlined_from_its_corners() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1, 3] = True
    (outline,) = outlines(mask)
    assert outline.dtype == np.float64
    assert {tuple(point) for point in outline.tolist()} == {(3, 1), (4, 1), (4, 2), (3, 2)}
    assert outline[0].tolist() == outline[-1].tolist()


def test_a_rectangle_needs_five_points() -> None:
    mask = np.zeros((9, 7), dtype=bool)
    mask[2:6, 1:6] = True
    (outline,) = outlines(mask)
    assert outline.shape == (5, 2)
    assert area(outline) == 20


def test_a_full_slice_reaches_the_edges_of_the_image() -> None:
    (outline,) = outlines(np.ones((3, 5), dtype=bool))
    assert outline.min(axis=0).tolist() == [0, 0]
    assert outline.max(axis=0).tolist() == [5, 3]


def test_an_empty_slice_has_no_outline() -> None:
    assert outlines(np.zeros((3, 5), dtype=bool)) == ()


def test_the_largest_piece_comes_first() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[0, 0] = True
    mask[4:8, 4:9] = True
    assert [area(outline) for outline in outlines(mask)] == [20, 1]


def test_pieces_that_touch_at_a_corner_are_two() -> None:
    assert [area(outline) for outline in outlines(np.eye(2, dtype=bool))] == [1, 1]


def test_a_hole_is_left_out() -> None:
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    (outline,) = outlines(ring)
    assert area(outline) == 25


@settings(max_examples=300, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.booleans()))
def test_filling_the_outlines_gives_the_mask_back(mask: NDArray[np.bool_]) -> None:
    polygons = outlines(mask)
    assert np.array_equal(filled(polygons, mask.shape), without_holes(mask))


@settings(max_examples=100, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.booleans()))
def test_outlines_are_closed_and_inside_the_image(mask: NDArray[np.bool_]) -> None:
    for outline in outlines(mask):
        assert outline[0].tolist() == outline[-1].tolist()
        assert (outline >= 0).all()
        assert (outline <= (mask.shape[1], mask.shape[0])).all()


def test_a_ragged_512_square_slice_takes_well_under_a_second() -> None:
    noise = np.random.default_rng(0).random((512, 512))
    mask = ndimage.gaussian_filter(noise, 4) > 0.5
    start = time.process_time()
    assert outlines(np.asarray(mask))
    assert time.process_time() - start < 1


@pytest.mark.parametrize("shape", [(40, 64), (64, 40)])
def test_a_disc_is_drawn_where_it_lies_in_images_that_are_not_square(shape: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    disc = (rows - 12) ** 2 + (columns - 25) ** 2 <= 49
    (outline,) = outlines(disc)
    assert np.allclose((outline.min(axis=0) + outline.max(axis=0)) / 2, (25.5, 12.5))


def test_the_largest_section_is_the_slice_with_the_most_voxels() -> None:
    mask = np.zeros((4, 5, 5), dtype=bool)
    mask[1, 2, 2] = True
    mask[2, 1:4, 1:4] = True
    assert largest_section(mask) == 2
