"""Rejection notes of this node's own: what they say, and that they can name nothing but results."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai.objects import gsps, rejection, sc, seg, sr
from pacsai.objects.conformance import judge
from pacsai.objects.rejection import Rejected
from pacsai.objects.source import ResultObject, Source
from pacsai.terms import OF_INTEREST, REJECTIONS, Code
from tests.objects import samples
from tests.objects.tools import dciodvfy, dsrdump

QUALITY = REJECTIONS["113001"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def results(source: Source) -> list[Rejected]:
    result = samples.two_nodules()
    segmentation = seg.build(result, source)
    made = {
        "SEG": segmentation,
        "SR": sr.build(result, source, segmentation),
        "GSPS": gsps.build(result, source),
        "SC": sc.build(result, source),
    }
    return [rejected(kind, one) for kind, one in made.items() if one is not None]


def rejected(kind: str, one: Dataset) -> Rejected:
    return Rejected(kind, one.SeriesInstanceUID, one.SOPClassUID, one.SOPInstanceUID)


def note_on(results: list[Rejected], source: Source, title: Code = QUALITY, because_of: str = "1.2.3") -> Dataset:
    return rejection.build(title, results, source, because_of=because_of)


@pytest.mark.parametrize("title", REJECTIONS)
def test_the_checkers_and_the_gate_have_nothing_to_say(
    source: Source, results: list[Rejected], title: str, tmp_path: Path
) -> None:
    path = tmp_path / "note.dcm"
    assert len(results) == 4
    written = rejection.write(REJECTIONS[title], results, source, path, because_of="1.2.3")
    assert written.problems == ()
    assert dciodvfy(path) == []
    assert dsrdump(path) == []
    (named,) = dcmread(path).ConceptNameCodeSequence
    assert (named.CodeValue, named.CodingSchemeDesignator) == (title, "DCM")


def test_it_names_each_result_in_content_and_evidence(source: Source, results: list[Rejected]) -> None:
    note = note_on(results, source)
    content = {
        (item.ValueType, item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    types = {"SEG": "IMAGE", "SC": "IMAGE", "SR": "COMPOSITE", "GSPS": "COMPOSITE"}
    assert content == {(types[one.kind], one.sop_instance_uid) for one in results}
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        (series.SeriesInstanceUID, one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert evidence == {(one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid) for one in results}


def test_it_is_of_the_patient_and_study_and_in_a_series_of_its_own(source: Source, results: list[Rejected]) -> None:
    note = note_on(results, source)
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert note[keyword].value == source.header[keyword].value
    assert note.SeriesInstanceUID not in {one.series_instance_uid for one in results}


def test_its_uids_follow_from_the_note_and_the_results(source: Source, results: list[Rejected]) -> None:
    def uids(note: Dataset) -> tuple[str, str]:
        return note.SOPInstanceUID, note.SeriesInstanceUID

    first = uids(note_on(results, source))
    assert uids(note_on(results[::-1], source)) == first
    others = (
        note_on(results[1:], source),
        note_on(results, source, because_of="1.2.4"),
        note_on(results, source, REJECTIONS["113037"]),
    )
    assert len({first, *(uids(other) for other in others)}) == 4


def test_the_gate_lets_no_image_be_rejected(source: Source, results: list[Rejected], tmp_path: Path) -> None:
    image = rejected("SC", source.header)
    note = note_on([*results, image], source)
    siblings = [ResultObject("SC", _stub(one)) for one in results]
    problems = [str(problem) for problem in judge(ResultObject("REJECTION", note), siblings, source)]
    assert any(f"{image.sop_instance_uid}, which is neither analysed nor made here" in problem for problem in problems)
    written = rejection.write(OF_INTEREST, results, source, tmp_path / "no.dcm", because_of="1.2.3")
    assert any("the title is not Rejected for Quality Reasons" in problem for problem in written.problems)


def _stub(one: Rejected) -> Dataset:
    stub = Dataset()
    stub.SOPClassUID, stub.SOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
    return stub
