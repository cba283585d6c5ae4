"""A pipeline of sequences: from a study, and the one before it, to signed objects on the reference series."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from pacsai.child import Request, perform
from pacsai.comparison import latest_two, moment, study_date, why_not
from pacsai.finding import Outcome
from pacsai.flow import Order, analyse_study, refuse_study
from pacsai.gathering import gather
from pacsai.objects.common import Author
from pacsai.objects.known import known_findings
from pacsai.registry import read_package
from pacsai.report import Report
from pacsai.sequences import Sequences
from pacsai.study import Study
from pacsai.study.reading import read_folder, read_study
from tests.phantoms import axial_affine, edit, write_enhanced_ct, write_mr_series
from tests.toys import toy_sequences_pipeline

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEFORE = {"study": "before", "StudyDate": "20250101", "StudyTime": "120000"}


@pytest.fixture
def order(tmp_path: Path) -> Order:
    package = read_package(toy_sequences_pipeline(tmp_path / "pipelines"))
    return Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("SEG", "SR"),
        author=Author(title=package.manifest.title),
        folder=tmp_path / "out",
        now=NOW,
    )


def spotted(spots: int = 1) -> np.ndarray[Any, Any]:
    array = np.full((12, 32, 30), 100, np.int16)
    for n in range(spots):
        array[4:7, 8:12, 5 + 8 * n : 9 + 8 * n] = 1000
    return array


def brain(folder: Path, *names: str, spots: int = 1, **headers: Any) -> Study:
    """Write a study with the named sequences, FLAIR showing the spots, and return it."""
    for number, name in enumerate(names or ("FLAIR", "T1"), start=1):
        array = spotted(spots) if name == "FLAIR" else spotted(0) + np.int16(number)
        write_mr_series(folder, array, number=number, description=name, **headers)
    (study,) = read_folder(folder)
    return study


def reason(report: Report) -> str:
    assert report.result.outcome is Outcome.NOT_ANALYSED
    assert [one.kind for one in report.objects] in (["SR"], [])
    return report.result.reason


def test_findings_lie_on_the_reference_series(order: Order, tmp_path: Path) -> None:
    study = brain(tmp_path / "study", "T1", "FLAIR", "T2 tra", spots=2)
    report = analyse_study(study, order)
    assert report.result.outcome is Outcome.FINDINGS
    assert report.result.remarks[0] == "sequences: FLAIR, T1, T2"
    assert not any(written.problems for written in report.objects)
    flair = study.series[1]
    seg = dcmread(order.folder / "seg.dcm")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == flair.series_instance_uid
    told = report.as_json()["sequences"]
    assert [one["sequence"] for one in told] == ["FLAIR", "T1", "T2"]
    assert told[0] == {
        "sequence": "FLAIR",
        "series_instance_uid": flair.series_instance_uid,
        "description": "2 FLAIR",
        "study_instance_uid": study.study_instance_uid,
        "prior": False,
    }


def test_frames_of_reference_that_differ_are_told(order: Order, tmp_path: Path) -> None:
    remarks = analyse_study(brain(tmp_path / "study"), order).result.remarks
    assert any(remark.startswith("T1 has another frame of reference than FLAIR") for remark in remarks)


def test_every_series_that_was_used_makes_the_result_another(order: Order, tmp_path: Path) -> None:
    study = brain(tmp_path / "study", "FLAIR", "T1", "PD tra")
    first = analyse_study(study, order).result.id
    edit(study.series[2].instances[0].path, ImageComments="not used, so nothing changes")
    assert analyse_study(study, order).result.id == first
    edit(study.series[1].instances[0].path, ImageComments="used, so it is another result")
    assert analyse_study(study, order).result.id != first


def test_no_flair_is_not_analysed_with_the_reason(order: Order, tmp_path: Path) -> None:
    report = analyse_study(brain(tmp_path / "study", "T1", "T2"), order)
    assert reason(report).startswith("no FLAIR series: 1 T1 (T1)")
    assert report.as_json()["sequences"] == []
    assert refuse_study(brain(tmp_path / "study"), order, "it crashed").result.reason == "it crashed"


def test_a_real_t1_is_not_analysed_for_want_of_flair(order: Order, shared_data: Path) -> None:
    (study,) = read_folder(shared_data / "mr/t1-7t-normal")
    report = analyse_study(study, order)
    assert reason(report).startswith("no FLAIR series: 401 anat-T1w (T1)")
    assert [one.kind for one in report.objects] == ["SR"]


def test_a_missing_flair_slice_is_not_analysed_with_the_place(order: Order, tmp_path: Path) -> None:
    brain(tmp_path / "study")
    sorted((tmp_path / "study/001").iterdir())[5].unlink()
    (study,) = read_folder(tmp_path / "study")
    assert "1 slice(s) are missing between -32.00 and -28.00 mm" in reason(analyse_study(study, order))


def test_a_broken_optional_sequence_is_left_out_and_a_broken_reference_refused(order: Order, tmp_path: Path) -> None:
    study = brain(tmp_path / "study")

    def cut(number: int) -> Report:
        path = study.series[number].instances[3].path
        path.write_bytes(path.read_bytes()[:-200])
        return analyse_study(study, order)

    remarks = cut(1).result.remarks
    assert remarks[0] == "sequences: FLAIR"
    assert any(remark.startswith("T1 was left out: ") for remark in remarks)
    assert reason(cut(0))


def test_sequences_of_two_patients_make_no_object(order: Order, tmp_path: Path) -> None:
    study = brain(tmp_path / "study")
    edit(study.series[1].instances[0].path, PatientID="P2")
    (study,) = read_folder(tmp_path / "study")
    report = analyse_study(study, order)
    assert "more than one patient" in reason(report)
    assert report.objects == ()


def test_an_enhanced_multi_frame_image_is_read_as_its_slices_are(order: Order, tmp_path: Path) -> None:
    affine = axial_affine()
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", spotted(), affine, frames=list(range(12))[::-1])
    edit(
        path,
        SOPClassUID=EnhancedMRImageStorage,
        Modality="MR",
        ImageType=["ORIGINAL", "PRIMARY", "M", "NONE"],
        SeriesDescription="T2 FLAIR",
    )
    (study,) = read_study([path])
    images = gather(study, order.package.manifest, order.accepts)
    given = images.given
    assert isinstance(given, Sequences), images.refusal
    np.testing.assert_array_equal(given.volumes["FLAIR"].array, spotted())
    np.testing.assert_allclose(given.volumes["FLAIR"].affine, affine, atol=1e-6)


# The study before


def with_prior(order: Order, tmp_path: Path, **headers: Any) -> Report:
    """Return the report of a study with one before it, the earlier one's headers changed."""
    earlier = brain(tmp_path / "before", **{**BEFORE, **headers})
    return analyse_study(brain(tmp_path / "now"), replace(order, prior=earlier))


