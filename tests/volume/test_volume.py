"""Geometry: what makes a volume, where its voxels lie, and why the rest is refused."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread

from pacsai.study import Instance
from pacsai.volume import GeometryError, Grid, PixelError, geometry, read_volume
from tests.phantoms import axial_affine, distinct_voxels, edit, instances, write_ct_series, write_enhanced_ct


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return write_ct_series(tmp_path)


def move(path: Path, *mm: float) -> None:
    """Shift one slice by (x, y, z) mm."""
    position = np.array(dcmread(path, stop_before_pixels=True).ImagePositionPatient, dtype=float)
    edit(path, ImagePositionPatient=[round(float(c), 6) for c in position + mm])


def refused(paths: Sequence[Path]) -> str:
    with pytest.raises(GeometryError) as error:
        geometry(instances(paths))
    return str(error.value)


# --- where voxels lie ---


def test_slices_are_sorted_along_the_normal_whatever_their_instance_numbers_say(series: list[Path]) -> None:
    for number, path in zip((3, 1, 5, 2, 4), series, strict=True):
        edit(path, InstanceNumber=number)
    place = geometry(instances([series[k] for k in (2, 0, 4, 1, 3)]))
    assert [instance.path for instance in place.order] == series
    np.testing.assert_allclose(place.affine, axial_affine(), atol=1e-9)
    assert place.shape_kji == (5, 7, 6)
    assert place.spacing_mm == pytest.approx((2.0, 0.8, 0.7))


def test_a_volume_holds_hounsfield_units_and_its_sources(series: list[Path]) -> None:
    volume = read_volume(instances(reversed(series)))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, distinct_voxels())
    assert [instance.path for instance in volume.source] == series
    assert volume.frame_of_reference_uid == dcmread(series[0]).FrameOfReferenceUID


def test_world_and_index_are_each_others_inverse(series: list[Path]) -> None:
    volume = read_volume(instances(series))
    np.testing.assert_allclose(volume.world_mm((0, 0, 0)), (-90, -80, -40))
    np.testing.assert_allclose(volume.world_mm((1, 2, 3)), (-90 + 3 * 0.7, -80 + 2 * 0.8, -40 + 2.0))
    places = volume.world_mm([(0.5, 1.25, 2), (4, 6, 5)])
    assert places.shape == (2, 3)
    np.testing.assert_allclose(volume.index_kji(places), [(0.5, 1.25, 2), (4, 6, 5)], atol=1e-9)


def test_simpleitk_sees_the_same_voxels_at_the_same_places(tmp_path: Path) -> None:
    """An oracle that shares no code: GDCM under SimpleITK."""
    affine = oriented("zyx", (1, -1, -1), (0.2, -0.1, 0.3), (2.5, 0.9, 0.6), (11.5, -20.25, 130.0))
    paths = write_ct_series(tmp_path, affine=affine)
    volume = read_volume(instances(paths))
    theirs: Any = SimpleITK.ReadImage([str(instance.path) for instance in volume.source])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(theirs), volume.array)
    for kji in ((0, 0, 0), (4, 0, 0), (0, 6, 0), (0, 0, 5), (2, 3, 4)):
        place = theirs.TransformIndexToPhysicalPoint(tuple(reversed(kji)))
        np.testing.assert_allclose(volume.world_mm(kji), place, atol=1e-3)


def oriented(
    axes: str,
    signs: tuple[int, int, int],
    angles: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    origin_mm: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Return an affine whose i, j, k run along `axes` of the world, turned over by `signs` and tipped by `angles`."""
    basis = np.stack([sign * np.eye(3)["xyz".index(axis)] for axis, sign in zip(axes, signs, strict=True)], axis=1)
    for axis, angle in enumerate(angles):
        turn, (a, b) = np.eye(3), [n for n in range(3) if n != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        basis = turn @ basis
    affine = np.eye(4)
    affine[:3, :3] = basis * spacing_mm[::-1]
    affine[:3, 3] = origin_mm
    return affine


angle = st.floats(-0.7, 0.7)
length = st.floats(0.3, 6.0)
place = st.floats(-400.0, 400.0)
sign = st.sampled_from((1, -1))


@settings(max_examples=25, deadline=None)
@given(
    affine=st.builds(
        oriented,
        st.sampled_from(("xyz", "xzy", "yzx", "zyx")),
        st.tuples(sign, sign, sign),
        st.tuples(angle, angle, angle),
        st.tuples(length, length, length),
        st.tuples(place, place, place),
    ),
    shuffle=st.permutations(range(4)),
)
def test_any_orientation_comes_back_from_dicom_with_voxels_and_masks_in_place(
    affine: NDArray[np.float64], shuffle: list[int]
) -> None:
    voxels = distinct_voxels((4, 5, 3))
    with tempfile.TemporaryDirectory() as folder:
        paths = write_ct_series(Path(folder), voxels, affine)
        volume = read_volume(instances([paths[k] for k in shuffle]))
    written = Grid(voxels.astype(np.float32), affine)
    every = np.argwhere(np.ones(voxels.shape, dtype=bool))
    there = volume.index_kji(written.world_mm(every))
    found = np.rint(there).astype(int)
    np.testing.assert_array_equal(volume.array[tuple(found.T)], voxels[tuple(every.T)])
    np.testing.assert_allclose(volume.world_mm(found), written.world_mm(every), atol=1e-3)

    mask = voxels % 3 == 0  # a mask of what was written, pasted on what was read: the same voxels
    np.testing.assert_array_equal(volume.array[volume.pasted(mask, affine)] % 3, 0)
    assert volume.pasted(mask, affine).sum() == mask.sum()


# --- what a grid can do ---


def smooth_grid() -> Grid:
    k, j, i = np.meshgrid(np.arange(8), np.arange(10), np.arange(12), indexing="ij")
    return Grid((3 * k + 2 * j + i).astype(np.float32), axial_affine((2.0, 1.0, 1.0)))


def test_resampling_keeps_bounds_and_values_in_place() -> None:
    grid = smooth_grid()
    fine = grid.resampled((1.0, 0.5, 0.5))
    assert fine.shape_kji == (16, 20, 24)
    assert fine.spacing_mm == pytest.approx((1.0, 0.5, 0.5))
    np.testing.assert_allclose(fine.world_mm((-0.5, -0.5, -0.5)), grid.world_mm((-0.5, -0.5, -0.5)))
    k, j, i = np.moveaxis(grid.index_kji(fine.world_mm(np.argwhere(fine.array == fine.array))), -1, 0)
    inside = (k >= 0) & (j >= 0) & (i >= 0) & (k <= 7) & (j <= 9) & (i <= 11)
    np.testing.assert_allclose(fine.array.ravel()[inside], (3 * k + 2 * j + i)[inside], atol=1e-4)


def test_a_mask_made_on_a_finer_grid_is_pasted_back_on_its_voxels() -> None:
    grid = smooth_grid()
    mask = np.zeros(grid.shape_kji, dtype=bool)
    mask[2:5, 3:7, 4:9] = True
    fine = grid.resampled((1.0, 0.5, 0.5))
    np.testing.assert_array_equal(grid.pasted(fine.pasted(mask, grid.affine), fine.affine), mask)


# --- what is refused, and in which words ---


def test_no_image_at_all() -> None:
    assert refused([]) == "there is no image"


def test_one_slice_is_no_volume(series: list[Path]) -> None:
    assert refused(series[:1]) == "one slice is no volume"


def test_one_slice_is_taken_for_a_trial_with_its_thickness(series: list[Path]) -> None:
    place = geometry(instances(series[:1]), allow_single=True)
    assert place.spacing_mm == pytest.approx((2.0, 0.8, 0.7))
    edit(series[0], SliceThickness=None)
    with pytest.raises(GeometryError, match="SliceThickness"):
        geometry(instances(series[:1]), allow_single=True)


def test_a_missing_slice(series: list[Path]) -> None:
    assert refused([*series[:2], *series[3:]]) == "1 slice(s) are missing between -38.00 and -34.00 mm"


def test_two_missing_slices_in_a_row(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path, distinct_voxels((9, 3, 3)))
    assert refused([*paths[:4], *paths[6:]]).startswith("2 slice(s) are missing between -34.00 and")


def test_slices_at_the_same_place(series: list[Path], tmp_path: Path) -> None:
    again = write_ct_series(tmp_path / "again", distinct_voxels() + 1)
    for path in again:
        edit(path, FrameOfReferenceUID=dcmread(series[0]).FrameOfReferenceUID)
    assert "share positions" in refused([*series, again[2]])
    assert "the first doubled one is at -40.00 mm" in refused([*series, *again])


def test_uneven_spacing(series: list[Path]) -> None:
    move(series[2], 0, 0, 0.7)
    assert refused(series) == (
        "the slices are unevenly spaced: 2.70 mm between -38.00 and -35.30 mm, elsewhere 2.00 mm"
    )


def test_rounding_of_positions_is_not_uneven(series: list[Path]) -> None:
    for path, dz in zip(series, (0.004, -0.004, 0.003, -0.002, 0.005), strict=True):
        move(path, 0, 0, dz)
    assert geometry(instances(series)).spacing_mm[0] == pytest.approx(2.0, abs=0.01)


def test_a_spacing_that_drifts_away_from_the_grid(tmp_path: Path) -> None:
    """Each gap is within a hundredth of its neighbour; in the middle of the stack the error has added up."""
    paths = write_ct_series(tmp_path, distinct_voxels((40, 2, 2)))
    for k, path in enumerate(paths):
        move(path, 0, 0, 0.015 * min(k, 20))
    assert "off the regular grid" in refused(paths)


def test_one_slice_pushed_sideways(series: list[Path]) -> None:
    move(series[2], 0.5, 0, 0)
    assert "off the regular grid" in refused(series)


@pytest.mark.parametrize("degrees", [2.0, 15.0, -8.0])
def test_a_tilted_gantry(series: list[Path], degrees: float) -> None:
    for k, path in enumerate(series):
        move(path, 0, 2.0 * k * np.tan(np.radians(degrees)), 0)
    assert refused(series) == (
        f"the slices are shifted against each other as by a gantry tilt of {abs(degrees):.1f} degrees"
    )


def test_a_scout_among_the_slices(series: list[Path]) -> None:
    edit(series[0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    assert "several orientations" in refused(series)


@pytest.mark.parametrize("cosines", [[1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [1, 0, 0, 0.1, 1, 0], [0, 0, 0, 0, 0, 0]])
def test_an_orientation_that_is_none(series: list[Path], cosines: list[float]) -> None:
    for path in series:
        edit(path, ImageOrientationPatient=cosines)
    assert "not two perpendicular unit vectors" in refused(series)


def test_a_slice_of_another_size_in_the_middle(series: list[Path], tmp_path: Path) -> None:
    other = write_ct_series(tmp_path / "other", distinct_voxels((5, 4, 4)))
    edit(other[2], FrameOfReferenceUID=dcmread(series[0]).FrameOfReferenceUID)
    assert refused([*series[:2], other[2], *series[3:]]) == "the slices differ in size: 4 x 4, 7 x 6"


def test_another_pixel_size_in_the_middle(series: list[Path]) -> None:
    edit(series[2], PixelSpacing=[0.9, 0.7])
    assert "several pixel sizes" in refused(series)


def test_a_missing_frame_of_reference(series: list[Path]) -> None:
    edit(series[2], FrameOfReferenceUID=None)
    assert "FrameOfReferenceUID is missing" in refused(series)


def test_two_frames_of_reference(series: list[Path]) -> None:
    edit(series[2], FrameOfReferenceUID="1.2.3")
    assert "several frames of reference" in refused(series)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"])
def test_a_missing_attribute_is_named(series: list[Path], keyword: str) -> None:
    edit(series[2], **{keyword: None})
    assert refused(series).startswith(f"{keyword} is missing")


@pytest.mark.parametrize("spacing", [[0, 0.7], [-0.8, 0.7]])
def test_a_pixel_size_that_is_none(series: list[Path], spacing: list[float]) -> None:
    edit(series[0], PixelSpacing=spacing)
    assert refused(series) == "PixelSpacing is not above zero"


@pytest.mark.parametrize(
    ("old", "new"), [(b"-90\\-80\\-40 ", b"-90\\-80\\wo  "), (b"-90\\-80\\-40 ", b"-90\\-80     ")]
)
def test_a_position_that_is_not_three_numbers(series: list[Path], old: bytes, new: bytes) -> None:
    data = series[0].read_bytes()
    assert old in data
    series[0].write_bytes(data.replace(old, new))
    assert refused(series).startswith("ImagePositionPatient")


def test_more_voxels_than_are_read_are_refused_before_any_is(series: list[Path]) -> None:
    for path in series:
        edit(path, Rows=65535, Columns=65535)
    with pytest.raises(GeometryError, match="more than this node reads"):
        read_volume(instances(series))


# --- enhanced multi-frame ---


def test_an_enhanced_image_is_sorted_like_a_series(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine(), frames=(3, 0, 4, 1, 2))
    volume = read_volume(instances([path]))
    np.testing.assert_array_equal(volume.array, distinct_voxels())
    np.testing.assert_allclose(volume.affine, axial_affine(), atol=1e-9)
    assert [instance.path for instance in volume.source] == [path]


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine())
    data = dcmread(path)
    del data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for frame, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        own = dcmread(path).SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        own.RescaleIntercept = -10 * frame
        groups.PixelValueTransformationSequence = [own]
    data.save_as(path)
    expected = distinct_voxels() - 10 * np.arange(5)[:, None, None]
    np.testing.assert_array_equal(read_volume(instances([path])).array, expected)


def test_several_stacks_are_refused(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine())
    data = dcmread(path)
    data.PerFrameFunctionalGroupsSequence[4].FrameContentSequence[0].StackID = "2"
    data.save_as(path)
    assert refused([path]) == "the multi-frame image holds 2 stacks; one is read"


def test_a_frame_twice_at_the_same_place_is_refused(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine(), frames=(0, 1, 2, 2, 3))
    assert "share positions" in refused([path])


def test_frames_without_places_are_refused(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine())
    edit(path, PerFrameFunctionalGroupsSequence=None)
    assert refused([path]).startswith("5 frame(s), but 0 functional group(s)")


def test_a_multi_frame_image_among_others_is_refused(tmp_path: Path, series: list[Path]) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine())
    assert refused([*series, path]).startswith("a multi-frame image among 6 images")


# --- broken files ---


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(132, 1400), min_size=1, max_size=3), octet=st.sampled_from(b"\0\xff-9U"))
@pytest.mark.filterwarnings("ignore")
def test_a_header_with_broken_bytes_is_read_or_refused_in_words(
    series: list[Path], places: list[int], octet: int
) -> None:
    whole = series[1].read_bytes()
    broken = bytearray(whole)
    for place in places:
        broken[min(place, len(whole) - 1)] = octet
    series[1].write_bytes(broken)
    found = readable(series[1])
    with contextlib.suppress(GeometryError, PixelError):
        read_volume([*instances([series[0]]), *found, *instances(series[2:])])
    series[1].write_bytes(whole)


