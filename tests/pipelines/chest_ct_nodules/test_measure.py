"""Axes, volume and type of digital shapes whose measures are known, and of nodules that radiologists drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pacsai.study.reading import read_folder
from pacsai.volume import read_volume
from pipelines.chest_ct_nodules.measure import NoduleType, axial_axes, measure, nodule_type
from tests.lidc import consensus

THIN = (1.0, 0.7, 0.7)
THICK = (2.5, 0.7, 0.7)
UNEVEN = (1.25, 0.6, 0.9)


def ellipsoid(
    radii_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float] = THIN, *, turned: float = 0.0
) -> NDArray[np.bool_]:
    """Return an ellipsoid with radii along z, y, x, turned in the axial plane by `turned` degrees."""
    reach = [int(max(radii_mm) / s) + 3 for s in spacing_mm]
    z, y, x = (np.arange(-n, n + 1) * s for n, s in zip(reach, spacing_mm, strict=True))
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    angle = np.radians(turned)
    y, x = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    inside = (z / radii_mm[0]) ** 2 + (y / radii_mm[1]) ** 2 + (x / radii_mm[2]) ** 2 <= 1
    return np.asarray(inside)


def filled(mask: NDArray[np.bool_], hu: float) -> NDArray[np.float32]:
    return np.where(mask, hu, -850).astype(np.float32)


@pytest.mark.parametrize("spacing_mm", [THIN, THICK, UNEVEN])
@pytest.mark.parametrize("radius_mm", [2.5, 4.0, 10.0, 15.0])
def test_a_balls_axes_are_its_diameter_within_a_pixel(radius_mm: float, spacing_mm: tuple[float, float, float]) -> None:
    long_axis, short_axis = axial_axes(ellipsoid((radius_mm,) * 3, spacing_mm), spacing_mm[1:])
    assert long_axis == pytest.approx(2 * radius_mm, abs=max(spacing_mm[1:]))
    assert short_axis == pytest.approx(2 * radius_mm, abs=max(spacing_mm[1:]))


@settings(max_examples=25, deadline=None)
@given(angle=st.floats(0, 180), short_mm=st.floats(4, 12), more_mm=st.floats(2, 8))
def test_an_ellipsoids_axes_are_right_at_any_angle(angle: float, short_mm: float, more_mm: float) -> None:
    mask = ellipsoid((6.0, short_mm, short_mm + more_mm), turned=angle)
    long_axis, short_axis = axial_axes(mask, THIN[1:])
    assert long_axis == pytest.approx(2 * (short_mm + more_mm), abs=1.0)
    assert short_axis == pytest.approx(2 * short_mm, abs=1.5)
    assert short_axis <= long_axis


@pytest.mark.parametrize("spacing_mm", [THIN, THICK, UNEVEN])
@pytest.mark.parametrize("radii_mm", [(7.0, 7.0, 7.0), (8.0, 6.0, 11.0), (15.0, 15.0, 15.0)])
def test_volume_is_right_within_five_per_cent(
    radii_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float]
) -> None:
    mask = ellipsoid(radii_mm, spacing_mm)
    measures = measure(mask, filled(mask, 0), spacing_mm)
    assert measures.volume_mm3 == pytest.approx(4 / 3 * np.pi * np.prod(radii_mm), rel=0.05)


def test_a_rod_along_the_patient_is_measured_across() -> None:
    rod = np.ones((30, 4, 4), dtype=np.bool_)
    assert max(axial_axes(rod, (1.0, 1.0))) < 6.0


def test_a_single_voxel_measures_one_pixel() -> None:
    assert axial_axes(np.ones((1, 1, 1), dtype=np.bool_), (0.7, 0.7)) == pytest.approx((0.7, 0.7))


def test_a_row_of_pixels_measures_its_outer_edges() -> None:
    assert axial_axes(np.ones((1, 1, 5), dtype=np.bool_), (0.7, 0.7)) == pytest.approx((3.5, 0.7))


def test_the_slice_with_the_longest_axis_decides() -> None:
    mask = np.zeros((2, 12, 12), dtype=np.bool_)
    mask[0, 2:8, 2:8] = True
    mask[1, 5, 1:11] = True
    assert axial_axes(mask, (1.0, 1.0)) == pytest.approx((10.0, 1.0))


def test_mean_hu_counts_every_voxel() -> None:
    mask = ellipsoid((5.0, 5.0, 5.0))
    assert measure(mask, filled(mask, 37), THIN).mean_hu == pytest.approx(37, abs=1e-3)


@pytest.mark.parametrize("spacing_mm", [THIN, THICK])
@pytest.mark.parametrize(
    ("hu", "expected"),
    [
        (30, NoduleType.SOLID),
        (150, NoduleType.SOLID),  # enhanced by contrast
        (-550, NoduleType.GROUND_GLASS),
        (400, NoduleType.CALCIFIED),
    ],
)
def test_even_density_gives_the_type(hu: float, expected: NoduleType, spacing_mm: tuple[float, float, float]) -> None:
    mask = ellipsoid((6.0, 6.0, 6.0), spacing_mm)
    assert nodule_type(mask, filled(mask, hu), spacing_mm) == expected


def test_ground_glass_with_a_solid_core_is_part_solid() -> None:
    mask = ellipsoid((9.0, 9.0, 9.0))
    hu = filled(mask, -550)
    hu[ellipsoid((9.0, 9.0, 9.0)) & _core(mask.shape, 5.0)] = 20
    assert nodule_type(mask, hu, THIN) == NoduleType.PART_SOLID


def test_a_solid_nodule_with_a_calcified_centre_is_calcified() -> None:
    mask = ellipsoid((6.0, 6.0, 6.0))
    hu = filled(mask, 40)
    hu[_core(mask.shape, 3.0)] = 600
    assert nodule_type(mask, hu, THIN) == NoduleType.CALCIFIED


def test_a_mixed_nodule_under_six_millimetres_is_not_called_part_solid() -> None:
    mask = ellipsoid((2.5, 2.5, 2.5))
    hu = filled(mask, -550)
    hu[_core(mask.shape, 2.0)] = 20
    assert nodule_type(mask, hu, THIN) == NoduleType.SOLID


def test_a_blurred_rim_does_not_make_a_solid_nodule_part_solid() -> None:
    mask = ellipsoid((4.0, 4.0, 4.0))
    hu = filled(mask, 20)
    hu[mask & ~_core(mask.shape, 3.0)] = -450
    assert nodule_type(mask, hu, THIN) == NoduleType.SOLID


def _core(shape: tuple[int, ...], radius_mm: float) -> NDArray[np.bool_]:
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    middle = [(n - 1) / 2 for n in shape]
    squares = [((g - c) * s) ** 2 for g, c, s in zip((z, y, x), middle, THIN, strict=True)]
    return np.asarray(sum(squares) <= radius_mm**2)


@pytest.mark.parametrize(
    ("slab", "diameter_mm", "kind"), [("lidc-0001", 23.4, NoduleType.SOLID), ("lidc-0003", 21.5, NoduleType.SOLID)]
)
def test_real_nodules_as_radiologists_drew_them(
    shared_data: Path, slab: str, diameter_mm: float, kind: NoduleType
) -> None:
    folder = shared_data / "ct" / slab
    volume = read_volume(read_folder(folder)[0].series[0].instances)
    mask = consensus(next(folder.glob("*.xml")), volume)[0]
    box = tuple(slice(ends.min(), ends.max() + 1) for ends in np.nonzero(mask))
    measures = measure(mask[box], volume.array[box], volume.spacing_mm)
    assert (6 * measures.volume_mm3 / np.pi) ** (1 / 3) == pytest.approx(diameter_mm, rel=0.05)
    assert measures.short_axis_mm < diameter_mm * 1.15 < measures.long_axis_mm
    assert measures.kind == kind
