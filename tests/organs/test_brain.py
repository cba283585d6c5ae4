"""Brain extraction: stripped images as they are, heads by their skull, anything else refused with the reason."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pacsai.organs.brain import extract_brain
from pacsai.volume import Grid, read_volume
from pipelines.brain_lesions.phantom import BrainPhantom, brain_phantom
from pipelines.brain_lesions.phantom.heads import Head, head_phantom
from pipelines.brain_lesions.registration_trials import FILES, read_nifti
from tests.phantoms import instances


def made_head(contrast: str, *, fat: float) -> tuple[Grid, np.ndarray]:
    """Return an egg of brain in fluid, bone and scalp on a neck, at 2 mm, and the truth: with the fluid in T2."""
    k, j, i = np.ogrid[0:110, 0:110, 0:90]
    far = np.sqrt(((k - 65) / 33) ** 2 + ((j - 55) / 43) ** 2 + ((i - 45) / 34) ** 2)
    neck = ((j - 60) / 25) ** 2 + ((i - 45) / 22) ** 2 + 0 * k < 1
    values = {"T1": (0.2, 0.7), "T1C": (0.2, 0.5), "T2": (1.0, 0.5), "FLAIR": (0.1, 0.7)}[contrast]
    image = np.where(neck & (k < 50), 0.4, 0.0)
    for edge, value in ((1.34, fat), (1.2, 0.08), (1.05, values[0]), (1.0, values[1])):
        image[far < edge] = value
    rng = np.random.default_rng(0)
    noisy = np.hypot(image + rng.normal(0, 0.03, image.shape), rng.normal(0, 0.03, image.shape))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    return Grid((1000 * noisy).astype(np.float32), affine), far < (1.05 if contrast == "T2" else 1)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize(("contrast", "fat"), [("T1", 0.9), ("T1C", 1.2), ("T2", 0.6), ("FLAIR", 0.6)])
def test_a_head_gives_its_brain(contrast: str, fat: float) -> None:
    head, truth = made_head(contrast, fat=fat)
    found = extract_brain(head, contrast)
    assert found.reason == ""
    assert not found.stripped
    assert dice(found.mask, truth) > 0.93
    assert found.quality > 0.5


@pytest.fixture(scope="module")
def made() -> BrainPhantom:
    return brain_phantom(1)


@pytest.mark.parametrize("face", [True, False], ids=["face", "defaced"])
def test_a_head_with_skull_eyes_and_neck_gives_its_brain(made: BrainPhantom, face: bool) -> None:
    head = head_phantom(made, 1, face=face)
    assert_brain(head, "T2", head.brain)
    for contrast in ("FLAIR", "T1"):  # the fluid around the brain is as dark as bone
        assert_brain(head, contrast, head.tissue)


def assert_brain(head: Head, contrast: str, truth: np.ndarray) -> None:
    found = extract_brain(head.grid(contrast), contrast)
    assert found.reason == ""
    assert dice(found.mask, truth) > 0.93


def test_thick_slices_give_it_too() -> None:
    head, truth = made_head("FLAIR", fat=0.6)
    thick = head.array[:108].reshape(36, 3, 110, 90).mean(axis=1)
    affine = head.affine @ np.diag([1.0, 1.0, 3.0, 1.0])
    affine[2, 3] += 2.0
    found = extract_brain(Grid(thick, affine), "FLAIR")
    assert found.reason == ""
    assert dice(found.mask, truth[:108].reshape(36, 3, 110, 90).mean(axis=1) > 0.5) > 0.92


@pytest.mark.parametrize("patient", ["patient19", "patient26"])
@pytest.mark.parametrize("name", ["FLAIR", "T2"])
def test_a_stripped_image_is_taken_as_it_is(shared_data: Path, patient: str, name: str) -> None:
    grid = read_nifti(shared_data / "mr" / "open-ms" / patient / FILES[name])
    found = extract_brain(grid, name)
    assert found.stripped
    assert dice(found.mask, grid.array != 0) > 0.98


def test_a_real_head_without_face_gives_its_brain(shared_data: Path) -> None:
    files = sorted((shared_data / "mr" / "t1-7t-normal").glob("*.dcm"))
    head = read_volume(instances(files))
    found = extract_brain(head, "T1")
    volume_ml = found.mask.sum() * np.prod(head.spacing_mm) / 1000
    assert found.reason == ""
    assert 1300 < volume_ml < 1750


def test_what_is_no_head_is_refused_with_the_reason(shared_data: Path) -> None:
    image = sitk.ReadImage(str(shared_data / "mr" / "pyradiomics" / "breast1_image.nrrd"))
    breast = Grid(sitk.GetArrayFromImage(image).astype(np.float32), np.diag([*image.GetSpacing(), 1.0]))
    assert extract_brain(breast, "T1C").reason == "the field of view is smaller than a brain"
    chest = read_volume(instances(sorted((shared_data / "ct" / "c3n-00247").glob("*.dcm"))))
    assert extract_brain(chest, "T1").reason


def trunk(*, fading: bool) -> Grid:
    """Return a trunk with lungs, heart and spine, at 4 mm; fading where the coil's reach ends, above and below."""
    k, j, i = np.ogrid[0:100, 0:70, 0:100]
    y, x = (j - 35) * 4, (i - 50) * 4
    body = (y / 115) ** 2 + (x / 170) ** 2 + 0 * k < 1
    lungs = (y / 85) ** 2 + ((np.abs(x) - 75) / 60) ** 2 + ((k - 60) / 27) ** 2 < 1
    heart = ((y + 30) / 50) ** 2 + ((x - 20) / 60) ** 2 + ((k - 50) / 14) ** 2 < 1
    image = np.where(body, 0.6, 0.0) * np.where(lungs, 0.1, 1.0)
    image = np.where(heart, 0.8, image)
    image = np.where((y - 70) ** 2 + x**2 + 0 * k < 20**2, 0.9, image)
    if fading:
        image *= np.exp(-(((k - 55) / 25.0) ** 4))
    noise = np.random.default_rng(0).normal(0, 0.02, image.shape)
    return Grid((1000 * np.abs(image + noise)).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))


