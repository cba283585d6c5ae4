"""Which mammograms are analysed: each reason against an image by a case that breaks only it; pairs and duplicates."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.selection import SEVERAL_PATIENTS, WITHDRAWN
from pacsai.selection.mg import FOR_PRESENTATION, FOR_PROCESSING, HANGING, Exam, mammograms
from pacsai.selection.mg_rules import reason_against
from pacsai.study import Study, mammogram
from pacsai.terms import Code
from tests.headers import ct_header, instance, series

PRESENTATION, PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1"
VIEWS = {"CC": "399162004", "MLO": "399368009", "ML": "399260004", "SPECIMEN": "127457009"}
MODIFIERS = {
    "399163009": "magnification",
    "399055006": "spot compression",
    "399209000": "implant displaced",
    "399197002": "rolled",
    "399011000": "axillary tail",
}


def mg(side: str = "L", view: str = "MLO", **changes: Any) -> Dataset:
    """Return the header of a mammogram for presentation; None takes an attribute away."""
    attributes = {
        "SOPClassUID": PRESENTATION,
        "SOPInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Modality": "MG",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "PresentationIntentType": FOR_PRESENTATION,
        "ImageLaterality": side,
        "ViewPosition": view,
        "ViewCodeSequence": [coded(VIEWS[view])] if view in VIEWS else None,
        "PatientOrientation": ["A", "FR"],
        "ImagerPixelSpacing": [0.1, 0.1],
        "PixelSpacing": None,
        "EstimatedRadiographicMagnificationFactor": "1.07",
        "AcquisitionDate": "20260102",
        "AcquisitionTime": "101010",
        "BitsStored": 12,
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "FrameOfReferenceUID": None,
        "SliceThickness": None,
        "ConvolutionKernel": None,
    }
    return ct_header(**(attributes | changes))


def coded(value: str, scheme: str = "SCT", *modifiers: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "a view"
    item.ViewModifierCodeSequence = [coded(modifier) for modifier in modifiers]
    return item


def linked(header: Dataset, **link: str) -> list[Dataset]:
    """Return a Source Image Sequence that names the image of a header."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    for keyword, value in link.items():
        setattr(item, keyword, value)
    return [item]


def raw(side: str = "L", view: str = "MLO", **changes: Any) -> Dataset:
    return mg(side, view, SOPClassUID=PROCESSING, PresentationIntentType=FOR_PROCESSING, **changes)


def study(*headers: Dataset) -> Study:
    return Study("1.2.3", "P1", "A1", tuple(series(header) for header in headers))


def names(exam: Exam) -> list[str]:
    return [f"{one.side} {one.view}" for one in exam.chosen]


def left(exam: Exam) -> dict[str, str]:
    return {image.sop_instance_uid: reason for image, reason in exam.left}


def test_four_views_come_in_hanging_order_whatever_the_order_of_arrival() -> None:
    headers = [mg(side, view) for side, view in HANGING]
    random.Random(1).shuffle(headers)
    exam = mammograms(study(*headers))
    assert names(exam) == ["R CC", "L CC", "R MLO", "L MLO"]
    assert (exam.left, exam.unnamed, exam.missing, exam.reason) == ((), (), (), "")
    assert all(one.analysed is one.shown and one.notes == () for one in exam.chosen)


def test_a_view_that_is_not_there_is_told() -> None:
    assert mammograms(study(mg("R", "CC"), mg("L", "CC"), mg("R", "MLO"))).missing == ("L MLO",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "tomosynthesis volume"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.5"}, "tomosynthesis projection"),
        ({"NumberOfFrames": 40}, "several frames"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"Manufacturer": MANUFACTURER, "ManufacturerModelName": MODEL_NAME}, "made by this node"),
        ({"Modality": "DX"}, "its modality is DX"),
        ({"Modality": None}, "its modality is not told"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "stored as"),
        ({"QualityControlImage": "YES"}, "quality control"),
        ({"SeriesDescription": "Daily QC flat field"}, "quality control"),
        ({"ViewCodeSequence": [coded(VIEWS["SPECIMEN"])], "ViewPosition": None}, "specimen"),
        ({"SpecimenDescriptionSequence": [Dataset()]}, "specimen"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_PLUS"]}, "biopsy"),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "SUBTRACTION"]}, "subtracted"),
        ({"EstimatedRadiographicMagnificationFactor": "1.8"}, "magnification"),
        ({"PartialView": "YES"}, "partial"),
        ({"ImageLaterality": "B"}, "both breasts"),
        ({"Laterality": "R"}, "different sides"),
        ({"ViewPosition": "CC"}, "different views"),
        ({"ViewPosition": "ML", "ViewCodeSequence": [coded(VIEWS["ML"])]}, "medial-lateral view"),
        ({"ViewPosition": "XCCL", "ViewCodeSequence": None}, "exaggerated laterally"),
    ],
)
def test_each_reason_against_an_image(changes: dict[str, Any], words: str) -> None:
    assert reason_against(mg()) == ""
    assert words in reason_against(mg(**changes))