def test_the_study_before_is_given_with_its_date(order: Order, tmp_path: Path) -> None:
    report = with_prior(order, tmp_path)
    assert "prior of 2025-01-01: FLAIR, T1; known: 0" in report.result.remarks
    told = report.as_json()["sequences"]
    assert [(one["sequence"], one["prior"]) for one in told] == [
        ("FLAIR", False), ("T1", False), ("FLAIR", True), ("T1", True),
    ]  # fmt: skip
    assert len({one["study_instance_uid"] for one in told}) == 2


def test_the_study_before_makes_the_result_another(order: Order, tmp_path: Path) -> None:
    alone = analyse_study(brain(tmp_path / "now"), order)
    assert with_prior(order, tmp_path).result.id != alone.result.id
    assert with_prior(order, tmp_path, PatientID="P2").result.id == alone.result.id


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"PatientID": "P2"}, "the Patient ID differs"),
        ({"PatientID": None}, "there is no patient ID to know the patient by"),
        ({"PatientName": "Roe^Richard"}, "the name differs"),
        ({"StudyDate": "20270101"}, "it is not earlier than the current one"),
        ({"StudyDate": ""}, "nothing says which study is the earlier one (StudyDate)"),
        ({"Modality": "CT"}, "no FLAIR series: "),
        ({"ImageOrientationPatient": None}, "no FLAIR series: 1 FLAIR (FLAIR): ImageOrientationPatient is missing"),
    ],
)
def test_what_is_no_earlier_study_of_the_patient_is_told(
    order: Order, tmp_path: Path, headers: dict[str, Any], told: str
) -> None:
    report = with_prior(order, tmp_path, **headers)
    assert report.result.outcome is Outcome.FINDINGS
    (remark,) = (one for one in report.result.remarks if one.startswith("not compared"))
    assert remark.startswith(f"not compared with the earlier study: {told}")
    assert not any(one["prior"] for one in report.as_json()["sequences"])


@pytest.mark.parametrize(
    ("keyword", "ours", "theirs"),
    [("PatientBirthDate", "19700101", "19710101"), ("PatientSex", "F", "M"), ("IssuerOfPatientID", "A", "B")],
)
def test_another_patient_with_the_same_id_is_known_by_what_both_studies_say(
    tmp_path: Path, keyword: str, ours: str, theirs: str
) -> None:
    now = brain(tmp_path / "now", "FLAIR", **{keyword: ours})
    before = brain(tmp_path / "before", "FLAIR", **{**BEFORE, keyword: theirs})
    silent = brain(tmp_path / "silent", "FLAIR", **{**BEFORE, keyword: ""})
    assert why_not(now, before).endswith(" differs")
    assert not any(word in why_not(now, before) for word in (ours, theirs) if len(word) > 1)
    assert why_not(now, silent) == ""


