"""Writing: the files a result becomes, what is left out, and what is kept back."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from pacsai.dicom.part10 import IMPLEMENTATION_CLASS_UID
from pacsai.finding import Mask, Result
from pacsai.objects.source import Source
from pacsai.objects.write import Written, write
from pacsai.study.reading import read_study
from tests.objects import samples
from tests.objects.tools import dciodvfy, dsrdump

ALL = ("SEG", "SR", "GSPS", "SC", "KO")
NO_FINDING = Result.of(()).signed(samples.PROVENANCE)
NOT_ANALYSED = Result.not_analysed("the series has one image").signed(samples.PROVENANCE)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def written(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    objects = write(samples.two_nodules(), source, ALL, tmp_path_factory.mktemp("out"))
    return {one.kind: one for one in objects}


def kinds(objects: tuple[Written, ...]) -> list[str]:
    return [one.kind for one in objects]


def test_all_kinds_are_written_without_a_problem(written: dict[str, Written]) -> None:
    assert tuple(written) == ALL
    assert [one.problems for one in written.values()] == [()] * len(ALL)
    assert [one.path.name for one in written.values()] == ["seg.dcm", "sr.dcm", "gsps.dcm", "sc.dcm", "ko.dcm"]


@pytest.mark.parametrize("kind", ALL)
def test_files_are_part_10_in_explicit_little_endian(written: dict[str, Written], kind: str) -> None:
    dataset = dcmread(written[kind].path)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dataset.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert dataset.SOPInstanceUID == written[kind].sop_instance_uid == dataset.file_meta.MediaStorageSOPInstanceUID
    assert dataset.SOPClassUID == written[kind].sop_class_uid


@pytest.mark.parametrize("kind", ALL)
def test_dciodvfy_has_nothing_to_say(written: dict[str, Written], kind: str) -> None:
    assert dciodvfy(written[kind].path) == []


@pytest.mark.parametrize("kind", ["SR", "KO"])
def test_dsrdump_reads_the_documents(written: dict[str, Written], kind: str) -> None:
    assert dsrdump(written[kind].path) == []


def test_one_tracking_uid_leads_from_report_to_segment_to_graphic(written: dict[str, Written]) -> None:
    uids = {finding.tracking_uid for finding in samples.two_nodules().findings}
    content = hd.sr.srread(written["SR"].path).content
    assert isinstance(content, hd.sr.MeasurementReport)
    for groups in (content.get_volumetric_roi_measurement_groups(), content.get_planar_roi_measurement_groups()):
        assert {str(group.tracking_uid) for group in groups} == uids
    segmentation = hd.seg.segread(written["SEG"].path)
    assert {str(segment.TrackingUID) for segment in segmentation.SegmentSequence} == uids
    state = dcmread(written["GSPS"].path)
    graphics = [g for a in state.GraphicAnnotationSequence for g in a.GraphicObjectSequence]
    assert {str(graphic.TrackingUID) for graphic in graphics} == uids


def test_a_second_run_writes_the_same_bytes(written: dict[str, Written], source: Source, tmp_path: Path) -> None:
    again = write(samples.two_nodules(), source, ALL, tmp_path)
    assert [one.path.read_bytes() for one in again] == [one.path.read_bytes() for one in written.values()]


def test_only_what_was_asked_for_is_written(source: Source, tmp_path: Path) -> None:
    assert kinds(write(samples.two_nodules(), source, ("GSPS", "SEG"), tmp_path)) == ["SEG", "GSPS"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gsps.dcm", "seg.dcm"]


@pytest.mark.parametrize("result", [NO_FINDING, NOT_ANALYSED])
def test_without_findings_a_report_says_so_even_unasked(result: Result, source: Source, tmp_path: Path) -> None:
    (report,) = write(result, source, ("SEG", "GSPS", "KO"), tmp_path)
    assert (report.kind, report.problems) == ("SR", ())
    assert dciodvfy(report.path) == []


@pytest.mark.parametrize("result", [NO_FINDING, NOT_ANALYSED])
def test_without_findings_there_is_nothing_to_segment_draw_or_select(
    result: Result, source: Source, tmp_path: Path
) -> None:
    assert kinds(write(result, source, ALL, tmp_path)) == ["SR", "SC"]


def test_a_study_that_was_never_read_still_gets_its_report(source: Source, tmp_path: Path) -> None:
    unread = replace(source, volume=None)
    objects = write(NOT_ANALYSED, unread, ALL, tmp_path)
    assert [(one.kind, one.problems) for one in objects] == [("SR", ()), ("SC", ())]


def test_an_enhanced_image_gets_the_same_kinds(tmp_path: Path) -> None:
    slices = [(5 * k) % 12 for k in range(12)]
    objects = write(samples.two_nodules(), samples.enhanced_ct_source(tmp_path, slices), ALL, tmp_path / "out")
    assert [(one.kind, one.problems) for one in objects] == [(kind, ()) for kind in ALL]


def test_headers_that_cannot_be_read_do_not_stop_the_report(shared_data: Path, tmp_path: Path) -> None:
    (study,) = read_study([shared_data / "conformance/pydicom/test_files/badVR.dcm"])
    source = Source(study=study, instances=study.series[0].instances, volume=None, now=samples.NOW)
    assert [one.problems for one in write(NOT_ANALYSED, source, ("SR", "SC"), tmp_path)] == [(), ()]


def test_an_object_with_a_problem_is_kept_apart_and_told(source: Source, tmp_path: Path) -> None:
    unknown = replace(samples.nodule(1, (5, 30, 40)).kind, value="999999")
    finding = samples.nodule(1, (5, 30, 40), kind=unknown)
    objects = {one.kind: one for one in write(samples.result(finding), source, ("SEG", "GSPS"), tmp_path)}
    assert objects["SEG"].path == tmp_path / "refused" / "seg.dcm"
    assert any("code:" in problem for problem in objects["SEG"].problems)
    assert objects["SEG"].path.exists()
    assert objects["GSPS"].problems == ()


def test_the_report_does_not_refer_to_a_refused_segmentation(source: Source, tmp_path: Path) -> None:
    beyond = Mask(np.ones((2, 4, 4), dtype=bool), (11, 30, 40))
    finding = samples.nodule(1, (5, 30, 40))
    outside = samples.result(replace(finding, mask=beyond))
    segmentation, *_ = write(outside, source, ("SEG",), tmp_path)
    assert segmentation.path.name == "seg.txt"
    assert "beyond" in segmentation.path.read_text()
    assert segmentation.problems[0].startswith("not made: ")


def test_a_refused_segmentation_leaves_a_report_that_stands_alone(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = samples.ct_source(tmp_path_factory.mktemp("nowhere"))
    for instance in source.instances:
        del instance.header.FrameOfReferenceUID
    objects = {one.kind: one for one in write(samples.two_nodules(), source, ("SEG", "SR"), tmp_path)}
    assert objects["SEG"].problems
    report = dcmread(objects["SR"].path)
    assert objects["SR"].problems == ()
    assert "1.2.840.10008.5.1.4.1.1.66.4" not in str(report)


def test_a_patient_of_one_name_is_not_quoted_in_a_warning(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = samples.ct_source(tmp_path_factory.mktemp("one name"))
    for instance in source.instances:
        instance.header.PatientName = "Plato"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        objects = write(samples.two_nodules(), source, ALL, tmp_path)
    assert [one.problems for one in objects] == [()] * len(ALL)
    assert not [warning for warning in told if "Plato" in str(warning.message)]


def test_what_an_earlier_run_refused_is_taken_away(source: Source, tmp_path: Path) -> None:
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "seg.txt").write_text("old")
    write(samples.two_nodules(), source, ("SEG",), tmp_path)
    assert not list((tmp_path / "refused").iterdir())
    assert (tmp_path / "seg.dcm").exists()
