"""The gate: good objects pass, and each thing done to one is caught under the name of its rule."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest
from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from pacsai import terms
from pacsai.finding import Result
from pacsai.objects import gsps, ko, sc, seg, sr
from pacsai.objects.conformance import RULES, Problem, check, judge
from pacsai.objects.conformance.templates import GROUPS, REPORT, SELECTION, Row
from pacsai.objects.source import ResultObject, Source
from pacsai.objects.write import encoded
from tests.objects import samples

KINDS = ("SEG", "SR", "GSPS", "SC", "KO")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def built(source: Source) -> dict[str, bytes]:
    """Return the files of a good result."""
    result = samples.two_nodules()
    segmentation = seg.build(result, source)
    report = sr.build(result, source, segmentation)
    made = (
        segmentation,
        report,
        gsps.build(result, source),
        sc.build(result, source),
        ko.build(result, source, [segmentation, report]),
    )
    return {kind: encoded(dataset) for kind, dataset in zip(KINDS, made, strict=True) if dataset is not None}


@pytest.fixture
def good(built: dict[str, bytes]) -> dict[str, ResultObject]:
    return {kind: ResultObject(kind, dcmread(BytesIO(octets))) for kind, octets in built.items()}


def problems(good: dict[str, ResultObject], kind: str, source: Source) -> list[Problem]:
    return list(judge(good[kind], list(good.values()), source))


def item(dataset: Dataset, *names: str) -> Dataset:
    """Return the content item that is reached through the meanings of concept names, the first of each."""
    for name in names:
        dataset = next(c for c in dataset.ContentSequence if c.ConceptNameCodeSequence[0].CodeMeaning == name)
    return dataset


def group(report: Dataset, template: str) -> Dataset:
    groups = item(report, "Imaging Measurements").ContentSequence
    found: Dataset = next(g for g in groups if g.ContentTemplateSequence[0].TemplateIdentifier == template)
    return found


def drop(parent: Dataset, name: str) -> None:
    parent.ContentSequence.remove(item(parent, name))


def test_the_objects_of_a_good_result_pass(good: dict[str, ResultObject], source: Source) -> None:
    assert set(good) == set(KINDS)
    assert check(list(good.values()), source) == ()


@pytest.mark.parametrize("result", [Result.of(()), Result.not_analysed("the series has one image")])
def test_a_result_without_findings_passes(result: Result, source: Source) -> None:
    signed = result.signed(samples.PROVENANCE)
    objects = [ResultObject("SR", sr.build(signed, source)), ResultObject("SC", sc.build(signed, source))]
    assert check(objects, source) == ()


# Attributes


def empty_label(seg: Dataset) -> None:
    seg.SegmentSequence[1].SegmentLabel = ""


def no_study_date(report: Dataset) -> None:
    del report.StudyDate


def other_class(report: Dataset) -> None:
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"


def no_conversion_type(capture: Dataset) -> None:
    del capture.ConversionType


def empty_graphics(state: Dataset) -> None:
    state.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicData = None


# Values


def long_description(report: Dataset) -> None:
    with config.disable_value_validation():
        report.SeriesDescription = "Research use only " * 5


def small_letters(state: Dataset) -> None:
    with config.disable_value_validation():
        state.ContentLabel = "nodules"


def wrong_uid(report: Dataset) -> None:
    with config.disable_value_validation():
        report.SeriesInstanceUID = "1.2.03.4"


def one_spacing(seg: Dataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = "0.7"


def group_length(report: Dataset) -> None:
    report.add(DataElement(0x00080000, "UL", 100))


def private_element(report: Dataset) -> None:
    report.add_new(0x00091001, "LO", "junk")


def wrong_vr(report: Dataset) -> None:
    report["SeriesDescription"] = DataElement(0x0008103E, "SH", "Research")


# Codes


def wrong_meaning(seg: Dataset) -> None:
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Texture"


def unknown_code(report: Dataset) -> None:
    item(group(report, "1411"), "Finding").ConceptCodeSequence[0].CodeValue = "999999"


def no_scheme(report: Dataset) -> None:
    del (
        item(group(report, "1411"), "Long axis")
        .MeasuredValueSequence[0]
        .MeasurementUnitsCodeSequence[0]
        .CodingSchemeDesignator
    )


# Templates


def no_tracking_uid(report: Dataset) -> None:
    drop(group(report, "1410"), "Tracking Unique Identifier")


def tracking_uid_last(report: Dataset) -> None:
    volumetric = group(report, "1411")
    tracking = item(volumetric, "Tracking Unique Identifier")
    volumetric.ContentSequence.remove(tracking)
    volumetric.ContentSequence.append(tracking)


def two_findings_in_one(report: Dataset) -> None:
    planar = group(report, "1410")
    planar.ContentSequence.append(item(planar, "Finding"))


def site_as_content(report: Dataset) -> None:
    item(group(report, "1411"), "Finding Site").RelationshipType = "CONTAINS"


def no_segment(report: Dataset) -> None:
    drop(group(report, "1411"), "Referenced Segment")


def no_source_of_segment(report: Dataset) -> None:
    volumetric = group(report, "1411")
    for name in ("Source Series for Segmentation", "Source image for segmentation"):
        if any(c.ConceptNameCodeSequence[0].CodeMeaning == name for c in volumetric.ContentSequence):
            drop(volumetric, name)


def outline_of_nothing(report: Dataset) -> None:
    del item(group(report, "1410"), "Image Region").ContentSequence


def no_planar_group(report: Dataset) -> None:
    item(report, "Imaging Measurements").ContentSequence.remove(group(report, "1410"))


def no_language(report: Dataset) -> None:
    drop(report, "Language of Content Item and Descendants")


def other_title(report: Dataset) -> None:
    report.ConceptNameCodeSequence[0].CodeValue = "126001"


def number_without_value(report: Dataset) -> None:
    item(group(report, "1411"), "Volume").MeasuredValueSequence = []


def rejection_note(selection: Dataset) -> None:
    title = selection.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodeMeaning = "113001", "Rejected for Quality Reasons"


def nothing_selected(selection: Dataset) -> None:
    selection.ContentSequence = [c for c in selection.ContentSequence if c.ValueType not in ("IMAGE", "COMPOSITE")]


# References


def foreign_image(report: Dataset) -> None:
    reference = item(group(report, "1410"), "Image Region", "Source").ReferencedSOPSequence[0]
    reference.ReferencedSOPInstanceUID = generate_uid()


def missing_segment(report: Dataset) -> None:
    item(group(report, "1411"), "Referenced Segment").ReferencedSOPSequence[0].ReferencedSegmentNumber = 7


def frame_of_a_single_image(state: Dataset) -> None:
    state.GraphicAnnotationSequence[0].ReferencedImageSequence[0].ReferencedFrameNumber = 2


def wrong_class_of_image(selection: Dataset) -> None:
    reference = selection.ContentSequence[-3].ReferencedSOPSequence[0]
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"


def no_evidence(report: Dataset) -> None:
    del report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]


def unlisted_image(state: Dataset) -> None:
    del state.ReferencedSeriesSequence[0].ReferencedImageSequence[0]


def other_tracking_uid(seg: Dataset) -> None:
    seg.SegmentSequence[0].TrackingUID = generate_uid()


# Geometry


def more_rows(seg: Dataset) -> None:
    seg.Rows += 1


def shifted_frame(seg: Dataset) -> None:
    plane = seg.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    plane.ImagePositionPatient[2] += 1.0


def other_spacing(seg: Dataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.7, 0.8]


def turned_plane(seg: Dataset) -> None:
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def other_frame_of_reference(seg: Dataset) -> None:
    seg.FrameOfReferenceUID = generate_uid()


def cut_pixels(seg: Dataset) -> None:
    seg.PixelData = seg.PixelData[:-2]


def mark_outside(state: Dataset) -> None:
    graphic = state.GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    graphic.GraphicData = [81.0, *graphic.GraphicData[1:]]


# Patient, study and notice


def other_patient(seg: Dataset) -> None:
    seg.PatientID = "P2"


def other_study(capture: Dataset) -> None:
    capture.StudyInstanceUID = generate_uid()


def made_by_another(report: Dataset) -> None:
    report.Manufacturer = "Somebody"


def no_notice_in_series(seg: Dataset) -> None:
    seg.SeriesDescription = "AI nodules"


def no_notice_on_image(state: Dataset) -> None:
    del state.GraphicAnnotationSequence[3].TextObjectSequence[-1]


def no_notice_in_report(report: Dataset) -> None:
    for comment in item(report, "Qualitative Evaluations").ContentSequence:
        if comment.ValueType == "TEXT":
            comment.TextValue = "Fit for everything."


def burned_in_denied(capture: Dataset) -> None:
    capture.BurnedInAnnotation = "NO"


MUTATIONS: list[tuple[str, Callable[[Dataset], None], str, str]] = [
    ("SEG", empty_label, "attribute", "SegmentSequence[2].SegmentLabel"),
    ("SR", no_study_date, "attribute", "StudyDate"),
    ("SR", other_class, "attribute", "SOPClassUID"),
    ("SC", no_conversion_type, "attribute", "ConversionType"),
    ("GSPS", empty_graphics, "attribute", "GraphicData"),
    ("SR", long_description, "value", "SeriesDescription"),
    ("GSPS", small_letters, "value", "ContentLabel"),
    ("SR", wrong_uid, "value", "SeriesInstanceUID"),
    ("SEG", one_spacing, "value", "PixelSpacing has 1 values"),
    ("SR", group_length, "value", "group length"),
    ("SR", private_element, "value", "not in the dictionary"),
    ("SR", wrong_vr, "value", "VR SH"),
    ("SEG", wrong_meaning, "code", "means Nodule, not Texture"),
    ("SR", unknown_code, "code", "no dictionary"),
    ("SR", no_scheme, "code", "coding scheme"),
    ("SR", no_tracking_uid, "template", "Tracking Unique Identifier is missing"),
    ("SR", tracking_uid_last, "template", "first UIDREF"),
    ("SR", two_findings_in_one, "template", "Finding stands 2 times"),
    ("SR", site_as_content, "template", "must be HAS CONCEPT MOD CODE"),
    ("SR", no_segment, "template", "Referenced Segment is missing"),
    ("SR", no_source_of_segment, "template", "neither a source image nor a source series"),
    ("SR", outline_of_nothing, "template", "Source is missing"),
    ("SR", no_planar_group, "template", "no TID 1410 group"),
    ("SR", no_language, "template", "Language"),
    ("SR", other_title, "template", "title"),
    ("SR", number_without_value, "template", "no single value"),
    ("KO", rejection_note, "template", "title"),
    ("KO", nothing_selected, "template", "nothing is selected"),
    ("SR", foreign_image, "reference", "neither analysed nor made"),
    ("SR", missing_segment, "reference", "segment 7"),
    ("GSPS", frame_of_a_single_image, "reference", "frame 2 of 1"),
    ("KO", wrong_class_of_image, "reference", "class"),
    ("SR", no_evidence, "reference", "evidence"),
    ("GSPS", unlisted_image, "reference", "ReferencedSeriesSequence"),
    ("SEG", other_tracking_uid, "reference", "tracking UID"),
    ("SEG", more_rows, "geometry", "Rows"),
    ("SEG", shifted_frame, "geometry", "frame 3 lies 1.00 mm"),
    ("SEG", other_spacing, "geometry", "PixelSpacing"),
    ("SEG", turned_plane, "geometry", "ImageOrientationPatient"),
    ("SEG", other_frame_of_reference, "geometry", "FrameOfReferenceUID"),
    ("SEG", cut_pixels, "geometry", "PixelData"),
    ("GSPS", mark_outside, "geometry", "outside the image"),
    ("SEG", other_patient, "patient", "PatientID"),
    ("SC", other_study, "patient", "StudyInstanceUID"),
    ("SR", made_by_another, "patient", "Manufacturer"),
    ("SEG", no_notice_in_series, "notice", "SeriesDescription"),
    ("GSPS", no_notice_on_image, "notice", "annotation 4"),
    ("SR", no_notice_in_report, "notice", "TEXT"),
    ("SC", burned_in_denied, "notice", "BurnedInAnnotation"),
]


@pytest.mark.parametrize(
    ("kind", "mutate", "rule", "words"),
    [pytest.param(*mutation, id=f"{mutation[0]}-{mutation[1].__name__}") for mutation in MUTATIONS],
)
def test_what_is_wrong_is_caught_by_name(
    good: dict[str, ResultObject],
    source: Source,
    kind: str,
    mutate: Callable[[Dataset], None],
    rule: str,
    words: str,
) -> None:
    mutate(good[kind].dataset)
    found = problems(good, kind, source)
    assert any(problem.rule == rule and words in problem.message for problem in found), found


def test_every_rule_is_broken_by_some_mutation() -> None:
    assert {rule for _, _, rule, _ in MUTATIONS} == set(RULES)


def test_an_object_without_its_siblings_points_into_the_dark(good: dict[str, ResultObject], source: Source) -> None:
    found = list(judge(good["SR"], [], source))
    assert {problem.rule for problem in found} == {"reference"}


def test_two_objects_may_not_share_a_uid(good: dict[str, ResultObject], source: Source) -> None:
    good["SC"].dataset.SOPInstanceUID = good["SEG"].dataset.SOPInstanceUID
    assert any("another object" in problem.message for problem in problems(good, "SC", source))


def test_sloppy_values_that_came_with_the_study_are_handed_on(
    good: dict[str, ResultObject], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = samples.ct_source(tmp_path_factory.mktemp("sloppy"))
    with config.disable_value_validation():
        for dataset in (*(i.header for i in source.instances), *(one.dataset for one in good.values())):
            dataset.StudyID = "a study number of far more than sixteen letters"
    assert check(list(good.values()), source) == ()


def test_references_that_came_with_the_study_are_handed_on(
    good: dict[str, ResultObject], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = samples.ct_source(tmp_path_factory.mktemp("referring"))
    for dataset in (*(i.header for i in source.instances), *(one.dataset for one in good.values())):
        study = Dataset()
        study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", "2.25.77"
        dataset.ReferencedStudySequence = [study]
    assert check(list(good.values()), source) == ()


def test_no_message_quotes_a_patient_s_data(good: dict[str, ResultObject], source: Source) -> None:
    with config.disable_value_validation():
        good["SEG"].dataset.PatientID = "Secret 4711 " * 8
        good["SEG"].dataset.PatientBirthDate = "born in 1950"
    found = problems(good, "SEG", source)
    assert found
    assert not any("4711" in problem.message or "1950" in problem.message for problem in found)


def test_every_concept_of_the_template_tables_is_a_known_code() -> None:
    def concepts(rows: tuple[Row, ...]) -> set[terms.Code]:
        return {row.concept for row in rows} | {code for row in rows for code in concepts(row.rows)}

    tables = (REPORT, SELECTION, *GROUPS.values())
    assert [code for rows in tables for code in concepts(rows) if not terms.known(code)] == []
