"""What is said of lesions as a whole, of those that are gone, and of the study compared with."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pacsai import terms
from pacsai.changes import Change
from pacsai.sequences import Prior
from pipelines.brain_lesions.followed import Followed
from pipelines.brain_lesions.telling import compared_with, gone, total
from tests.objects import brains


def test_the_total_counts_and_adds_up_what_is_there() -> None:
    findings = brains.followed().findings
    whole = total(findings, brains.SHAPE_KJI, 640.0)
    assert whole.value(terms.LESION_COUNT) == 4
    assert whole.value(terms.VOLUME) == pytest.approx(sum(f.value(terms.VOLUME) or 0 for f in findings))
    assert whole.mask
    assert whole.mask.array.sum() == sum(f.mask.array.sum() for f in findings if f.mask)
    assert whole.prior_volume_mm3 == 640.0


def test_where_all_are_gone_the_total_is_none_at_the_place_of_the_first() -> None:
    last = brains.followed().findings[-1]
    whole = total([last], brains.SHAPE_KJI)
    assert (whole.mask, whole.centre_mm) == (None, last.centre_mm)
    assert (whole.value(terms.LESION_COUNT), whole.value(terms.VOLUME)) == (0, 0)


def test_a_lesion_that_is_gone_keeps_its_name() -> None:
    one = Followed(label=0, change=Change.GONE, volume_mm3=0.0, centre_mm=(1, 2, 3), prior_volume_mm3=55.0)
    named = gone(replace(one, tracking_uid="2.25.9", known_as="Lesion 4"), "Lesion 7")
    assert (named.label, named.tracking_uid, named.change) == ("Lesion 4", "2.25.9", Change.GONE)
    assert (named.mask, named.probability, named.prior_volume_mm3) == (None, None, 55.0)
    assert gone(one, "Lesion 7").label == "Lesion 7"


def test_the_interval_runs_to_the_day_of_the_images(tmp_path: Path) -> None:
    volume = brains.source(tmp_path).volume
    assert volume
    prior = Prior({}, "FLAIR", "2.25.7", date(2025, 12, 31))
    assert compared_with(prior, volume).interval_days == 2
    assert compared_with(replace(prior, study_date=None), volume).interval_days is None
    assert compared_with(prior, replace(volume, source=())).interval_days is None
