"""The body part from the pixels: chests are recognised, and nothing else is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pacsai.bodypart import recognise
from pacsai.study.reading import read_folder
from pacsai.volume import Grid, read_volume

Array = NDArray[np.float32]
SPACING_MM = 2.5
MIDDLE = (72, 72)


def disc(centre: tuple[float, float], radii_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """Return an ellipse of a 144 x 144 slice; centre (j, i) in voxels, radii (y, x) in mm."""
    j, i = np.mgrid[:144, :144]
    inside: NDArray[np.bool_] = sum(
        ((axis - c) * SPACING_MM / r) ** 2 for axis, c, r in zip((j, i), centre, radii_mm, strict=True)
    ) <= np.float64(1)
    return inside


def body(radii_mm: tuple[float, float] = (110, 160)) -> Array:
    """Return a slice of soft tissue in air."""
    return np.where(disc(MIDDLE, radii_mm), 40, -1000).astype(np.float32)


def chest(left_hu: float = -850, right_hu: float = -850) -> Array:
    """Return a slice with two lungs; image right is the patient's left."""
    slice_hu = body()
    slice_hu[disc((72, 44), (75, 55))] = right_hu
    slice_hu[disc((72, 100), (75, 55))] = left_hu
    return slice_hu


def abdomen() -> Array:
    """Return a slice with gas on both sides, as in a wide colon."""
    slice_hu = body()
    for i in (36, 108):
        slice_hu[disc((72, i), (30, 30))] = -1000
    return slice_hu


def head() -> Array:
    """Return a slice with a skull, brain and sinuses."""
    slice_hu = np.where(disc(MIDDLE, (95, 75)), 900, -1000).astype(np.float32)
    slice_hu[disc(MIDDLE, (87, 67))] = 35
    slice_hu[disc((45, 72), (12, 20))] = -1000
    return slice_hu


def volume(*slices: Array, noise_hu: float = 30, spacing_mm: float = SPACING_MM) -> Grid:
    """Return the slices as a volume, noise added, 2.5 mm voxels."""
    array = np.stack(slices)
    array += np.random.default_rng(0).normal(0, noise_hu, array.shape).astype(np.float32)
    return Grid(array, np.diag([SPACING_MM, SPACING_MM, spacing_mm, 1.0]))


def part(*slices: Array, noise_hu: float = 30) -> str:
    """Return the name of the body part that the slices show."""
    return recognise(volume(*slices, noise_hu=noise_hu)).name


def test_two_lungs_make_a_chest() -> None:
    seen = recognise(volume(*[chest()] * 80))
    assert seen.name == "CHEST"
    assert seen.reason == "lungs over 200 of 200 mm"


def test_a_slab_of_a_chest_is_a_chest() -> None:
    assert part(*[chest()] * 12) == "CHEST"


def test_a_sharp_kernel_changes_nothing() -> None:
    assert part(*[chest()] * 12, noise_hu=150) == "CHEST"


@pytest.mark.parametrize("hu", [-940, -700, -600])
def test_emphysema_and_poor_inspiration_are_lungs(hu: float) -> None:
    assert part(*[chest(hu, hu)] * 12) == "CHEST"


def test_one_lung_is_enough_when_it_is_large() -> None:
    assert part(*[chest(right_hu=20)] * 12) == "CHEST"


def test_chest_abdomen_pelvis_is_a_chest() -> None:
    assert part(*[chest()] * 70, *[abdomen()] * 160) == "CHEST"


def test_an_abdomen_with_the_bases_of_the_lungs_is_none() -> None:
    seen = recognise(volume(*[chest()] * 20, *[abdomen()] * 100))
    assert seen.name == "ABDOMEN"
    assert seen.reason.startswith("lungs over 50 of 300 mm")


def test_gas_of_the_bowel_is_no_lung() -> None:
    assert part(*[abdomen()] * 60) == "ABDOMEN"


def test_a_head_is_a_head() -> None:
    assert part(*[head()] * 50) == "HEAD"


def test_too_little_lung_to_judge_is_no_chest() -> None:
    assert part(*[chest()] * 4) != "CHEST"


@pytest.mark.parametrize("hu", [-1000, -2048, 40])
def test_an_empty_or_even_volume_is_unknown_or_no_chest(hu: float) -> None:
    assert part(*[np.full((144, 144), hu, dtype=np.float32)] * 30, noise_hu=0) != "CHEST"


def test_a_few_voxels_are_unknown() -> None:
    tiny = Grid(np.zeros((3, 2, 2), dtype=np.float32), np.diag([0.5, 0.5, 1.0, 1.0]))
    assert recognise(tiny).name == "UNKNOWN"


def test_rows_along_the_patient_s_side_are_understood() -> None:
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:2, :2] = np.array([[0, SPACING_MM], [-SPACING_MM, 0]])
    turned = Grid(volume(*[chest()] * 12).array.swapaxes(1, 2).copy(), affine)
    assert recognise(turned).name == "CHEST"


@pytest.mark.parametrize("name", ["c3n-00247", "lidc-0001", "lidc-0003"])
def test_the_real_chests_are_chests(shared_data: Path, name: str) -> None:
    (study,) = read_folder(shared_data / "ct" / name)
    seen = recognise(read_volume(study.series[0].instances))
    assert seen.name == "CHEST", seen.reason