@pytest.mark.parametrize("modifier", MODIFIERS)
def test_views_that_do_not_show_the_whole_breast_are_left(modifier: str) -> None:
    reason = reason_against(mg(ViewCodeSequence=[coded(VIEWS["MLO"], "SCT", modifier)]))
    assert MODIFIERS[modifier] in reason.replace("the implant displaced", "implant displaced")


def test_a_nipple_in_profile_is_no_reason_against_a_view() -> None:
    assert reason_against(mg(ViewCodeSequence=[coded(VIEWS["MLO"], "SCT", "442581004")])) == ""


def test_images_of_two_patients_are_not_analysed() -> None:
    exam = mammograms(study(mg(PatientID="P1"), mg(PatientID="P2")))
    assert exam.reason == SEVERAL_PATIENTS
    assert exam.chosen == ()
    assert [reason for _, reason in exam.left] == [SEVERAL_PATIENTS] * 2


def test_a_study_without_images_says_so() -> None:
    assert mammograms(study()).reason == "there is no image"


def test_where_all_is_left_the_reason_of_most_is_told() -> None:
    exam = mammograms(study(mg(PartialView="YES"), mg(PartialView="YES"), mg(NumberOfFrames=9)))
    assert exam.reason == "a partial view"


def test_a_rejected_image_is_left() -> None:
    rejected, other = mg("L", "CC"), mg("R", "CC")
    note, evidence, of_series = Dataset(), Dataset(), Dataset()
    note.SOPClassUID, note.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.59", generate_uid()
    note.SeriesInstanceUID, note.Modality = generate_uid(), "KO"
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator = "113001", "DCM"
    note.ConceptNameCodeSequence = [title]
    of_series.ReferencedSOPSequence = linked(rejected)
    evidence.ReferencedSeriesSequence = [of_series]
    note.CurrentRequestedProcedureEvidenceSequence = [evidence]
    exam = mammograms(study(rejected, other, note))
    assert names(exam) == ["R CC"]
    assert left(exam) == {rejected.SOPInstanceUID: WITHDRAWN}


# Processing and presentation


@pytest.mark.parametrize("prefer", [FOR_PRESENTATION, FOR_PROCESSING])
def test_a_linked_pair_is_one_view_analysed_on_one_and_drawn_on_the_other(prefer: str) -> None:
    unprocessed = raw(AcquisitionTime=None)
    processed = mg(AcquisitionTime="111111", SourceImageSequence=linked(unprocessed, SpatialLocationsPreserved="YES"))
    (one,) = mammograms(study(unprocessed, processed), prefer).chosen
    wanted = processed if prefer == FOR_PRESENTATION else unprocessed
    assert one.analysed.sop_instance_uid == wanted.SOPInstanceUID
    assert one.shown.sop_instance_uid == processed.SOPInstanceUID
    assert one.notes == ()


def test_a_pair_without_link_is_found_by_its_irradiation_event() -> None:
    event = generate_uid()
    unprocessed = raw(IrradiationEventUID=event, AcquisitionTime="101010")
    processed = mg(IrradiationEventUID=event, AcquisitionTime="101011")
    exam = mammograms(study(unprocessed, processed), FOR_PROCESSING)
    assert len(exam.chosen) == 1
    assert exam.left == ()


@pytest.mark.parametrize(
    "changes",
    [{"Rows": 300}, {"PatientOrientation": ["P", "FL"]}, {"preserved": "NO"}, {"preserved": "REORIENTED_ONLY"}],
)
def test_a_presentation_of_another_shape_is_not_drawn_on(changes: dict[str, Any]) -> None:
    unprocessed = raw()
    link = linked(unprocessed, SpatialLocationsPreserved=changes.pop("preserved", "YES"))
    processed = mg(SourceImageSequence=link, **changes)
    (one,) = mammograms(study(unprocessed, processed), FOR_PROCESSING).chosen
    assert one.shown is one.analysed
    assert "another matrix or orientation" in one.notes[0]


def test_a_raw_image_alone_is_analysed_and_drawn_on() -> None:
    unprocessed = raw()
    (one,) = mammograms(study(unprocessed)).chosen
    assert one.analysed is one.shown


# Duplicates


