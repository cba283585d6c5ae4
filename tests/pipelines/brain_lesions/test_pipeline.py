"""The pipeline as a whole: what it tells of a generated brain, what it refuses, what it says of an earlier study."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pacsai import terms
from pacsai.changes import Change
from pacsai.finding import Outcome, Result
from pacsai.registry import find
from pacsai.sequences import Known, Prior, Sequences
from pacsai.volume import Grid, Volume
from pacsai.volume.itk import onto
from pipelines.brain_lesions.painting import home
from pipelines.brain_lesions.phantom import BrainPhantom, brain_phantom, lesion_shapes
from pipelines.brain_lesions.pipeline import BrainLesions, load

SEED = 5003
MM = 1.5
"""Voxels of the tests' studies: fewer than at 1 mm."""
Bools = NDArray[np.bool_]


@pytest.fixture(scope="module")
def pipeline() -> BrainLesions:
    return load(find("brain_lesions").verified_weights())


@pytest.fixture(scope="module")
def brain() -> BrainPhantom:
    return brain_phantom(SEED, lesions=8)


@pytest.fixture(scope="module")
def result(pipeline: BrainLesions, brain: BrainPhantom) -> Result:
    """Return what is told of the brain beside an earlier study that shows none."""
    noise = np.random.default_rng(0).normal(500, 100, (60, 60, 60)).astype(np.float32)
    prior = {"FLAIR": Volume(noise, np.diag([3.0, 3, 3, 1]), "1.2.3", ())}
    return with_prior(pipeline, flair(brain), prior)


def flair(brain: BrainPhantom, move_mm: tuple[float, float, float] = (0, 0, 0)) -> dict[str, Volume]:
    """Return FLAIR of a brain that lies so many mm beside where it lay."""
    there = coarse(brain.images["FLAIR"])
    affine = np.diag([MM, MM, MM, 1.0])
    affine[:3, 3] = move_mm
    return {"FLAIR": Volume(there, affine, "1.2.3", ())}


def coarse(array: NDArray[np.float32]) -> NDArray[np.float32]:
    k, j, i = (int(n / MM) for n in array.shape)
    return onto(Grid(array, np.eye(4)), np.diag([MM, MM, MM, 1.0]), (k, j, i)).array


def with_prior(pipeline: BrainLesions, now: dict[str, Volume], before: dict[str, Volume], *known: Known) -> Result:
    prior = Prior(before, "FLAIR", "1.2.3.4", date(2025, 1, 2), known)
    return pipeline.analyse(Sequences(now, "FLAIR", prior))


def test_lesions_are_told_with_volume_place_and_probability(result: Result) -> None:
    assert result.outcome is Outcome.FINDINGS
    volumes = [one.value(terms.VOLUME) or 0.0 for one in result.findings]
    assert volumes == sorted(volumes, reverse=True)
    assert [one.label for one in result.findings] == [f"Lesion {n}" for n in range(1, len(volumes) + 1)]
    for one in result.findings:
        assert one.mask is not None
        assert one.value(terms.VOLUME) == pytest.approx(one.mask.array.sum() * MM**3)
        inside = np.argwhere(one.mask.array) + one.mask.offset_kji
        assert np.allclose(inside.mean(axis=0)[::-1] * MM, one.centre_mm)
        assert one.laterality in (terms.LEFT, terms.RIGHT, terms.MIDLINE)
        assert one.site in (terms.CEREBRAL_WHITE_MATTER, terms.BRAIN)
        assert 0 < (one.probability or 0) <= 1
    (total,) = result.totals
    assert total.value(terms.VOLUME) == pytest.approx(sum(volumes))
    assert total.value(terms.LESION_COUNT) == len(volumes)


def test_the_masks_lie_where_the_lesions_are(result: Result, brain: BrainPhantom) -> None:
    truth = coarse(brain.truth.astype(np.float32)) > 0.5
    found = np.zeros_like(truth)
    for one in result.findings:
        assert one.mask is not None
        found[one.mask.box] |= one.mask.array
    assert (found & truth).sum() > 0.6 * truth.sum()


def test_a_prior_that_cannot_be_used_is_told_and_the_current_study_analysed(result: Result) -> None:
    assert result.earlier is None
    assert {one.change for one in result.findings} == {None}
    assert any(one.startswith("not compared with the earlier study: no brain") for one in result.remarks)


def test_a_study_without_a_brain_is_not_analysed(pipeline: BrainLesions) -> None:
    ball = np.zeros((40, 40, 40), np.float32)
    ball[15:25, 15:25, 15:25] = 100
    found = pipeline.analyse(Sequences({"FLAIR": Volume(ball, np.diag([2.0, 2, 2, 1]), "1.2.3", ())}, "FLAIR"))
    assert found.outcome is Outcome.NOT_ANALYSED
    assert "no brain" in found.reason


def test_the_weights_are_asked_for() -> None:
    with pytest.raises(ValueError, match="weights"):
        load(None)


@pytest.mark.slow
def test_a_moved_head_has_no_change_and_its_lesions_keep_their_names(
    pipeline: BrainLesions, brain: BrainPhantom, result: Result
) -> None:
    shift = (7.0, -6.0, 9.0)
    known = tuple(
        Known(f"2.25.{n}", f"Lesion {n + 20}", one.centre_mm, one.value(terms.VOLUME))
        for n, one in enumerate(result.findings, start=1)
    )
    found = with_prior(pipeline, flair(brain, move_mm=shift), flair(brain), *known)
    assert {one.change for one in found.findings} <= {Change.STABLE, None}
    assert found.earlier is not None
    assert found.earlier.study_date == date(2025, 1, 2)
    now = {one.tracking_uid: one for one in found.findings}
    for one in known:
        if (one.volume_mm3 or 0) > 100:
            same = now[one.tracking_uid]
            np.testing.assert_allclose(np.subtract(same.centre_mm, one.centre_mm), shift, atol=2)
            assert same.label == one.label


@pytest.mark.slow
def test_a_new_lesion_is_called_new(pipeline: BrainLesions, brain: BrainPhantom) -> None:
    old = lesion_shapes(np.random.default_rng(1), brain.anatomy, 4)
    new = np.sum((np.indices(old.shape) - _white(brain, old)) ** 2, axis=0) < 5**2
    before, after = brain_phantom(SEED, planted=old), brain_phantom(SEED, planted=old | new)
    found = with_prior(pipeline, flair(after), flair(before))
    (called,) = (one for one in found.findings if one.change is Change.NEW)
    assert np.linalg.norm(np.subtract(called.centre_mm, np.argwhere(new).mean(axis=0)[::-1])) < 4


def _white(brain: BrainPhantom, old: Bools) -> NDArray[np.intp]:
    """Return the place (k, j, i), as a column for `np.indices`, deepest in white matter and away from other lesions."""
    depth = ndimage.distance_transform_edt((home(brain.anatomy.tissues) > 0.7) & ~old)
    return np.array(np.unravel_index(depth.argmax(), depth.shape)).reshape(3, 1, 1, 1)
