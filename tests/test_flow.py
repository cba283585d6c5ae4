"""The five steps of a study, on toy pipelines and small studies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pacsai.finding import Outcome
from pacsai.flow import Order, analyse_study, inputs_digest, refuse_study
from pacsai.objects.common import Author
from pacsai.pipeline import Condition
from pacsai.registry import read_package
from pacsai.study import Study
from pacsai.study.reading import read_folder
from tests.phantoms import edit, write_ct_series
from tests.toys import toy_pipeline

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def order(tmp_path: Path) -> Order:
    package = read_package(toy_pipeline(tmp_path / "pipelines"))
    return Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("SEG", "SR", "GSPS"),
        author=Author(title=package.manifest.title),
        folder=tmp_path / "out",
        now=NOW,
    )


def study_in(folder: Path, *, balls: int = 1, **headers: Any) -> Study:
    array = np.full((8, 40, 40), -800, np.int16)
    for ball in range(balls):
        array[2:4, 10 : 10 + 4, 6 + 8 * ball : 10 + 8 * ball] = 50
    write_ct_series(folder, array, np.diag([1.0, 1.0, 2.0, 1.0]), **headers)
    (study,) = read_folder(folder)
    return study


def test_findings_come_with_signed_objects(order: Order, tmp_path: Path) -> None:
    report = analyse_study(study_in(tmp_path / "study", balls=2), order)
    assert report.result.outcome is Outcome.FINDINGS
    assert len({finding.tracking_uid for finding in report.result.findings}) == 2
    assert [written.kind for written in report.objects] == ["SEG", "SR", "GSPS"]
    assert not any(written.problems for written in report.objects)


def test_no_finding_is_told_in_an_sr(order: Order, tmp_path: Path) -> None:
    report = analyse_study(study_in(tmp_path / "study", balls=0), order)
    assert report.result.outcome is Outcome.NO_FINDING
    assert [written.kind for written in report.objects] == ["SR"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID is missing"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "secondary image"),
        ({"Modality": "MR"}, "MR"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "Hounsfield"),
    ],
    ids=["no frame of reference", "reformatted", "another modality", "no Hounsfield units"],
)
def test_what_cannot_be_analysed_is_told_with_its_reason_in_an_sr(
    order: Order, tmp_path: Path, headers: dict[str, Any], reason: str
) -> None:
    report = analyse_study(study_in(tmp_path / "study", **headers), order)
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert reason.lower() in report.result.reason.lower()
    assert [written.kind for written in report.objects] == ["SR"]
    assert [verdict.taken for verdict in report.verdicts] == [False]


def test_a_missing_slice_is_refused(order: Order, tmp_path: Path) -> None:
    study_in(tmp_path / "study")
    sorted((tmp_path / "study").iterdir())[3].unlink()
    (study,) = read_folder(tmp_path / "study")
    report = analyse_study(study, order)
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert "slice" in report.result.reason


def test_truncated_pixels_are_refused(order: Order, tmp_path: Path) -> None:
    study_in(tmp_path / "study")
    file = sorted((tmp_path / "study").iterdir())[3]
    file.write_bytes(file.read_bytes()[:-500])
    (study,) = read_folder(tmp_path / "study")
    report = analyse_study(study, order)
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert report.result.reason


def test_images_that_show_another_body_part_are_not_analysed(order: Order, tmp_path: Path) -> None:
    wants_a_chest = replace(order, accepts={**order.accepts, "BodyPart": Condition(values=("CHEST",))})
    report = analyse_study(study_in(tmp_path / "study", BodyPartExamined="CHEST"), wants_a_chest)
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert "do not show CHEST: no lungs" in report.result.reason


def test_two_patients_under_one_study_make_no_object(order: Order, tmp_path: Path) -> None:
    study_in(tmp_path / "study")
    edit(sorted((tmp_path / "study").iterdir())[0], PatientID="OTHER")
    (study,) = read_folder(tmp_path / "study")
    report = analyse_study(study, order)
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert "more than one patient" in report.result.reason
    assert report.objects == ()


def test_a_refusal_carries_the_reason_it_was_given(order: Order, tmp_path: Path) -> None:
    report = refuse_study(study_in(tmp_path / "study"), order, "the analysis was ended by signal 11")
    assert report.result.reason == "the analysis was ended by signal 11"
    assert [written.kind for written in report.objects] == ["SR"]


def test_uids_follow_inputs_settings_and_nothing_else(order: Order, tmp_path: Path) -> None:
    study = study_in(tmp_path / "study")

    def uids(changed: Order) -> list[str]:
        return [written.sop_instance_uid for written in analyse_study(study, changed).objects]

    usual = uids(order)
    assert uids(replace(order, folder=tmp_path / "elsewhere")) == usual
    assert uids(replace(order, now=datetime(2027, 1, 1, tzinfo=UTC))) == usual
    assert not set(uids(replace(order, results=("SEG", "SR")))) & set(usual)


def test_the_inputs_digest_does_not_depend_on_order(tmp_path: Path) -> None:
    instances = study_in(tmp_path / "study").instances
    assert inputs_digest(tuple(reversed(instances))) == inputs_digest(instances)
    assert inputs_digest(instances[1:]) != inputs_digest(instances)
