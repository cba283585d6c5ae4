"""The Mammography CAD SR: other programs take it, and read alone it says what the exam says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import config, dcmread
from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.objects.cad_sr import Exam, Kind, Run, Status, exam_image, mammography_cad_sr
from pacsai.objects.conformance import check
from pacsai.objects.source import ResultObject, Source
from pacsai.objects.write import encoded
from pacsai.terms import Code
from tests.conftest import needs
from tests.objects import mammograms, samples, tools
from tests.phantoms import instances


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return mammograms.four_views(tmp_path_factory.mktemp("mg"))


@pytest.fixture(scope="module")
def report(source: Source) -> Dataset:
    return written(mammograms.abnormal(source), source)


def written(exam: Exam, source: Source) -> Dataset:
    """Return the report of an exam as pydicom alone reads its file."""
    return dcmread(BytesIO(encoded(mammography_cad_sr(exam, mammograms.result(), source))))


def below(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from below(child)


def named(item: Dataset, name: Code) -> list[Dataset]:
    """Return the items anywhere below one that have this concept name."""
    return [
        one
        for one in below(item)
        if "ConceptNameCodeSequence" in one and one.ConceptNameCodeSequence[0].CodeValue == name.value
    ]


def said(item: Dataset, name: Code) -> list[str]:
    return [one.ConceptCodeSequence[0].CodeValue for one in named(item, name)]


def at(report: Dataset, identifier: list[int]) -> Dataset:
    """Return the item that a by-reference relationship leads to."""
    root, *steps = identifier
    assert root == 1
    item = report
    for step in steps:
        item = item.ContentSequence[step - 1]
    return item


def partly(source: Source, exam: Exam) -> Exam:
    failed = mammograms.runs(source, mammograms.DETECTIONS[1:2], Status.FAILED)
    return replace(exam, detections=(exam.detections[0], *failed))


def failed(source: Source, exam: Exam) -> Exam:
    return replace(
        exam,
        detections=mammograms.runs(source, mammograms.DETECTIONS, Status.FAILED),
        analyses=(Run(kind=terms.SPATIAL_COLLOCATION, status=Status.NOT_ATTEMPTED, images=()),),
        remarks=("The pixels could not be read.",),
    )


def outcomes(source: Source) -> dict[str, Exam]:
    normal, abnormal = mammograms.normal(source), mammograms.abnormal(source)
    return {
        "111241": normal,
        "111242": abnormal,
        "111243": partly(source, normal),
        "111244": partly(source, abnormal),
        "111245": failed(source, normal),
    }


OUTCOMES = ("111241", "111242", "111243", "111244", "111245")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_way_an_exam_can_end_is_told_and_passes_every_checker(
    outcome: str, source: Source, tmp_path: Path
) -> None:
    made = mammography_cad_sr(outcomes(source)[outcome], mammograms.result(), source)
    assert said(made, terms.PROCESSING_SUMMARY) == [outcome]
    assert check([ResultObject("CADSR", made)], source) == ()
    path = tools.saved(made, tmp_path / "cad.dcm")
    assert tools.dciodvfy(path) == []
    assert tools.dsrdump(path) == []


def test_the_ways_an_exam_can_end_are_five_different_objects(source: Source) -> None:
    trees = {outcome: str(written(exam, source).ContentSequence) for outcome, exam in outcomes(source).items()}
    assert len(set(trees.values())) == 5


@pytest.mark.parametrize(
    ("outcome", "detections", "analyses"),
    [
        ("111241", "111222", "111222"),
        ("111242", "111222", "111222"),
        ("111243", "111223", "111222"),
        ("111244", "111223", "111222"),
        ("111245", "111224", "111225"),
    ],
)
def test_what_was_tried_is_listed_by_how_it_ended(outcome: str, detections: str, analyses: str, source: Source) -> None:
    report = written(outcomes(source)[outcome], source)
    assert said(report, terms.SUMMARY_OF_DETECTIONS) == [detections]
    assert said(report, terms.SUMMARY_OF_ANALYSES) == [analyses]
    assert bool(named(report, terms.SUCCESSFUL_DETECTIONS)) == (detections in ("111222", "111223"))
    assert bool(named(report, terms.FAILED_DETECTIONS)) == (detections in ("111223", "111224"))
    assert not named(report, terms.FAILED_ANALYSES)


def test_dsrdump_prints_the_whole_tree(report: Dataset, tmp_path: Path) -> None:
    needs("dsrdump")
    path = tools.saved(report, tmp_path / "cad.dcm")
    done = subprocess.run(["dsrdump", "+Pl", str(path)], capture_output=True, timeout=60, check=True)
    page = done.stdout.decode("latin-1")
    assert page.startswith("Mammography CAD SR Document")
    items = sum(1 for _ in below(report)) + 1
    assert sum(line.lstrip().startswith("<") for line in page.splitlines()) == items


def test_it_says_whose_and_what_it_is(report: Dataset) -> None:
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.50"
    assert report.SOPClassUID.name == "Mammography CAD SR Storage"
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert (report.Modality, report.SeriesNumber) == ("SR", 9006)
    assert (report.PatientName, report.PatientID, report.AccessionNumber) == ("Müller^Änne", "P1", "A1")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "4000"
    text = named(report, terms.IMPRESSION_DESCRIPTION)[0]
    assert text.TextValue.startswith(f"{RESEARCH_USE_ONLY}.")
    assert "No prior exam." in text.TextValue
    assert "Left breast: heterogeneously dense (33 percent of the area)." in text.TextValue
    assert RESEARCH_USE_ONLY in report.SeriesDescription
    assert not samples.unknown_codes(report)


def test_the_same_exam_gives_the_same_bytes(source: Source) -> None:
    first, second = (
        encoded(mammography_cad_sr(mammograms.abnormal(source), mammograms.result(), source)) for _ in range(2)
    )
    assert first == second


def test_the_image_library_tells_each_view(report: Dataset, source: Source) -> None:
    (library,) = named(report, terms.IMAGE_LIBRARY)
    told = {}
    for entry in library.ContentSequence:
        reference = entry.ReferencedSOPSequence[0]
        side, view = said(entry, terms.IMAGE_LATERALITY)[0], said(entry, terms.IMAGE_VIEW)[0]
        assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"
        told[reference.ReferencedSOPInstanceUID] = (side, view)
    left, right = terms.LEFT_BREAST.value, terms.RIGHT_BREAST.value
    assert told == {
        mammograms.uid(source, "R CC"): (right, "399162004"),
        mammograms.uid(source, "L CC"): (left, "399162004"),
        mammograms.uid(source, "R MLO"): (right, "399368009"),
        mammograms.uid(source, "L MLO"): (left, "399368009"),
    }


def test_every_reference_leads_to_the_library_entry_of_the_right_image(report: Dataset, source: Source) -> None:
    marks = {mark.tracking_uid: mark for mark in mammograms.abnormal(source).marks}
    findings = [one for one in named(report, terms.SINGLE_IMAGE_FINDING) if named(one, terms.CENTER)]
    assert len(findings) == len(marks) == 8
    for finding in findings:
        (tracking,) = named(finding, terms.TRACKING_UID)
        graphics = [one for one in finding.ContentSequence if one.ValueType == "SCOORD"]
        assert graphics
        for graphic in graphics:
            (reference,) = graphic.ContentSequence
            assert reference.RelationshipType == "SELECTED FROM"
            assert "ValueType" not in reference
            entry = at(report, reference.ReferencedContentItemIdentifier)
            assert entry.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == marks[tracking.UID].image


def test_every_algorithm_refers_to_the_images_it_ran_on(report: Dataset, source: Source) -> None:
    everywhere = {image.sop_instance_uid for image in source.instances}
    performed = [*named(report, terms.DETECTION_PERFORMED), *named(report, terms.ANALYSIS_PERFORMED)]
    assert len(performed) == 5
    for run in performed:
        targets = [one.ReferencedContentItemIdentifier for one in run.ContentSequence if "ValueType" not in one]
        found = {at(report, target).ReferencedSOPSequence[0].ReferencedSOPInstanceUID for target in targets}
        assert found == everywhere
        assert named(run, terms.ALGORITHM_NAME)[0].TextValue.endswith("v1")
        assert named(run, terms.ALGORITHM_VERSION)[0].TextValue == "1.0.0"


def test_a_pixel_s_centre_is_half_a_pixel_from_its_corner(report: Dataset) -> None:
    places = {}
    for finding in named(report, terms.SINGLE_IMAGE_FINDING)[:8]:
        label = named(finding, terms.TRACKING_IDENTIFIER)[0].TextValue
        (centre,) = named(finding, terms.CENTER)
        assert centre.GraphicType == "POINT"
        places[label] = tuple(centre.GraphicData)
    assert places["Mass 1"] == (60.5, 100.5)
    assert places["Mass 2"] == (71.0, 120.75)
    assert places["Mass 8"] == (0.5, 0.5)


def test_an_outline_is_closed(report: Dataset) -> None:
    outlines = named(report, terms.OUTLINE)
    assert len(outlines) == 5
    for outline in outlines:
        assert outline.GraphicType == "POLYLINE"
        assert outline.GraphicData[:2] == outline.GraphicData[-2:]


def test_a_mass_is_described_in_bi_rads_terms(report: Dataset) -> None:
    finding = named(report, terms.SINGLE_IMAGE_FINDING)[0]
    assert finding.ConceptCodeSequence[0].CodeMeaning == "Mammography breast density"
    assert said(finding, terms.SHAPE) == [mammograms.OVAL.value]
    assert said(finding, terms.MARGIN) == [mammograms.INDISTINCT.value, mammograms.SPICULATED.value]
    assert said(finding, terms.LESION_DENSITY) == [mammograms.HIGH_DENSITY.value]
    (size,) = named(finding, terms.LONG_AXIS)
    assert size.MeasuredValueSequence[0].NumericValue == 11.3
    (probability,) = named(finding, terms.PROBABILITY_OF_CANCER)
    assert probability.MeasuredValueSequence[0].NumericValue == 73.4


def test_calcifications_are_described_in_bi_rads_terms(report: Dataset) -> None:
    finding = next(one for one in named(report, terms.SINGLE_IMAGE_FINDING) if named(one, terms.CALCIFICATION_TYPE))
    assert said(finding, terms.CALCIFICATION_TYPE) == [mammograms.PLEOMORPHIC.value]
    assert said(finding, terms.CALCIFICATION_DISTRIBUTION) == [mammograms.GROUPED.value]
    (count,) = named(finding, terms.NUMBER_OF_CALCIFICATIONS)
    assert str(count.MeasuredValueSequence[0].NumericValue) == "12"


def test_the_composition_of_each_breast_is_coded_where_there_are_findings(report: Dataset, source: Source) -> None:
    found = {}
    for impression in named(report, terms.INDIVIDUAL_IMPRESSION)[-2:]:
        (finding,) = named(impression, terms.SINGLE_IMAGE_FINDING)
        assert said(finding, terms.RENDERING_INTENT) == ["111151"]
        (percent,) = named(finding, terms.PERCENT_FIBROGLANDULAR)
        value = percent.MeasuredValueSequence[0].NumericValue
        found[said(impression, terms.LATERALITY)[0]] = (said(finding, terms.BREAST_COMPOSITION)[0], float(value))
    assert found == {
        terms.RIGHT_BREAST.value: (terms.SCATTERED_DENSITIES.value, 21.4),
        terms.LEFT_BREAST.value: (terms.HETEROGENEOUSLY_DENSE.value, 33.0),
    }


def test_an_assessment_is_a_suggestion(source: Source, tmp_path: Path) -> None:
    exam = replace(mammograms.abnormal(source), assessment=terms.BI_RADS_4)
    made = mammography_cad_sr(exam, mammograms.result(), source)
    assert said(made, terms.ASSESSMENT_CATEGORY) == ["397144001"]
    assert "for a radiologist to judge: 4 - Suspicious." in named(made, terms.IMPRESSION_DESCRIPTION)[0].TextValue
    assert check([ResultObject("CADSR", made)], source) == ()
    assert tools.dsrdump(tools.saved(made, tmp_path / "cad.dcm")) == []


def test_the_composition_alone_makes_no_finding(source: Source) -> None:
    exam = replace(mammograms.normal(source), compositions=mammograms.abnormal(source).compositions)
    made = mammography_cad_sr(exam, mammograms.result(), source)
    assert said(made, terms.PROCESSING_SUMMARY) == ["111241"]
    assert not named(made, terms.SINGLE_IMAGE_FINDING)
    assert said(made, terms.LATERALITY) == [terms.RIGHT_BREAST.value, terms.LEFT_BREAST.value]
    assert check([ResultObject("CADSR", made)], source) == ()


def test_composites_join_their_marks(report: Dataset) -> None:
    composites = named(report, terms.COMPOSITE_FEATURE)
    assert [one.ConceptCodeSequence[0].CodeValue for one in composites] == [
        terms.BREAST_MASS.value,
        terms.CALCIFICATION_CLUSTER.value,
        terms.ASYMMETRIC_TISSUE.value,
    ]
    assert [len(named(one, terms.SINGLE_IMAGE_FINDING)) for one in composites] == [2, 2, 2]
    assert [said(one, terms.COMPOSITE_TYPE)[0] for one in composites] == ["111154", "111154", "111155"]
    assert [said(one, terms.SCOPE_OF_FEATURE)[0] for one in composites] == ["111158"] * 3


def test_evidence_names_every_image_with_its_series(report: Dataset, source: Source) -> None:
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == source.study.study_instance_uid
    found = {
        (series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert found == {(i.header.SeriesInstanceUID, i.sop_instance_uid) for i in source.instances}


def test_an_earlier_cad_sr_is_named_as_predecessor(source: Source) -> None:
    earlier = Dataset()
    earlier.SOPClassUID, earlier.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.50", "2.25.5"
    earlier.StudyInstanceUID, earlier.SeriesInstanceUID = source.study.study_instance_uid, "2.25.6"
    other = Dataset()
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    made = written(mammograms.normal(source), replace(source, previous=(earlier, other)))
    (study,) = made.PredecessorDocumentsSequence
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.5"


def test_images_without_spacing_or_view_are_listed_with_what_they_say(tmp_path: Path) -> None:
    source = mammograms.four_views(
        tmp_path, ImagerPixelSpacing=None, ViewCodeSequence=None, ViewPosition=None, StudyDate="", PatientOrientation=""
    )
    exam = mammograms.normal(source)
    made = mammography_cad_sr(exam, mammograms.result(), source)
    assert check([ResultObject("CADSR", made)], source) == ()
    assert not named(made, terms.IMAGE_VIEW)
    assert not named(made, terms.HORIZONTAL_SPACING)
    assert "pixel spacing" in named(made, terms.IMPRESSION_DESCRIPTION)[0].TextValue


def test_a_view_in_snomed_rt_is_understood(source: Source) -> None:
    header = Dataset()
    header.update(source.instances[2].header)
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "R-10226", "SRT", "medio-lateral oblique"
    modifier = Dataset()
    modifier.CodeValue, modifier.CodingSchemeDesignator, modifier.CodeMeaning = "399209000", "SCT", "Implant Displaced"
    view.ViewModifierCodeSequence = [modifier]
    header.ViewCodeSequence = [view]
    entry = exam_image(header)
    assert entry.view == Code("399368009", "SCT", "medio-lateral oblique")
    assert entry.modifiers == (Code("399209000", "SCT", "Implant Displaced"),)


@pytest.mark.filterwarnings("ignore:The string")  # highdicom 0.28.2 warns of a patient name of one word
def test_a_real_mammogram_has_its_report(shared_data: Path, tmp_path: Path) -> None:
    source = mammograms.source_of(instances([shared_data / "mg" / "dicom" / "gh133.dcm"]))
    (image,) = (exam_image(instance.header) for instance in source.instances)
    assert image.view == Code("399368009", "SCT", "medio-lateral oblique")  # the file says SNM3, an old SNOMED RT
    place = {"image": image.sop_instance_uid, "outline": ((100, 2000), (180, 2000), (140, 2090))}
    mark = mammograms.mass(source, "R CC", (140.0, 2030.5), 1, **place)
    exam = replace(mammograms.normal(source), findings=(mark,))
    with config.disable_value_validation():
        made = mammography_cad_sr(exam, mammograms.result(), source)
        assert check([ResultObject("CADSR", made)], source) == ()
        path = tools.saved(made, tmp_path / "cad.dcm")
    handed_on = ("StudyID", "PatientName", "ReferringPhysicianName")  # 38 characters; names of one word
    messages = [*tools.dciodvfy(path), *tools.dsrdump(path)]
    assert [said for said in messages if not any(keyword in said for keyword in handed_on)] == []


REFUSED = {
    "no image": lambda _, exam: replace(exam, images=()),
    "stands twice": lambda _, exam: replace(exam, images=(*exam.images, exam.images[0])),
    "not among those of the source": lambda _, exam: replace(
        exam, images=(*exam.images, replace(exam.images[0], sop_instance_uid="1.2.3"))
    ),
    "not in the exam": lambda source, exam: replace(
        exam, findings=(mammograms.mass(source, "L CC", (5, 5), 1, image="1.2.3"),)
    ),
    "outside its image": lambda source, exam: replace(
        exam, findings=(mammograms.mass(source, "R CC", (189, 100), 1, outline=()),)
    ),
    "fewer than two marks": lambda source, exam: replace(
        exam,
        findings=(mammograms.composite(terms.BREAST_MASS, 1, mammograms.mass(source, "L CC", (50, 50), 1)),),
    ),
    "a probability of 1.5": lambda source, exam: replace(
        exam, findings=(mammograms.mass(source, "L CC", (50, 50), 1, probability=1.5),)
    ),
    "no tracking UID": lambda source, exam: replace(
        exam, findings=(mammograms.mass(source, "L CC", (50, 50), 1, tracking_uid=""),)
    ),
    "fewer than three points": lambda source, exam: replace(
        exam, findings=(mammograms.mass(source, "L CC", (50, 50), 1, outline=((1, 1), (2, 2))),)
    ),
    "no detection succeeded": lambda source, exam: replace(
        exam,
        findings=(mammograms.mass(source, "L CC", (50, 50), 1),),
        detections=mammograms.runs(source, mammograms.DETECTIONS, Status.FAILED),
    ),
    "names no image": lambda _, exam: replace(
        exam, detections=(Run(kind=terms.BREAST_DENSITY, status=Status.SUCCEEDED, images=()),)
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_an_exam_that_contradicts_itself_is_refused(words: str, source: Source) -> None:
    with pytest.raises(ValueError, match=words):
        mammography_cad_sr(REFUSED[words](source, mammograms.normal(source)), mammograms.result(), source)


def test_an_asymmetry_and_a_mass_of_one_image_are_densities() -> None:
    assert Kind.MASS.code == Kind.ASYMMETRY.code == terms.BREAST_DENSITY
