"""Segmentations scored: cases small enough to be worked out on paper, and folders with masks beside studies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from pacsai.cli import app
from pacsai.evaluate.froc import TruthError
from pacsai.evaluate.masks import names, read_mask
from pacsai.evaluate.overlap import Overlap, covered, hausdorff95_mm, mean, score
from pacsai.evaluate.segmenting import evaluate_masks
from pacsai.objects import seg
from pacsai.registry import PipelineError, read_package
from pacsai.wrap.foreign import RAS_TO_LPS
from tests.evaluate.test_evaluate import SPACING, _ball, write_study
from tests.objects import brains
from tests.objects.tools import saved
from tests.phantoms import axial_affine
from tests.toys import toy_pipeline

MM = (1.0, 1.0, 1.0)
Mask = NDArray[np.bool_]


def boxes(*corners: tuple[int, int, int], size: int = 4) -> Mask:
    mask = np.zeros((12, 24, 24), dtype=bool)
    for k, j, i in corners:
        mask[k : k + size, j : j + size, i : i + size] = True
    return mask


def test_equal_masks_are_perfect() -> None:
    one = score(boxes((2, 2, 2)), boxes((2, 2, 2)), MM)
    assert one == Overlap(1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.064, 0.064)


def test_half_of_a_lesion_found() -> None:
    found = boxes((2, 2, 2))
    found[:, :, 4:] = False
    one = score(found, boxes((2, 2, 2)), MM)
    assert (one.dice, one.sensitivity_voxel) == (pytest.approx(2 / 3), 0.5)
    assert one.volume_error_ml == pytest.approx(-0.032)
    assert one.hausdorff95_mm == 2.0


def test_volumes_and_distances_are_in_the_world() -> None:
    one = score(boxes((2, 2, 4)), boxes((2, 2, 2)), (3.0, 1.0, 2.0))
    assert one.volume_true_ml == pytest.approx(64 * 6 / 1000)
    assert one.hausdorff95_mm == 4.0


def test_lesions_are_counted_one_by_one() -> None:
    truth, found = boxes((2, 2, 2), (2, 12, 2), (2, 2, 12)), boxes((2, 2, 3), (2, 12, 12))
    one = score(found, truth, MM)
    assert (one.lesion_sensitivity, one.lesion_precision) == (pytest.approx(1 / 3), 0.5)
    assert one.lesion_f1 == pytest.approx(0.4)


def test_a_touch_is_no_hit_and_a_speck_no_lesion() -> None:
    truth, found = boxes((2, 2, 2)), boxes((5, 5, 5))  # one voxel of 64 in common
    found[0, 20, 20] = True
    assert covered(truth, found, MM) == (0, 1)
    assert covered(found, truth, MM) == (0, 1)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        (boxes(), boxes(), (1.0, None, None, None, None, 0.0)),
        (boxes(), boxes((2, 2, 2)), (0.0, 0.0, 0.0, None, 0.0, None)),
        (boxes((2, 2, 2)), boxes(), (0.0, None, None, 0.0, 0.0, None)),
    ],
    ids=["nothing there", "nothing found", "all false"],
)
def test_empty_masks(found: Mask, truth: Mask, expected: tuple[float | None, ...]) -> None:
    one = score(found, truth, MM)
    told = (one.dice, one.sensitivity_voxel, one.lesion_sensitivity, one.lesion_precision, one.lesion_f1)
    assert (*told, one.hausdorff95_mm) == expected


def test_the_worst_twentieth_of_the_surface_is_left_out() -> None:
    truth = boxes((2, 2, 2), size=10)
    found = truth.copy()
    found[2, 2, 12:20] = True  # a hair of eight voxels
    assert hausdorff95_mm(found, truth, MM) == 0.0


def test_the_mean_leaves_out_what_has_no_meaning() -> None:
    one = score(boxes((2, 2, 2)), boxes((2, 2, 2)), MM)
    other = replace(one, dice=0.5, hausdorff95_mm=None, volume_error_ml=-1.0)
    both = mean([replace(one, volume_error_ml=0.5), other])
    assert (both.dice, both.hausdorff95_mm, both.volume_error_ml) == (0.75, 0.0, 0.75)


def nifti(path: Path, mask: Mask, affine_lps: NDArray[np.float64]) -> Path:
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8).T, RAS_TO_LPS @ affine_lps), path)  # type: ignore[no-untyped-call]
    return path


def truth_of(*centres: tuple[int, int, int]) -> Mask:
    return np.any([_ball(centre) for centre in centres] or [np.zeros((12, 48, 48), bool)], axis=0)


def test_a_folder_of_studies_is_scored_against_masks_by_patient_or_study(tmp_path: Path) -> None:
    studies, truth = tmp_path / "studies", tmp_path / "truth"
    truth.mkdir()
    series = write_study(studies / "a", [(6, 20, 30)], PatientID="patient26")
    assert series
    write_study(studies / "b", [(5, 10, 10)], PatientID="other", StudyInstanceUID="2.25.5", StudyDate="20260103")
    write_study(studies / "c", [(5, 10, 12)], PatientID="nobody", StudyInstanceUID="2.25.6")
    affine = axial_affine(SPACING, (0.0, 0.0, 0.0))
    nifti(truth / "patient26.nii.gz", truth_of((6, 20, 30)), affine)
    nifti(truth / "2.25.5.nii", truth_of((5, 10, 10), (8, 40, 40)), affine)
    package = read_package(toy_pipeline(tmp_path))
    scores = evaluate_masks(package, studies, truth)
    by_name = {row["truth"]: row for row in scores["studies"]}
    assert by_name["patient26.nii.gz"]["dice"] == by_name["patient26.nii.gz"]["lesion_f1"] == 1.0
    assert by_name["2.25.5.nii"]["lesion_sensitivity"] == 0.5
    assert scores["dice"] == pytest.approx(np.mean([row["dice"] for row in scores["studies"]]), abs=1e-4)
    assert scores["without_truth"] == ["2.25.6"]
    assert json.loads(json.dumps(scores)) == scores
    told = CliRunner().invoke(
        app, ["evaluate", str(package.folder), "--studies", str(studies), "--truth", str(truth), "--json"]
    )
    assert json.loads(told.stdout)["dice"] == scores["dice"]


def test_a_mask_on_another_grid_is_laid_over_the_analysed_one(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    write_study(tmp_path / "studies", [(6, 20, 30)], PatientID="p")
    turned = np.array([[0, 0, -1, 47], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1.0]])  # i up, k to the right
    mask = truth_of((6, 20, 30)).transpose(2, 1, 0)[::-1]
    nifti(truth / "p.nii.gz", mask, turned)
    scores = evaluate_masks(read_package(toy_pipeline(tmp_path)), tmp_path / "studies", truth)
    assert scores["dice"] == 1.0


def test_a_study_that_is_refused_counts_as_empty_and_is_told(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    write_study(tmp_path / "studies", [(6, 20, 30)], PatientID="p", Modality="MR")
    nifti(truth / "p.nii.gz", truth_of((6, 20, 30)), axial_affine(SPACING, (0.0, 0.0, 0.0)))
    scores = evaluate_masks(read_package(toy_pipeline(tmp_path)), tmp_path / "studies", truth)
    assert (scores["dice"], scores["lesion_sensitivity"]) == (0.0, 0.0)
    assert list(scores["not_analysed"].values()) != [""]
    assert len(scores["not_analysed"]) == 1


def test_the_segmentation_that_this_node_wrote_is_read_as_a_mask(tmp_path: Path) -> None:
    source = brains.source(tmp_path / "mr", brains.turned())
    path = saved(seg.build(brains.followed(), source), tmp_path / "p.dcm")
    placed = read_mask(path)
    assert source.volume
    (total,) = brains.followed().totals
    assert total.mask
    assert np.array_equal(source.volume.pasted(placed.mask, placed.affine), total.mask.paste(brains.SHAPE_KJI))


def test_what_cannot_be_scored_is_told(tmp_path: Path) -> None:
    package, truth, studies = read_package(toy_pipeline(tmp_path)), tmp_path / "truth", tmp_path / "studies"
    truth.mkdir()
    write_study(studies, [], PatientID="p")
    with pytest.raises(PipelineError, match="no mask is named"):
        evaluate_masks(package, studies, truth)
    (truth / "p.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(PipelineError, match=r"p\.nii\.gz is no mask"):
        evaluate_masks(package, studies, truth)
    with pytest.raises(TruthError, match="not a Segmentation"):
        read_mask(next(studies.glob("**/*.dcm")))
    assert names(truth).keys() == {"p"}
