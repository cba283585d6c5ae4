"""Registration: heads moved in a known way are put back, what cannot be is flagged, the same answer every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from pacsai.registration import Registration, moved, register
from pacsai.volume import Grid
from pipelines.brain_lesions.registration_trials import acquired, random_movement, read_nifti, run_trial, summary


def made_head(seed: int = 0) -> Grid:
    """Return an egg with patches of four tissues: nothing like a brain, but with inner structure to hold on to."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[-1:1:70j, -1:1:90j, -1:1:72j]
    egg = (x / 0.8) ** 2 + (y / 0.85) ** 2 + ((z + 0.1 * y) / 0.8) ** 2 < 1
    texture = ndimage.gaussian_filter(rng.normal(size=egg.shape), 4)
    tissues = np.digitize(texture, np.quantile(texture, (0.2, 0.5, 0.8)))
    array = np.where(egg, 60 + 40 * tissues, 0).astype(np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-72, -90, -70)
    return Grid(array, affine)


def in_another_contrast(grid: Grid) -> Grid:
    values = {60: 90, 100: 200, 140: 140, 180: 110}
    return Grid(sum(np.float32(new) * (grid.array == old) for old, new in values.items()), grid.affine)


def error_mm(found: Registration, truth: np.ndarray, head: Grid) -> float:
    places = head.world_mm(np.argwhere(head.array > 0)[::499])
    return float(np.linalg.norm(found.to_other(places) - moved(truth, places), axis=1).mean())


@pytest.mark.parametrize(("plane", "thickness_mm"), [("axial", 2.0), ("sagittal", 4.0)])
def test_a_moved_head_is_put_back_across_contrasts(plane: str, thickness_mm: float) -> None:
    head = made_head()
    rng = np.random.default_rng(3)
    truth = random_movement(rng, np.zeros(3))
    other = acquired(in_another_contrast(head), truth, plane, thickness_mm, rng)
    found = register(head, other)
    assert found.accepted, found.reason
    assert error_mm(found, truth, head) <= 1.0
    assert found.moved_mm > 5


def test_the_way_back_is_the_inverse() -> None:
    head = made_head()
    truth = random_movement(np.random.default_rng(5), np.zeros(3))
    found = register(head, Grid(head.array, truth @ head.affine))
    places = np.array([[0.0, 0, 0], [30, -20, 10]])
    np.testing.assert_allclose(found.to_reference(found.to_other(places)), places, atol=1e-9)
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-9)


def test_the_same_images_give_the_same_answer() -> None:
    head, other = made_head(), in_another_contrast(made_head())
    np.testing.assert_array_equal(register(head, other, threads=2).matrix, register(head, other, threads=2).matrix)


def test_the_headers_place_is_kept_where_it_is_as_good() -> None:
    found = register(made_head(), in_another_contrast(made_head()))
    assert found.accepted
    assert found.moved_mm == 0
    np.testing.assert_array_equal(found.matrix, np.eye(4))


@pytest.mark.parametrize("what", ["noise", "another texture", "empty", "constant", "not a number"])
def test_what_is_not_the_same_head_is_flagged(what: str) -> None:
    head = made_head()
    rng = np.random.default_rng(1)
    arrays = {
        "noise": rng.normal(size=head.array.shape),
        "another texture": ndimage.gaussian_filter(rng.normal(size=head.array.shape), 2),
        "empty": np.zeros(head.array.shape),
        "constant": np.full(head.array.shape, 7.0),
        "not a number": np.full(head.array.shape, np.nan),
    }
    found = register(head, Grid(arrays[what].astype(np.float32), head.affine))
    assert not found.accepted
    assert found.reason


def test_heads_that_are_nowhere_near_in_the_world_are_still_found() -> None:
    head = made_head()
    truth = np.eye(4)
    truth[:3, 3] = (400, -300, 1200)
    found = register(head, Grid(head.array, truth @ head.affine))
    assert found.accepted, found.reason
    assert error_mm(found, truth, head) <= 0.5


def test_real_heads_are_put_back(shared_data: Path) -> None:
    data = shared_data / "mr" / "open-ms"
    trials = [run_trial(number, data) for number in (1, 4, 8, 15)]
    assert summary(trials)["flagged"] == 0
    assert [t for t in trials if t.error_mm > 1.1] == []


def test_a_head_is_not_put_onto_a_breast(shared_data: Path) -> None:
    image = sitk.ReadImage(str(shared_data / "mr" / "pyradiomics" / "breast1_image.nrrd"))
    affine = np.diag([*image.GetSpacing(), 1.0])
    breast = Grid(sitk.GetArrayFromImage(image).astype(np.float32), affine)
    head = read_nifti(shared_data / "mr" / "open-ms" / "patient19" / "flair.nii.gz")
    assert not register(head, breast).accepted