@pytest.mark.parametrize(
    "later",
    [
        {"AcquisitionTime": "101511"},
        {"AcquisitionDateTime": "20260102101511"},
        {"AcquisitionTime": None, "AcquisitionDate": None, "ContentDate": "20260103", "ContentTime": "090000"},
    ],
)
def test_the_last_acquired_of_two_exposures_wins(later: dict[str, Any]) -> None:
    first, last = mg(), mg(**later)
    for headers in ((first, last), (last, first)):
        exam = mammograms(study(*headers))
        assert [one.analysed.sop_instance_uid for one in exam.chosen] == [last.SOPInstanceUID]
        assert left(exam) == {first.SOPInstanceUID: "an earlier exposure of L MLO: the last acquired is analysed"}


def test_an_earlier_exposure_is_left_with_both_its_images() -> None:
    unprocessed = raw()
    processed = mg(SourceImageSequence=linked(unprocessed))
    again = mg(AcquisitionTime="102020")
    exam = mammograms(study(unprocessed, processed, again))
    assert [one.analysed.sop_instance_uid for one in exam.chosen] == [again.SOPInstanceUID]
    assert set(left(exam)) == {unprocessed.SOPInstanceUID, processed.SOPInstanceUID}


def test_a_synthetic_image_is_analysed_and_told() -> None:
    (one,) = mammograms(study(mg(ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]))).chosen
    assert "synthetic" in one.notes[0]


def test_an_acquired_image_goes_before_a_synthetic_one_even_if_that_is_later() -> None:
    synthetic = mg(ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"], AcquisitionTime="111111")
    acquired = mg()
    exam = mammograms(study(synthetic, acquired))
    assert [one.analysed.sop_instance_uid for one in exam.chosen] == [acquired.SOPInstanceUID]
    assert "synthetic image of L MLO" in left(exam)[synthetic.SOPInstanceUID]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"BreastImplantPresent": "YES"}, "implant"),
        ({"ImagerPixelSpacing": None}, "not given in mm"),
        ({"BurnedInAnnotation": "YES"}, "burned"),
        ({"LossyImageCompression": "01"}, "lossy"),
        ({"BitsStored": 8, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "8 bits"),
    ],
)
def test_what_a_reader_should_know_is_noted(changes: dict[str, Any], words: str) -> None:
    (one,) = mammograms(study(mg(**changes))).chosen
    assert words in one.notes[0]


# Side and view


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({}, "L"),
        ({"ImageLaterality": None, "Laterality": "R"}, "R"),
        ({"ImageLaterality": "U", "SeriesDescription": "RMLO raw"}, "R"),
        ({"ImageLaterality": "", "SeriesDescription": "L-CC"}, "L"),
        ({"ImageLaterality": "", "SeriesDescription": "L CC and R CC"}, ""),
        ({"ImageLaterality": None}, ""),
    ],
)
def test_the_side_is_read_where_a_modality_writes_it(changes: dict[str, Any], side: str) -> None:
    assert mammogram.side(mg(**changes)) == side


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({}, "medio-lateral oblique"),
        ({"ViewPosition": None}, "medio-lateral oblique"),
        ({"ViewCodeSequence": None}, "medio-lateral oblique"),
        ({"ViewCodeSequence": [coded("R-10226", "SRT")]}, "medio-lateral oblique"),
        ({"ViewCodeSequence": [coded("R-10242", "SNM3")], "ViewPosition": "CC"}, "cranio-caudal"),
        ({"ViewCodeSequence": None, "ViewPosition": None, "ProtocolName": "R_CC"}, "cranio-caudal"),
        ({"ViewCodeSequence": None, "ViewPosition": None}, None),
        ({"ViewCodeSequence": [coded("1", "99VENDOR")], "ViewPosition": "AP"}, None),
    ],
)
def test_the_view_is_read_where_a_modality_writes_it(changes: dict[str, Any], meaning: str | None) -> None:
    view = mammogram.view(mg(**changes))
    assert (view.meaning if view else None) == meaning


def test_what_no_header_names_is_left_to_the_pixels() -> None:
    nameless = mg(ImageLaterality=None)
    exam = mammograms(study(nameless))
    assert exam.chosen == ()
    assert [one.sop_instance_uid for one in exam.unnamed] == [nameless.SOPInstanceUID]
    assert exam.reason == ""


def test_modifiers_of_other_schemes_are_left_out() -> None:
    header = mg(ViewCodeSequence=[coded(VIEWS["MLO"], "SCT", "399055006", "nonsense")])
    assert mammogram.modifiers(header) == (Code("399055006", "SCT", "Spot Compression"),)


def test_a_real_mammogram_is_taken(shared_data: Path) -> None:
    header = dcmread(shared_data / "mg" / "dicom" / "gh133.dcm", stop_before_pixels=True)
    (one,) = mammograms(Study("1", "", "", (series(header),))).chosen
    assert (one.side, one.view, one.notes) == ("R", "MLO", ())
    assert one.shown.sop_instance_uid == instance(header).sop_instance_uid