@pytest.mark.parametrize("contrast", ["FLAIR", "T1", "T2"])
@pytest.mark.parametrize("fading", [True, False])
def test_a_trunk_is_no_head(fading: bool, contrast: str) -> None:
    found = extract_brain(trunk(fading=fading), contrast)
    assert found.reason
    assert not found.mask.any()


def test_a_spine_is_no_head() -> None:
    sagittal = trunk(fading=True)
    spine = Grid(sagittal.array[:, :, 42:58], sagittal.affine)
    assert extract_brain(spine, "T2").reason == "the field of view is smaller than a brain"


def test_a_huge_or_maze_like_image_is_refused_soon() -> None:
    rng = np.random.default_rng(0)
    maze = np.where(rng.random((120, 120, 120)) < 0.68, 0, 1 + rng.random((120, 120, 120))).astype(np.float32)
    start = time.process_time()
    assert extract_brain(Grid(maze, np.diag([4.0, 4.0, 4.0, 1.0])), "FLAIR").reason
    assert time.process_time() - start < 15
    whole_body = Grid(maze, np.diag([4.0, 4.0, 15.0, 1.0]))
    assert extract_brain(whole_body, "FLAIR").reason == "the field of view is longer than 520 mm"


@pytest.mark.parametrize("what", ["empty", "noise", "leg"])
def test_nonsense_is_refused_with_the_reason(what: str) -> None:
    rng = np.random.default_rng(0)
    k, j, i = np.ogrid[0:100, 0:100, 0:100]
    leg = np.where(((j - 50) / 30) ** 2 + ((i - 50) / 30) ** 2 + 0 * k < 1, 0.8, 0.0)
    leg[((j - 50) / 6) ** 2 + ((i - 50) / 6) ** 2 + 0 * k < 1] = 0.1
    arrays = {"empty": np.zeros((100, 100, 100)), "noise": rng.normal(size=(100, 100, 100)), "leg": leg}
    found = extract_brain(Grid(arrays[what].astype(np.float32), np.diag([2.5, 2.5, 2.5, 1.0])), "T1")
    assert found.reason
    assert not found.mask.any()
    assert found.quality == 0
