"""Scoring marks on mammograms: cases small enough to be worked out on paper, and a folder as the command scores it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pacsai import terms
from pacsai.evaluate.exams import Lesion, Read, evaluate_exams, read_lesions, scores
from pacsai.evaluate.exams import read as read_exam
from pacsai.evaluate.froc import Scored, Truth, TruthError
from pacsai.evaluate.roc import Case, auc, auc_with_interval
from pacsai.exam import Exam
from pacsai.finding import Finding, Result
from pacsai.gathering import gather
from pacsai.reading import Spot
from pacsai.registry import PipelineError, read_package
from tests import exams
from tests.nodes import pacsai_json
from tests.toys import toy_exam_pipeline

HEADER = "sop_instance_uid,x,y,radius,kind,malignant\n"


def lesion(image: str, x: float, y: float, kind: str = "mass", *, malignant: bool = True) -> Lesion:
    return Lesion(Truth(image, (x, y, 0.0), 10.0, kind), malignant)


def read(exam: str, *marks: tuple[str, float, float, float], images: tuple[str, ...] = ("a", "b")) -> Read:
    made = tuple(Scored(f"{exam}{image}", (x, y, 0.0), probability) for image, x, y, probability in marks)
    best = {f"{exam}{one}": max((m.probability for m in made if m.series_instance_uid == f"{exam}{one}"), default=0.0)
            for one in images}  # fmt: skip
    return Read(exam, best, max(best.values()), made)


def test_sensitivity_is_told_for_all_for_the_malignant_and_by_kind() -> None:
    reads = [
        read("1", ("a", 10, 11, 0.9), ("a", 90, 90, 0.5), ("b", 50, 50, 0.2)),
        read("2", ("a", 10, 10, 0.4)),
    ]
    truth = [lesion("1a", 10, 10), lesion("1b", 50, 50, "calcifications", malignant=False), lesion("2b", 1, 1)]
    told = scores(reads, truth)
    assert told["fp_per_image"] == [0.25, 0.5, 1.0, 2.0]
    assert told["sensitivity"] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert told["malignant"] == {"sensitivity": pytest.approx([0.5] * 4), "lesions": 2}
    assert told["kinds"]["calcifications"]["sensitivity"] == pytest.approx([0, 1, 1, 1])
    assert (told["images"], told["exams"], len(told["froc"])) == (4, 2, 4)
    assert [hit["probability"] for hit in told["hits"]] == [0.9, 0.2]
    assert [(miss["sop_instance_uid"], miss["x"], miss["radius"]) for miss in told["misses"]] == [("2b", 1, 5)]


def test_a_mark_hits_within_the_radius_on_its_own_image_alone() -> None:
    truth = [lesion("1a", 10, 10)]
    assert scores([read("1", ("a", 14.9, 10, 0.9))], truth)["hits"]
    assert scores([read("1", ("a", 15.0, 10, 0.9))], truth)["misses"]
    assert scores([read("1", ("b", 10, 10, 0.9))], truth)["misses"]


def test_auc_counts_ties_half() -> None:
    positive = np.array([True, True, False, False])
    assert auc(np.array([0.9, 0.8, 0.2, 0.1]), positive) == 1
    assert auc(np.array([0.9, 0.1, 0.5, 0.1]), positive) == pytest.approx(0.625)
    assert auc(np.array([0.9, 0.1]), np.array([True, True])) is None


def test_the_interval_is_of_exams_drawn_anew_and_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    cases = [[Case(float(rng.normal(positive)), positive) for _ in range(4)] for positive in [True, False] * 20]
    told = auc_with_interval(cases)
    assert told == auc_with_interval(cases)
    assert told["low"] < told["auc"] < told["high"]  # type: ignore[operator]
    one_image_each = auc_with_interval([[case] for exam in cases for case in exam])
    assert one_image_each["auc"] == told["auc"]
    assert auc_with_interval([[Case(0.5, True)]]) == {"auc": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sop_instance_uid,x,y\n", "lacks the column(s) radius, kind, malignant"),
        (HEADER + "1.2,1,2,x,mass,1\n", "line 2: x, y and radius must be numbers"),
        (HEADER + "1.2,1,2,3,mass,1\n1.2,1,2,0,mass,1\n", "line 3: radius must be more than 0"),
        (HEADER + "1.2,1,2,3,mass,yes\n", "malignant 0 or 1"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(TruthError, match=said.replace("(", r"\(").replace(")", r"\)")):
        read_lesions(tmp_path / "truth.csv")


def test_a_folder_of_exams_is_scored(tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "studies" / "1")
    uids = {one.header.SeriesDescription: one.sop_instance_uid for one in study.instances}
    rows = [f"{uids['L CC']},60,100,6,mass,1", f"{uids['L MLO']},71,120,6,mass,1", f"{uids['L MLO']},9,9,5,mass,0"]
    truth = tmp_path / "truth.csv"
    truth.write_text(HEADER + "\n".join(rows) + "\n")
    folder = toy_exam_pipeline(tmp_path / "pipelines")
    told = pacsai_json("evaluate", str(folder), "--studies", str(tmp_path / "studies"), "--truth", str(truth))
    assert told["sensitivity"] == pytest.approx([2 / 3] * 4)
    assert (told["images"], told["exams"], len(told["misses"])) == (4, 1, 1)
    assert told["image_auc"]["auc"] == 1
    assert told["exam_auc"]["auc"] is None
    assert json.dumps(told["kinds"]["mass"]["lesions"]) == "3"


class Certain:
    """Marks one place of each view: surely something, hardly cancer."""

    def analyse(self, exam: Exam) -> Result:
        return Result.of(
            tuple(
                Finding(
                    kind=terms.BREAST_MASS,
                    label="Mass",
                    probability=0.2,
                    certainty=0.9,
                    on=Spot(view.name, (100.0, 60.0)),
                )
                for view in exam.views
            )
        )


def test_marks_are_ranked_by_certainty_and_images_scored_by_probability(tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "studies", ("L CC",))
    package = read_package(toy_exam_pipeline(tmp_path / "pipelines"))
    images = gather(study, package.manifest, package.manifest.accepts)
    made = read_exam(Certain(), study, images)
    assert [mark.probability for mark in made.marks] == [0.9]
    assert list(made.images.values()) == [made.score] == [0.2]


def test_an_exam_that_is_not_analysed_counts_with_its_lesions_missed(tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "studies", ("L CC",), PartialView="YES")
    truth = tmp_path / "truth.csv"
    truth.write_text(HEADER + f"{study.instances[0].sop_instance_uid},60,100,6,mass,1\n")
    package = read_package(toy_exam_pipeline(tmp_path / "pipelines"))
    told = evaluate_exams(package, tmp_path / "studies", truth)
    assert (told["images"], len(told["misses"])) == (1, 1)
    assert told["not_analysed"] == {study.study_instance_uid: "a partial view"}
    truth.write_text(HEADER)
    with pytest.raises(PipelineError, match="none of the studies has a mammogram to score"):
        evaluate_exams(package, tmp_path / "studies", truth)
