"""The pipeline as a whole: what it tells of a generated brain, what it refuses, what it says of an earlier study."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from pacsai import terms
from pacsai.changes import Change
from pacsai.finding import Outcome, Result
from pacsai.registry import find
from pacsai.sequences import Known, Prior, Sequences
from pacsai.volume import Volume
from pipelines.brain_lesions.pairs import brains, planted
from pipelines.brain_lesions.phantom import BrainPhantom
from pipelines.brain_lesions.pipeline import BrainLesions, load

SEED = 6000


@pytest.fixture(scope="module")
def pipeline() -> BrainLesions:
    return load(find("brain_lesions").verified_weights())


@pytest.fixture(scope="module")
def pair() -> tuple[BrainPhantom, BrainPhantom]:
    """Return a brain with lesions, and the same with three new ones."""
    return brains(SEED)


@pytest.fixture(scope="module")
def result(pipeline: BrainLesions, pair: tuple[BrainPhantom, BrainPhantom]) -> Result:
    """Return what is told of the first brain beside an earlier study that shows none."""
    return with_prior(pipeline, flair(pair[0]), {"FLAIR": ball()})


def ball() -> Volume:
    array = np.zeros((40, 40, 40), np.float32)
    array[15:25, 15:25, 15:25] = 100
    return Volume(array, np.diag([2.0, 2, 2, 1]), "1.2.3", ())


def flair(brain: BrainPhantom, move_mm: tuple[float, float, float] = (0, 0, 0)) -> dict[str, Volume]:
    """Return FLAIR of a brain that lies so many mm beside where it lay."""
    affine = np.eye(4)
    affine[:3, 3] = move_mm
    return {"FLAIR": Volume(brain.images["FLAIR"], affine, "1.2.3", ())}


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
        assert one.value(terms.VOLUME) == pytest.approx(one.mask.array.sum())
        inside = np.argwhere(one.mask.array) + one.mask.offset_kji
        assert np.allclose(inside.mean(axis=0)[::-1], one.centre_mm)
        assert one.laterality in (terms.LEFT, terms.RIGHT, terms.MIDLINE)
        assert one.site in (terms.CEREBRAL_WHITE_MATTER, terms.BRAIN)
        assert 0 < (one.probability or 0) <= 1
    (total,) = result.totals
    assert total.value(terms.VOLUME) == pytest.approx(sum(volumes))
    assert total.value(terms.LESION_COUNT) == len(volumes)


def test_the_masks_lie_where_the_lesions_are(result: Result, pair: tuple[BrainPhantom, BrainPhantom]) -> None:
    truth = pair[0].truth
    found = np.zeros_like(truth)
    for one in result.findings:
        assert one.mask is not None
        found[one.mask.box] |= one.mask.array
    assert 2 * (found & truth).sum() > 0.5 * (found.sum() + truth.sum())


def test_a_prior_that_cannot_be_used_is_told_and_the_current_study_analysed(result: Result) -> None:
    assert result.earlier is None
    assert {one.change for one in result.findings} == {None}
    assert any(one.startswith("not compared with the earlier study: no brain") for one in result.remarks)


def test_a_study_without_a_brain_is_not_analysed(pipeline: BrainLesions) -> None:
    found = pipeline.analyse(Sequences({"FLAIR": ball()}, "FLAIR"))
    assert found.outcome is Outcome.NOT_ANALYSED
    assert "no brain" in found.reason


def test_the_weights_are_asked_for() -> None:
    with pytest.raises(ValueError, match="weights"):
        load(None)


@pytest.mark.slow
def test_a_moved_head_has_no_change_and_its_lesions_keep_their_names(
    pipeline: BrainLesions, pair: tuple[BrainPhantom, BrainPhantom], result: Result
) -> None:
    shift = (7.0, -6.0, 9.0)
    known = tuple(
        Known(f"2.25.{n}", f"Lesion {n + 20}", one.centre_mm, one.value(terms.VOLUME))
        for n, one in enumerate(result.findings, start=1)
    )
    found = with_prior(pipeline, flair(pair[0], move_mm=shift), flair(pair[0]), *known)
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
def test_new_lesions_are_called_new(pipeline: BrainLesions, pair: tuple[BrainPhantom, BrainPhantom]) -> None:
    before, after = pair
    wanted = planted(before, after, np.eye(4), np.eye(4))
    assert len(wanted) == 3
    called = [one for one in with_prior(pipeline, flair(after), flair(before)).findings if one.change is Change.NEW]
    assert len(called) == len(wanted)
    for lesion in wanted:
        assert min(np.linalg.norm(np.subtract(one.centre_mm, lesion.centre_mm)) for one in called) < 4
