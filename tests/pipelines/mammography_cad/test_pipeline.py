"""The exam as a whole, and the trained pipeline on generated and real mammograms."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from pacsai import terms
from pacsai.changes import Change
from pacsai.exam import Exam, View
from pacsai.finding import Outcome
from pacsai.gathering import gather
from pacsai.pipeline import ExamPhantom
from pacsai.registry import Package, find
from pacsai.study.reading import read_folder
from pipelines.mammography_cad.detect import Mark
from pipelines.mammography_cad.pipeline import NO_SIZES, MammographyCAD, load, phantom
from pipelines.mammography_cad.whole import assessment, pairs
from tests import exams

SEED = 3


def mark(view: str, nipple_mm: float, kind: str = "mass", long_mm: float = 10.0, certainty: float = 0.8) -> Mark:
    return Mark(view, kind, (0.0, 0.0), (), certainty, 0.5, {}, long_mm, 8.0, 0, nipple_mm)


def test_marks_of_one_breast_as_far_from_the_nipple_are_one_lesion() -> None:
    marks = [mark("L CC", 50), mark("L MLO", 54), mark("L MLO", 52), mark("R MLO", 50)]
    assert pairs(marks) == [(0, 2)]


@pytest.mark.parametrize(
    "other",
    [mark("L MLO", 70), mark("L MLO", 50, "calcifications"), mark("L MLO", 50, long_mm=40), mark("L CC", 50)],
)
def test_what_is_elsewhere_of_another_kind_or_size_or_on_the_same_view_is_not_joined(other: Mark) -> None:
    assert pairs([mark("L CC", 50), other]) == []


def test_the_suggestion_follows_the_likeliest_cancer() -> None:
    assert assessment([]) == terms.BI_RADS_1
    assert assessment([mark("L CC", 50, certainty=0.2)]) == terms.BI_RADS_0
    assert assessment([mark("L CC", 50)]) == terms.BI_RADS_4


@pytest.fixture(scope="module")
def package() -> Package:
    return find("mammography_cad")


@pytest.fixture(scope="module")
def cad(package: Package) -> MammographyCAD:
    torch.set_num_threads(1)
    loaded = package.load()
    assert isinstance(loaded, MammographyCAD)
    return loaded


@pytest.fixture(scope="module")
def generated() -> ExamPhantom:
    return phantom(SEED)


def test_the_weights_are_needed() -> None:
    with pytest.raises(ValueError, match="without its weights"):
        load(None)


def test_a_generated_exam_is_read_as_a_whole(cad: MammographyCAD, generated: ExamPhantom) -> None:
    result = cad.every_candidate().analyse(generated.images)
    assert result.outcome is Outcome.FINDINGS
    views = {view.name: view for view in generated.images.views}
    for finding in result.findings:
        assert finding.on is not None
        assert views[finding.on.view].holds((finding.on.centre_ji, *finding.on.outline_ji))
        assert finding.probability is not None
        assert finding.certainty is not None
        assert 0 <= finding.probability <= finding.certainty <= 1
    assert result.reading is not None
    assert {one.kind for one in result.reading.detections} >= {terms.BREAST_DENSITY, terms.CALCIFICATION_CLUSTER}
    assert [one.laterality for one in result.reading.densities] == ["L"]
    assert result.reading.case_score is not None


def test_the_same_exam_gives_the_same_marks(cad: MammographyCAD, generated: ExamPhantom) -> None:
    one = Exam(generated.images.views[:1])
    first, second = (cad.every_candidate().analyse(one) for _ in range(2))
    assert [f.on for f in first.findings] == [f.on for f in second.findings]


def test_the_exam_before_is_read_and_compared_with(cad: MammographyCAD, generated: ExamPhantom) -> None:
    earlier = replace(generated.images, study_instance_uid="1.2.3", study_date=date(2025, 3, 1))
    result = cad.every_candidate().analyse(replace(generated.images, prior=earlier, study_date=date(2026, 3, 1)))
    assert {finding.change for finding in result.findings if finding.certainty and finding.certainty > 0.3} == {
        Change.STABLE
    }
    assert result.earlier is not None
    assert (result.earlier.study_instance_uid, result.earlier.interval_days) == ("1.2.3", 365)
    assert result.reading is not None
    (compared,) = [one for one in result.reading.analyses if one.kind == terms.TEMPORAL_CORRELATION]
    assert compared.views == ("L CC", "L MLO")


def test_an_earlier_exam_that_is_none_does_not_stand_in_the_way(cad: MammographyCAD, generated: ExamPhantom) -> None:
    view = generated.images.views[0]
    noise = np.random.default_rng(0).random((300, 200), dtype=np.float32)
    result = cad.analyse(Exam((view,), prior=Exam((replace(view, array=noise),))))
    assert result.outcome is not Outcome.NOT_ANALYSED
    assert any(remark.startswith("earlier exam: L CC: ") for remark in result.remarks)
    assert {finding.change for finding in result.findings} <= {None}


def test_without_pixel_spacing_no_sizes_are_told_and_it_says_so(cad: MammographyCAD, generated: ExamPhantom) -> None:
    view = generated.images.views[0]
    bare = View(view.name, "L", "CC", view.array[::4, ::4].copy(), None, False, view.analysed, view.shown)
    result = cad.every_candidate().analyse(Exam((bare,)))
    assert result.remarks == (f"L CC: {NO_SIZES}",)
    assert all(finding.value(terms.LONG_AXIS) is None for finding in result.findings)
    assert result.reading is not None
    assert terms.CALCIFICATION_CLUSTER not in {one.kind for one in result.reading.detections}


def test_an_image_without_a_breast_is_not_analysed(cad: MammographyCAD) -> None:
    noise = np.random.default_rng(0).random((300, 200), dtype=np.float32)
    view = View("L CC", "L", "CC", noise, (0.1, 0.1), False, None, None)  # type: ignore[arg-type]
    result = cad.analyse(Exam((view,)))
    assert result.outcome is Outcome.NOT_ANALYSED
    assert result.reason.startswith("L CC: ")


def test_a_written_exam_goes_through_the_registered_pipeline(
    tmp_path: Path, cad: MammographyCAD, package: Package
) -> None:
    study = exams.write_exam(tmp_path / "study", ("L CC", "L MLO"))
    images = gather(study, package.manifest, package.manifest.accepts)
    assert isinstance(images.given, Exam)
    result = cad.analyse(images.given)
    assert result.outcome is not Outcome.NOT_ANALYSED


def test_the_real_mammogram_has_three_marks_at_most(shared_data: Path, cad: MammographyCAD, package: Package) -> None:
    (study,) = read_folder(shared_data / "mg" / "dicom")
    images = gather(study, package.manifest, package.manifest.accepts)
    assert isinstance(images.given, Exam)
    assert len(cad.analyse(images.given).findings) <= 3
