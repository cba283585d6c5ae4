"""A pipeline of mammograms: from a study to marks and signed objects, and every way an exam can be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from pacsai import registry
from pacsai.finding import Outcome
from pacsai.flow import Order, analyse_study, refuse_study
from pacsai.objects.common import Author
from pacsai.registry import read_package
from pacsai.report import Report
from pacsai.study.reading import read_folder
from tests import exams
from tests.objects.tools import dciodvfy, dsrdump
from tests.phantoms import edit
from tests.toys import toy_exam_pipeline

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = ("CADSR", "SR", "GSPS", "SC", "KO")


@pytest.fixture
def order(tmp_path: Path) -> Order:
    package = read_package(toy_exam_pipeline(tmp_path / "pipelines"))
    return Order(
        package=package,
        accepts=package.manifest.accepts,
        results=ALL,
        author=Author(title=package.manifest.title),
        folder=tmp_path / "out",
        now=NOW,
    )


def test_the_contract_of_images_is_checked(tmp_path: Path) -> None:
    folder = toy_exam_pipeline(tmp_path)
    assert registry.check(folder) == ()
    code = folder / "pipeline.py"
    code.write_text(code.read_text().replace("def analyse(self, exam)", "def analyse(self, images)"))
    other = tmp_path / "other"
    folder.rename(other)
    (other / "manifest.yaml").write_text((other / "manifest.yaml").read_text().replace("name: dots", "name: other"))
    (problem,) = registry.check(other)
    assert "analyse takes (images), and input: images asks for (exam)" in problem


def test_an_exam_gives_every_object_and_they_pass_every_checker(order: Order, tmp_path: Path) -> None:
    report = analyse_study(exams.write_exam(tmp_path / "study"), order)
    assert report.result.outcome is Outcome.FINDINGS
    assert [one.problems for one in report.objects] == [()] * 6
    assert [one.kind for one in report.objects] == ["SR", "CADSR", "GSPS", "GSPS", "SC", "KO"]
    for one in report.objects:
        assert dciodvfy(one.path) == [], one.kind
    for one in report.objects:
        if one.kind in ("SR", "CADSR", "KO"):
            assert dsrdump(one.path) == []


def notes(report: Report) -> str:
    return "; ".join(report.result.remarks)


def test_what_json_says_of_a_finding_is_in_pixels_of_its_image(order: Order, tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "study")
    told = analyse_study(study, order).as_json()
    uids = {one.header.SeriesDescription: one.sop_instance_uid for one in study.instances}
    first = told["findings"][0]
    assert (first["view"], first["sop_instance_uid"], first["x"], first["y"]) == ("L CC", uids["L CC"], 60, 100)
    assert first["radius"] == pytest.approx(6.5 * 2**0.5, abs=0.01)
    assert "centre_mm" not in first
    assert told["reading"]["case_score"] == 0.7
    (joined,) = told["reading"]["joined"]
    assert joined["findings"] == [told["findings"][0]["tracking_uid"], told["findings"][1]["tracking_uid"]]
    assert [one["taken"] for one in told["series"]] == [True] * 4
    assert told["series"][0]["reason"] == "R CC: analysed"


def test_a_normal_exam_is_told_in_report_and_cad_report(order: Order, tmp_path: Path) -> None:
    report = analyse_study(exams.write_exam(tmp_path / "study", marks={}), order)
    assert report.result.outcome is Outcome.NO_FINDING
    assert [(one.kind, one.problems) for one in report.objects] == [("SR", ()), ("CADSR", ()), ("SC", ())]
    assert "All algorithms succeeded; without findings" in str(dcmread(order.folder / "cadsr.dcm"))


def test_the_exam_before_is_given_to_a_pipeline_that_compares(order: Order, tmp_path: Path) -> None:
    before = exams.write_exam(tmp_path / "before")
    for path in (tmp_path / "before").rglob("*.dcm"):
        edit(path, StudyDate="20240101", StudyInstanceUID="2.25.9")
    (before,) = read_folder(tmp_path / "before")
    study = exams.write_exam(tmp_path / "study", ("L CC", "L MLO"))
    alone = analyse_study(study, replace(order, prior=before))
    assert "prior views" not in notes(alone)
    package = read_package(toy_exam_pipeline(tmp_path / "comparing", prior=True))
    both = analyse_study(study, replace(order, package=package, prior=before))
    assert "prior views: R CC, L CC, R MLO, L MLO" in notes(both)
    assert len(both.inputs) == 6


# Bad input


def test_two_patients_in_one_study_make_no_object(order: Order, tmp_path: Path) -> None:
    exams.write_exam(tmp_path / "study")
    edit(next((tmp_path / "study").rglob("*.dcm")), PatientID="P2")
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert "more than one patient" in report.result.reason
    assert report.objects == ()


def test_a_missing_view_is_told_and_the_others_are_analysed(order: Order, tmp_path: Path) -> None:
    report = analyse_study(exams.write_exam(tmp_path / "study", ("L CC", "R CC", "R MLO")), order)
    assert len(report.result.findings) == 1
    assert "the exam lacks L MLO" in report.result.remarks
    assert not any(one.problems for one in report.objects)


def test_without_pixel_spacing_no_size_is_told_and_that_is_said(order: Order, tmp_path: Path) -> None:
    report = analyse_study(exams.write_exam(tmp_path / "study", spacing_mm=None), order)
    told = "L CC: its pixel spacing is not told, so sizes are not given in mm"
    assert told in report.result.remarks
    for name in ("sr", "cadsr"):
        assert told.encode() in (order.folder / f"{name}.dcm").read_bytes()
    assert "Long axis" not in str(dcmread(order.folder / "sr.dcm"))
    assert not any("long_axis_mm" in finding for finding in report.as_json()["findings"])
    assert "Long axis" not in str(dcmread(order.folder / "cadsr.dcm"))
    assert not any(one.problems for one in report.objects)


def test_scanned_film_of_eight_bits_is_analysed_and_that_is_said(order: Order, tmp_path: Path) -> None:
    for name in ("L CC", "L MLO"):
        film = (exams.breast(name, exams.MARKS[name]) // 16).astype(np.uint8)
        exams.write_view(tmp_path / "study", name, film, SOPClassUID=SecondaryCaptureImageStorage)
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert next(finding.on.centre_ji for finding in report.result.findings if finding.on) == (100, 60)
    assert "L CC: the image has 8 bits, as scanned film has" in report.result.remarks
    assert not any(one.problems for one in report.objects)


def test_both_breasts_in_one_image_are_left_with_the_reason(order: Order, tmp_path: Path) -> None:
    exams.write_exam(tmp_path / "study", ("L CC",), ImageLaterality="B")
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert report.result.reason == "both breasts are in one image"
    assert [one.kind for one in report.objects] == ["SR", "SC"]
    assert not any(one.problems for one in report.objects)


def test_an_implant_is_said_and_the_view_with_it_displaced_left(order: Order, tmp_path: Path) -> None:
    displaced = Dataset()
    displaced.CodeValue, displaced.CodingSchemeDesignator = "399209000", "SCT"
    displaced.CodeMeaning = "Implant displaced"
    exams.write_exam(tmp_path / "study", ("L CC", "L MLO"), BreastImplantPresent="YES")
    path = next((tmp_path / "study" / "LMLO").rglob("*.dcm"))
    data = dcmread(path)
    data.ViewCodeSequence[0].ViewModifierCodeSequence = [displaced]
    data.save_as(path)
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert "L CC: there is an implant" in report.result.remarks
    assert "a view with the implant displaced" in [one.reason for one in report.verdicts]


def test_what_a_pipeline_refuses_is_told_in_every_report(order: Order, tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "study", ("L CC",))
    code = order.package.folder / "pipeline.py"
    code.write_text(code.read_text().replace(".mean() < 0.02", ".mean() < 2"))
    other = order.package.folder.rename(tmp_path / "strict")
    (other / "manifest.yaml").write_text((other / "manifest.yaml").read_text().replace("name: dots", "name: strict"))
    report = analyse_study(study, replace(order, package=read_package(other)))
    assert report.result.reason == "an image shows no breast"
    assert [(one.kind, one.problems) for one in report.objects] == [("SR", ()), ("CADSR", ()), ("SC", ())]
    for one in report.objects:
        assert dciodvfy(one.path) == []
    assert "No algorithms succeeded" in str(dcmread(order.folder / "cadsr.dcm"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: setattr(data, "PixelData", data.PixelData[:-3000]), "L CC: the pixel data is cut short"),
        (lambda data: setattr(data, "PixelData", bytes(len(data.PixelData))), "L CC: the image is of one grey value"),
        (lambda data: setattr(data, "PhotometricInterpretation", "RGB"), "L CC: not a grey image"),
    ],
    ids=["cut short", "empty", "colour"],
)
def test_pixels_that_cannot_be_read_are_refused_by_view(
    spoil: Callable[[Dataset], None], reason: str, order: Order, tmp_path: Path
) -> None:
    exams.write_exam(tmp_path / "study", ("L CC", "R CC"))
    path = next((tmp_path / "study" / "LCC").rglob("*.dcm"))
    data = dcmread(path)
    spoil(data)
    data.save_as(path)
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert report.result.reason.startswith(reason)
    assert [one.kind for one in report.objects] == ["SR", "SC"]


def test_mammograms_that_name_no_view_and_do_not_show_it_are_told(order: Order, tmp_path: Path) -> None:
    exams.write_exam(tmp_path / "study", ("L CC",), ViewPosition=None, ViewCodeSequence=None, SeriesDescription=None)
    broken = next((tmp_path / "study").rglob("*.dcm"))
    data = dcmread(broken)
    data.PixelData = data.PixelData[:-3000]
    data.save_as(broken)
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert report.result.reason.startswith("the pixel data is cut short")
    refused = refuse_study(exams.study_in(tmp_path / "study"), order, "it crashed")
    assert refused.result.reason == "it crashed"


def test_a_pipeline_that_marks_beside_the_image_is_a_broken_one(order: Order, tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "study")
    code = order.package.folder / "pipeline.py"
    code.write_text(code.read_text().replace("Spot(view.name, centre,", "Spot(view.name, (900.0, 1.0),"))
    other = order.package.folder.rename(tmp_path / "beside")
    (other / "manifest.yaml").write_text((other / "manifest.yaml").read_text().replace("name: dots", "name: beside"))
    with pytest.raises(ValueError, match="lies on no place of a view"):
        analyse_study(study, replace(order, package=read_package(other)))


def test_an_exam_whose_analysis_broke_is_told(order: Order, tmp_path: Path) -> None:
    report = refuse_study(exams.write_exam(tmp_path / "study"), order, "the analysis was ended by signal 11")
    assert report.result.reason == "the analysis was ended by signal 11"
    assert [(one.kind, one.problems) for one in report.objects] == [("SR", ()), ("SC", ())]
