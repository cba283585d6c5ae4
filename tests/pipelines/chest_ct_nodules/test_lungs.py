"""Lungs of a chest made of ellipsoids, of phantoms and of real scans: what is in, what is out, which side is which."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pacsai.study.reading import read_folder
from pacsai.volume import Volume, read_volume
from pipelines.chest_ct_nodules.lungs import Lungs, segment_lungs
from pipelines.chest_ct_nodules.phantom import chest_phantom
from tests.lidc import consensus
from tests.pipelines.chest_ct_nodules.ellipsoids import (
    LEFT_LUNG,
    MIDDLE_X,
    RIGHT_LUNG,
    SHAPE,
    SPACING,
    STOMACH,
    Z,
    ball,
    chest,
    column,
)


@cache
def of_chest() -> Lungs:
    return segment_lungs(chest(), SPACING)


def share(mask: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(mask[of].mean())


def test_the_air_is_that_of_both_lungs() -> None:
    lungs = ball(LEFT_LUNG, (85, 65, 50)) | ball(RIGHT_LUNG, (85, 65, 50))
    assert share(of_chest().air, lungs) > 0.95
    assert share(of_chest().air, ~lungs) < 0.001


def test_left_is_the_patients_left_and_sides_do_not_overlap() -> None:
    found = of_chest()
    assert share(found.left, ball(LEFT_LUNG, (80, 60, 45))) > 0.999
    assert share(found.right, ball(RIGHT_LUNG, (80, 60, 45))) > 0.999
    assert not (found.left & found.right).any()


def test_trachea_stomach_and_the_tables_hollow_are_no_lung() -> None:
    for gas in (column(130, MIDDLE_X, 7) & (Z > 110), ball(STOMACH, (12, 28, 28)), (chest() == -860)):
        assert share(of_chest().air, gas) == 0.0


@pytest.mark.parametrize("diameter_mm", [10, 20, 28])
def test_a_lesion_on_the_wall_lies_in_the_search_region(diameter_mm: float) -> None:
    hu = chest()
    lesion = ball((110, 125, LEFT_LUNG[2] + 50 - diameter_mm / 4), (diameter_mm / 2,) * 3)
    hu[lesion] = 40
    assert share(segment_lungs(hu, SPACING).closed, lesion & (chest() < -800)) > 0.8


def test_a_mass_inside_a_lung_lies_in_the_search_region() -> None:
    hu = chest()
    mass = ball(LEFT_LUNG, (22, 22, 22))
    hu[mass] = 40
    assert share(segment_lungs(hu, SPACING).left, mass) == 1.0


def test_joined_lungs_are_parted() -> None:
    hu = chest()
    hu[ball((110, 85, MIDDLE_X), (40, 8, 40))] = -850
    found = segment_lungs(hu, SPACING)
    assert share(found.left, ball(LEFT_LUNG, (80, 60, 40))) > 0.99
    assert share(found.right, ball(RIGHT_LUNG, (80, 60, 40))) > 0.99


def test_emphysema_is_still_lung() -> None:
    hu = chest()
    hu[ball(LEFT_LUNG, (85, 65, 50)) & (np.random.default_rng(0).random(SHAPE) < 0.5)] = -960
    assert share(segment_lungs(hu, SPACING).left, ball(LEFT_LUNG, (80, 60, 45))) > 0.999


def test_one_lung_alone_keeps_its_side() -> None:
    hu = chest()
    hu[ball(LEFT_LUNG, (85, 65, 50))] = 40
    found = segment_lungs(hu, SPACING)
    assert not found.left.any()
    assert share(found.right, ball(RIGHT_LUNG, (80, 60, 45))) > 0.999


@pytest.mark.parametrize("hu", [-1000, 40])
def test_without_a_body_or_without_air_there_are_no_lungs(hu: float) -> None:
    assert not segment_lungs(np.full((20, 40, 40), hu, dtype=np.float32), SPACING).found


def test_an_abdomen_with_gas_has_no_lungs() -> None:
    hu = np.where(chest() == -850, 40, chest()).astype(np.float32)
    assert not segment_lungs(hu, SPACING).found


def test_a_grid_that_is_no_multiple_of_the_coarse_one_is_covered_to_its_end() -> None:
    hu = np.repeat(chest(), 2, axis=0)[20:121, :-1, :-2]
    found = segment_lungs(hu, (1.25, 2.5, 2.5))
    assert found.closed.shape == hu.shape
    assert found.closed[-1].any()
    assert found.closed[0].any()


@pytest.mark.parametrize("seed", [0, 4])
def test_phantom_lungs_and_nodules_are_found(seed: int) -> None:
    phantom = chest_phantom(seed, small=True)
    closed = segment_lungs(phantom.array_hu.astype(np.float32), phantom.spacing_mm).closed
    assert share(closed, phantom.lungs_mask) > 0.99
    assert closed.sum() < 1.25 * phantom.lungs_mask.sum()
    for nodule in phantom.nodules:
        box = tuple(slice(o, o + n) for o, n in zip(nodule.offset_kji, nodule.mask.shape, strict=True))
        assert share(closed[box], nodule.mask) == 1.0


def real(folder: Path) -> Volume:
    return read_volume(read_folder(folder)[0].series[0].instances)


@pytest.mark.parametrize("slab", ["lidc-0001", "lidc-0003"])
def test_the_readers_nodule_of_a_real_slab_lies_in_the_left_lung(shared_data: Path, slab: str) -> None:
    folder = shared_data / "ct" / slab
    volume = real(folder)
    nodule = consensus(next(folder.glob("*.xml")), volume)[0]
    assert share(segment_lungs(volume.array, volume.spacing_mm).left, nodule) == 1.0


def test_a_real_chest_has_lungs_of_plausible_size(shared_data: Path) -> None:
    volume = real(shared_data / "ct" / "c3n-00247")
    found = segment_lungs(volume.array, volume.spacing_mm)
    litres = [float(mask.sum() * np.prod(volume.spacing_mm)) / 1e6 for mask in (found.air, found.left, found.right)]
    assert litres == pytest.approx([4.4, 2.2, 3.1], abs=0.2)
    bowel_gas = found.air[:5, :200]  # the lowest slices, in front: stomach and colon, and no lung
    assert not bowel_gas.any()