def test_a_broken_study_before_does_not_stand_in_the_way(order: Order, tmp_path: Path) -> None:
    earlier = brain(tmp_path / "before", **BEFORE)
    path = earlier.series[0].instances[2].path
    path.write_bytes(path.read_bytes()[:-200])
    report = analyse_study(brain(tmp_path / "now"), replace(order, prior=earlier))
    assert report.result.outcome is Outcome.FINDINGS
    assert any(one.startswith("not compared with the earlier study: ") for one in report.result.remarks)


def test_findings_keep_the_tracking_uid_that_the_report_before_gave_them(order: Order, tmp_path: Path) -> None:
    earlier = brain(tmp_path / "before", **BEFORE)
    first = analyse_study(earlier, replace(order, folder=tmp_path / "before"))
    (earlier,) = read_folder(tmp_path / "before")
    second = analyse_study(brain(tmp_path / "now", spots=2), replace(order, prior=earlier))
    assert "known: 1" in " ".join(second.result.remarks)
    (before,) = (finding.tracking_uid for finding in first.result.findings)
    now = [finding.tracking_uid for finding in second.result.findings]
    assert now[0] == before
    assert now[1] != before


@pytest.mark.parametrize("kept", ["SEG", "no SEG"])
def test_known_findings_are_read_back(order: Order, tmp_path: Path, kept: str) -> None:
    study = brain(tmp_path / "study", spots=2)
    report = analyse_study(study, replace(order, folder=tmp_path / "study"))
    if kept == "no SEG":
        (tmp_path / "study/seg.dcm").unlink()
    (study,) = read_folder(tmp_path / "study")
    known, told_by = known_findings(study, "spots")
    assert len(told_by) == (2 if kept == "SEG" else 1)
    for one, finding in zip(known, report.result.findings, strict=True):
        assert (one.tracking_uid, one.label) == (finding.tracking_uid, finding.label)
        assert one.volume_mm3 == pytest.approx(3 * 4 * 4 * 2 * 0.8 * 0.7, abs=0.06)
        np.testing.assert_allclose(one.centre_mm, finding.centre_mm, atol=0.01 if kept == "SEG" else 2.1)
    assert known_findings(study, "others") == ((), ())


def test_a_report_of_another_maker_tells_nothing(order: Order, tmp_path: Path) -> None:
    analyse_study(brain(tmp_path / "study"), replace(order, folder=tmp_path / "study"))
    edit(tmp_path / "study/sr.dcm", Manufacturer="Others")
    (study,) = read_folder(tmp_path / "study")
    assert known_findings(study, "spots") == ((), ())


def test_the_child_is_told_where_the_study_before_lies(order: Order, tmp_path: Path) -> None:
    now, before = brain(tmp_path / "now"), brain(tmp_path / "before", **BEFORE)
    for name, study in (("now", now), ("before", before)):
        for number, one in enumerate(study.instances):
            one.path.rename(tmp_path / name / f"{number}.dcm")
    request = Request(
        study_instance_uid=now.study_instance_uid,
        instances=str(tmp_path / "now"),
        prior=str(tmp_path / "before"),
        pipeline=str(order.package.folder),
        results=("SR",),
        place=0,
        installation="TEST",
        folder=str(tmp_path / "out"),
        now=NOW.isoformat(),
    )
    assert asdict(request)["prior"]
    assert any("prior of 2025-01-01" in remark for remark in perform(request).result.remarks)
    nowhere = perform(replace(request, prior=str(tmp_path / "nowhere")))
    assert nowhere.result.outcome is Outcome.FINDINGS


def test_studies_are_ordered_by_date_and_time(tmp_path: Path) -> None:
    studies = [
        brain(tmp_path / day, "FLAIR", study=day, StudyDate=day, StudyTime=time)
        for day, time in (("20260102", ""), ("20260101", "235959.5"), ("20240101", "1200"))
    ]
    assert [moment(one) for one in studies] == ["20260102000000", "20260101235959", "20240101120000"]
    assert latest_two(studies) == (studies[0], studies[1])
    assert latest_two(studies, studies[1].study_instance_uid) == (studies[1], studies[2])
    assert latest_two(studies[:1]) == (studies[0], None)
    assert latest_two(studies, generate_uid()) is None
    assert study_date(studies[1]) == date(2026, 1, 1)
    undated = brain(tmp_path / "undated", "FLAIR", study="undated", StudyDate="")
    assert latest_two([studies[0], undated]) is None
    assert study_date(undated) is None
