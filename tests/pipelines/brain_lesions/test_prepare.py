"""Preparation: real sequences on one grid, what cannot be used left out with its reason, and the way back exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pacsai.registration import Registration
from pacsai.sequences import Sequences
from pacsai.volume import Grid, Volume
from pipelines.brain_lesions.prepare import (
    Prepared,
    Unfit,
    back_onto,
    find_brain,
    labels_back_onto,
    normalised,
    prepare,
    slice_jump,
)
from pipelines.brain_lesions.registration_trials import FILES, PLANES, read_nifti


def volume(grid: Grid) -> Volume:
    return Volume(grid.array, grid.affine, "1.2.3", ())


def real(shared_data: Path, patient: str, *names: str) -> dict[str, Volume]:
    folder = shared_data / "mr" / "open-ms" / patient
    return {name: volume(read_nifti(folder / FILES[name])) for name in names}


@pytest.fixture(scope="module")
def prepared(shared_data: Path) -> Prepared:
    volumes = real(shared_data, "patient26", "FLAIR", "T1")
    volumes["T2"] = volume(Grid(np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32), np.eye(4)))
    return prepare(Sequences(volumes, "FLAIR"))


def test_sequences_lie_on_one_grid_and_one_scale(prepared: Prepared) -> None:
    assert set(prepared.images) == {"FLAIR", "T1"}
    for image in prepared.images.values():
        assert image.shape == prepared.brain.shape
        assert not image[~prepared.brain].any()
        low, middle, high = np.percentile(image[prepared.brain], (25, 50, 75))
        assert abs(middle) < 0.1
        assert high - low == pytest.approx(1.349, rel=0.1)
    assert prepared.brain.sum() / 1000 == pytest.approx(1123, rel=0.02)


def test_a_flair_of_5_mm_and_a_t1_of_1_mm_go_together(shared_data: Path) -> None:
    volumes = real(shared_data, "patient26", "FLAIR", "T1")
    volumes["FLAIR"] = volume(volumes["FLAIR"].resampled((5.0, 1.0, 1.0)))
    found = prepare(Sequences(volumes, "FLAIR"))
    assert set(found.images) == {"FLAIR", "T1"}
    assert found.remarks == ()
    assert found.brain.sum() / 1000 == pytest.approx(1123, rel=0.06)


def test_what_cannot_be_registered_is_left_out_and_told(prepared: Prepared) -> None:
    assert not prepared.registrations["T2"].accepted
    assert prepared.registrations["T1"].accepted
    assert any(remark.startswith("T2 was left out: registration failed") for remark in prepared.remarks)


def test_what_was_drawn_on_the_model_grid_goes_back_where_it_was(prepared: Prepared, shared_data: Path) -> None:
    reference = real(shared_data, "patient26", "FLAIR")["FLAIR"]
    brain = back_onto(reference, prepared.brain.astype(np.float32), prepared.affine) > 0.5
    truth = reference.array != 0
    assert 2 * (brain & truth).sum() / (brain.sum() + truth.sum()) > 0.99


@pytest.mark.parametrize("plane", [*PLANES, "oblique"])
@pytest.mark.parametrize("thickness_mm", [1.0, 4.0])
def test_a_box_goes_back_onto_every_acquisition(plane: str, thickness_mm: float) -> None:
    axes = np.array(PLANES.get(plane, PLANES["axial"]), dtype=float).T
    if plane == "oblique":
        axes = Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix() @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * (0.8, 0.9, thickness_mm)
    shape = (round(100 / thickness_mm), 110, 120)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape[::-1]) / 2)
    reference = Grid(np.zeros(shape, np.float32), affine)
    model = np.eye(4)
    model[:3, 3] = (-35.0, -38.0, -31.0)
    box = np.zeros((60, 70, 72), np.float32)
    box[20:44, 25:50, 18:48] = 1
    middle = Grid(box, model).world_mm(np.argwhere(box).mean(axis=0))
    share = back_onto(reference, box, model)
    found = np.argwhere(share > 0.5)
    off = reference.index_kji(middle) - found.mean(axis=0)
    assert np.abs(off).max() <= 0.5
    assert share.sum() * np.prod(reference.spacing_mm) == pytest.approx(box.sum(), rel=0.02)
    labels = labels_back_onto(reference, box.astype(np.int32) * 3, model)
    np.testing.assert_array_equal(labels == 3, share >= 0.5)


def test_what_is_no_brain_is_refused_with_the_reason() -> None:
    empty = volume(Grid(np.zeros((50, 50, 50), np.float32), np.diag([4.0, 4, 4, 1])))
    with pytest.raises(Unfit, match="empty"):
        prepare(Sequences({"FLAIR": empty}, "FLAIR"))


def test_slices_torn_by_motion_are_told_or_refused(shared_data: Path) -> None:
    flair = real(shared_data, "patient26", "FLAIR")["FLAIR"]
    brain = flair.array != 0
    assert slice_jump(flair.array, brain) < 0.05
    torn = flair.array.copy()
    torn[::2] *= 0.4
    assert slice_jump(torn, brain) > 0.35
    with pytest.raises(Unfit, match="torn apart"):
        prepare(Sequences({"FLAIR": volume(Grid(torn, flair.affine))}, "FLAIR"))


def test_a_bias_field_is_taken_out(shared_data: Path) -> None:
    flair = real(shared_data, "patient19", "FLAIR")["FLAIR"]
    brain = flair.array > 0
    slope = np.linspace(0.6, 1.4, flair.array.shape[1], dtype=np.float32)[None, :, None]
    plain, sloped = (normalised(image, brain) for image in (flair.array, flair.array * slope))
    assert np.corrcoef(plain[brain], sloped[brain])[0, 1] > 0.9


def test_another_sequence_shows_the_brain_where_the_reference_does_not(shared_data: Path) -> None:
    t1 = real(shared_data, "patient26", "T1")["T1"]
    noise = volume(Grid(np.random.default_rng(0).normal(size=t1.array.shape).astype(np.float32), t1.affine))
    sequences = Sequences({"FLAIR": noise, "T1": t1}, "FLAIR")
    mask, remarks = find_brain(sequences, {"T1": Registration(np.eye(4), True, "", 1.2, 1.0, 0.0, 0.0)})
    assert mask.sum() / 1000 == pytest.approx(1123, rel=0.02)
    assert remarks[0].startswith("the brain was found in T1; in FLAIR: ")
    with pytest.raises(Unfit):
        find_brain(sequences, {"T1": Registration(np.eye(4), False, "failed", 1.0, 0.0, 9.0, 0.0)})