# --- real data ---


@pytest.mark.parametrize(
    ("folder", "slices", "spacing_z_mm"), [("c3n-00247", 99, 3.0), ("lidc-0001", 16, 2.5), ("lidc-0003", 11, 2.5)]
)
def test_real_chest_ct_is_read(shared_data: Path, folder: str, slices: int, spacing_z_mm: float) -> None:
    volume = read_volume(real(shared_data / "ct" / folder))
    assert volume.shape_kji == (slices, 512, 512)
    assert volume.spacing_mm[0] == pytest.approx(spacing_z_mm)
    assert np.percentile(volume.array, 99) < 1500
    assert np.median(volume.array[:, 200:312, 200:312]) == pytest.approx(0, abs=300)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_conformance_file_is_read_or_refused_in_words(shared_data: Path) -> None:
    for path in sorted((shared_data / "conformance").rglob("*")):
        for instance in readable(path):
            with contextlib.suppress(GeometryError, PixelError):
                assert np.isfinite(read_volume([instance], allow_single=True).array).all(), path


def real(folder: Path) -> tuple[Instance, ...]:
    return instances(sorted(folder.rglob("*.dcm")))


def readable(path: Path) -> tuple[Instance, ...]:
    """Return the instance of a file that study.py would take; the odd rest is its business."""
    try:
        found = instances([path])
        return found if found[0].transfer_syntax_uid else ()
    except Exception:
        return ()
