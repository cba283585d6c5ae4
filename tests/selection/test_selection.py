"""Series selection: each rule by a case that breaks only it, and what is taken of several usable series."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedCTImageStorage,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.selection import Selection, select
from pacsai.selection.ranking import Preference
from pacsai.study import Series, Study
from pacsai.study.reading import read_folder
from tests.headers import accepts, ct_header, ct_series, series, study
from tests.phantoms import axial_affine, distinct_voxels, write_ct_series, write_enhanced_ct


def verdict(selection: Selection, number: int = 0) -> str:
    """Return the reason of the `number`-th series, which must have been left."""
    assert not selection.verdicts[number].taken
    return selection.verdicts[number].reason


def left(**changes: Any) -> str:
    """Return why a chest CT with these changes is left."""
    return verdict(select(study(ct_series(**changes)), accepts()))


def test_a_chest_ct_is_taken_with_its_qualities_told() -> None:
    selection = select(study(ct_series(5, spacing_mm=1.25)), accepts())
    assert selection.taken is not None
    assert selection.verdicts[0].taken
    assert selection.verdicts[0].reason == "5 slices lie 1.25 mm apart, kernel STANDARD (soft)"
    assert selection.reason == ""


def test_instances_come_in_slice_order_whatever_their_numbers() -> None:
    headers = [ct_header(k, InstanceNumber=number) for k, number in enumerate((3, 1, 5, 2, 4))]
    random.Random(0).shuffle(headers)
    taken = select(study(series(*headers)), accepts()).taken
    assert taken is not None
    assert [one.header.ImagePositionPatient[2] for one in taken.instances] == [0, 1, 2, 3, 4]


# Rule 1: what is no image, and what this node made


@pytest.mark.parametrize(
    ("sop_class", "modality", "reason"),
    [
        (ComprehensiveSRStorage, "CT", "Comprehensive SR Storage: not an image"),
        (SegmentationStorage, "CT", "Segmentation Storage: not an image"),
        (SecondaryCaptureImageStorage, "CT", "Secondary Capture Image Storage: not an image"),
        (MRImageStorage, "CT", "MR Image Storage: not an image as the CT scanner acquires it"),
        (MRImageStorage, "MR", "modality MR, and the pipeline asks for CT"),
        (SegmentationStorage, "SEG", "modality SEG, and the pipeline asks for CT"),
        (SecondaryCaptureImageStorage, None, "modality not given, and the pipeline asks for CT"),
    ],
)
def test_other_objects_are_left(sop_class: str, modality: str | None, reason: str) -> None:
    assert left(SOPClassUID=sop_class, Modality=modality).startswith(reason)


def test_what_this_node_made_is_never_analysed() -> None:
    assert left(Manufacturer=MANUFACTURER, ManufacturerModelName=MODEL_NAME) == "made by this node"


def test_wrapped_research_images_are_analysed() -> None:
    wrapped = ct_series(
        Manufacturer="pacsai wrap", ImageType=["DERIVED", "PRIMARY", "AXIAL"], PatientName="PHANTOM^CHEST"
    )
    assert select(study(wrapped), accepts()).taken is not None


# Rules 2 and 3: localizers and what was computed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer (ImageType LOCALIZER)"),
        ({"SeriesDescription": "Topogram 0.6 T80f"}, "a localizer by its description"),
        ({"SeriesDescription": "SURVIEW"}, "a localizer by its description"),
        ({"SeriesDescription": "Smart Prep Series"}, "a bolus timing run by its description"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, r"a secondary image (ImageType DERIVED\SECONDARY)"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, "computed from other images (ImageType MPR)"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MIP"]}, "computed from other images (ImageType MIP)"),
        ({"SeriesDescription": "AX MIP 8mm"}, "a reformat, projection or report page by its description"),
        ({"SeriesDescription": "Dose Report"}, "a reformat, projection or report page by its description"),
        ({"SamplesPerPixel": 3}, "colour images"),
    ],
)
def test_localizers_and_computed_images_are_left(changes: dict[str, Any], reason: str) -> None:
    assert left(**changes) == reason


@pytest.mark.parametrize(
    "image_type", [["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], ["DERIVED", "PRIMARY", "AXIAL"], None]
)
def test_axial_images_as_vendors_write_them_are_taken(image_type: list[str] | None) -> None:
    assert select(study(ct_series(ImageType=image_type)), accepts()).taken is not None


# Rule 4: one series may hold several volumes


def test_a_series_with_two_orientations_is_split_and_the_axial_part_taken() -> None:
    scouts = [ct_header(k, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]) for k in range(2)]
    selection = select(study(series(*scouts, *(ct_header(k) for k in range(5)))), accepts())
    assert selection.taken is not None
    assert len(selection.taken.instances) == 5
    assert selection.verdicts[0].reason.endswith("; 2 more images of the series differ in ImageType")


def test_two_reconstructions_in_one_series_are_two_volumes() -> None:
    soft = [ct_header(k, ConvolutionKernel="STANDARD") for k in range(5)]
    sharp = [ct_header(k, ConvolutionKernel="LUNG") for k in range(5)]
    taken = select(study(series(*soft, *sharp)), accepts()).taken
    assert taken is not None
    assert {one.header.ConvolutionKernel for one in taken.instances} == {"STANDARD"}


def test_two_acquisitions_of_the_same_place_are_two_volumes() -> None:
    both = [ct_header(k, AcquisitionNumber=number) for number in (1, 2) for k in range(5)]
    taken = select(study(series(*both)), accepts()).taken
    assert taken is not None
    assert len({one.header.AcquisitionNumber for one in taken.instances}) == 1


def test_an_acquisition_number_for_each_slice_does_not_tear_a_volume_apart() -> None:
    taken = select(study(series(*(ct_header(k, AcquisitionNumber=k + 1) for k in range(5)))), accepts()).taken
    assert taken is not None
    assert len(taken.instances) == 5


def test_the_last_digits_of_an_orientation_do_not_split_a_series() -> None:
    jitter = [ct_header(k, ImageOrientationPatient=[1, 0, 1e-4 * (k % 2), 0, 1, 0]) for k in range(5)]
    taken = select(study(series(*jitter)), accepts()).taken
    assert taken is not None
    assert len(taken.instances) == 5


def test_a_slice_of_another_size_in_the_middle_is_told() -> None:
    headers = [ct_header(k, Rows=256 if k == 3 else 512) for k in range(7)]
    reason = verdict(select(study(series(*headers)), accepts()))
    assert reason == "1 slice(s) are missing between 2.00 and 4.00 mm; 1 more image of the series differs in Rows"


# Rules 5, 8, 9: geometry


def test_a_gap_is_left_with_the_place() -> None:
    headers = [ct_header(k) for k in (0, 1, 2, 4, 5, 6)]
    assert "missing between 2.00 and 4.00 mm" in verdict(select(study(series(*headers)), accepts()))


def test_no_frame_of_reference_is_left() -> None:
    assert left(FrameOfReferenceUID=None).startswith("FrameOfReferenceUID is missing")


def test_one_slice_is_no_volume() -> None:
    assert verdict(select(study(ct_series(1)), accepts(instances={"min": 1}))) == "one slice is no volume"


@pytest.mark.parametrize(
    ("orientation", "name"),
    [([1, 0, 0, 0, 0, -1], "coronal"), ([0, 1, 0, 0, 0, -1], "sagittal")],
)
def test_only_axial_ct_is_taken(orientation: list[float], name: str) -> None:
    assert left(ImageOrientationPatient=orientation) == f"{name} images, and axial ones are analysed"


def test_a_slightly_oblique_ct_is_axial() -> None:
    turn = math.radians(20)
    row, normal = (math.cos(turn), 0, math.sin(turn)), (-math.sin(turn), 0, math.cos(turn))
    headers = [
        ct_header(k, ImageOrientationPatient=[*row, 0, 1, 0], ImagePositionPatient=[k * part for part in normal])
        for k in range(5)
    ]
    assert select(study(series(*headers)), accepts()).taken is not None


def test_thick_slices_are_left() -> None:
    assert left(spacing_mm=5.0) == "slices lie 5 mm apart, and the pipeline asks for at most 3 mm"


def test_geometry_is_trusted_where_the_header_says_thin() -> None:
    reason = left(spacing_mm=10.0, SliceThickness=1.0)
    assert reason == "slices lie 10 mm apart (SliceThickness says 1 mm), and the pipeline asks for at most 3 mm"


def test_overlapping_slices_are_taken_and_told() -> None:
    selection = select(study(ct_series(spacing_mm=1.0, SliceThickness=2.0)), accepts())
    assert selection.verdicts[0].reason.startswith("5 slices lie 1 mm apart (SliceThickness says 2 mm)")


# Acceptance rules of the pipeline


def test_too_few_images() -> None:
    assert left(count=2) == "2 images, and the pipeline asks for at least 4"


def test_a_rule_can_be_relaxed_for_a_trial() -> None:
    assert select(study(ct_series(2)), accepts(instances={"min": 1})).taken is not None


@pytest.mark.parametrize(
    ("rule", "changes", "reason"),
    [
        ({"KVP": {"min": 100, "max": 140}}, {"KVP": 80}, "KVP is 80.0, and the pipeline asks for 100 to 140"),
        ({"KVP": {"min": 100}}, {}, "KVP is not given, and the pipeline asks for at least 100"),
        ({"PatientPosition": ["HFS", "FFS"]}, {"PatientPosition": "HFP"}, "asks for HFS or FFS"),
        ({"PatientAge": {"min": 50}}, {"PatientAge": "030Y"}, "PatientAge does not fit: the pipeline asks for"),
    ],
)
def test_any_attribute_can_be_asked_for(rule: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    assert reason in verdict(select(study(ct_series(**changes)), accepts(**rule)))


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ({"KVP": {"min": 100, "max": 140}}, {"KVP": 120}),
        ({"PatientPosition": ["hfs"]}, {"PatientPosition": "HFS"}),
        ({"PatientAge": {"max": 17}}, {"PatientAge": "010Y"}),
        ({"KVP": 120}, {"KVP": "120.0"}),
    ],
)
def test_what_keeps_the_rule_is_taken(rule: dict[str, Any], changes: dict[str, Any]) -> None:
    assert select(study(ct_series(**changes)), accepts(**rule)).taken is not None


def test_another_body_part_in_words_is_left() -> None:
    assert left(StudyDescription="CT Schädel nativ") == "the descriptions name HEAD, and the pipeline asks for CHEST"


@pytest.mark.parametrize(
    "changes",
    [
        {"BodyPartExamined": "HEAD"},
        {"BodyPartExamined": None},
        {"BodyPartExamined": "CHEST", "StudyDescription": "CT abdomen"},
        {"StudyDescription": "Head and chest"},
    ],
)
def test_a_body_part_in_doubt_is_left_to_the_pixels(changes: dict[str, Any]) -> None:
    assert select(study(ct_series(**changes)), accepts()).taken is not None


# Rules 14, 15, 18


def test_pixels_without_rescale_are_no_hounsfield_units() -> None:
    assert left(RescaleSlope=None).startswith("RescaleSlope missing")
    assert left(RescaleType="US") == "pixels in US, not in Hounsfield units (RescaleType)"


def test_burned_in_text_and_lossy_compression_are_flagged_not_refused() -> None:
    flagged = ct_series(BurnedInAnnotation="YES", LossyImageCompression="01")
    reason = select(study(flagged), accepts()).verdicts[0].reason
    assert "text is burned into the images" in reason
    assert "lossy compression" in reason


@pytest.mark.parametrize(
    "changes",
    [
        {"ProtocolName": "Daily_QA"},
        {"StudyDescription": "Water Phantom"},
        {"SeriesDescription": "Konstanzprüfung"},
        {"SeriesDescription": "Air Calibration"},
    ],
)
def test_quality_assurance_is_left(changes: dict[str, Any]) -> None:
    assert left(**changes) == "quality assurance or calibration by its description"


@pytest.mark.parametrize(
    "changes",
    [{"PatientSpeciesDescription": "Canis lupus familiaris"}, {"PatientBreedDescription": "Beagle"}],
)
def test_animals_are_left(changes: dict[str, Any]) -> None:
    assert left(**changes) == "the patient is not human"


def test_a_human_by_code_and_word_is_taken() -> None:
    human = Dataset()
    human.CodeValue, human.CodingSchemeDesignator, human.CodeMeaning = "337915000", "SCT", "homo sapiens"
    told = ct_series(PatientSpeciesCodeSequence=Sequence([human]), PatientSpeciesDescription="Homo sapiens")
    assert select(study(told), accepts()).taken is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientAge": "007Y"},
        {"PatientAge": "018M"},
        {"PatientBirthDate": "20100101", "StudyDate": "20260101"},
    ],
)
def test_children_are_left(changes: dict[str, Any]) -> None:
    assert left(**changes) == "the patient is a child, and the pipeline is made for adults"


# Studies that cannot be trusted, and withdrawn images


def test_images_of_two_patients_are_refused_as_a_whole() -> None:
    other = ct_series(SeriesInstanceUID="1.2.3.2", PatientID="P2")
    selection = select(study(ct_series(), other), accepts())
    assert selection.taken is None
    assert not selection.trustworthy
    assert {one.reason for one in selection.verdicts} == {"images of more than one patient carry this study's UID"}


def test_a_study_without_series_says_what_was_wrong() -> None:
    selection = select(Study("", "", "", (), issues=("a.dcm was left out: its data set is deflated",)), accepts())
    assert selection.reason == "a.dcm was left out: its data set is deflated"
    assert not selection.trustworthy


def rejection_note(images: Series, code: str = "113001") -> Series:
    """Return the series of a Key Object Selection that names all instances of `images`."""
    references = []
    for one in images.instances:
        reference = Dataset()
        reference.ReferencedSOPInstanceUID = one.sop_instance_uid
        references.append(reference)
    in_series, in_study, title = Dataset(), Dataset(), Dataset()
    in_series.ReferencedSOPSequence = Sequence(references)
    in_study.ReferencedSeriesSequence = Sequence([in_series])
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code, "DCM", "title"
    return series(
        ct_header(
            SOPClassUID=KeyObjectSelectionDocumentStorage,
            Modality="KO",
            SeriesInstanceUID=generate_uid(),
            Rows=None,
            ConceptNameCodeSequence=Sequence([title]),
            CurrentRequestedProcedureEvidenceSequence=Sequence([in_study]),
        )
    )


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
def test_a_rejection_note_withdraws_what_it_names(code: str) -> None:
    images = ct_series()
    selection = select(study(images, rejection_note(images, code)), accepts())
    assert selection.taken is None
    assert verdict(selection) == "withdrawn by a rejection note"


def test_a_key_object_of_interest_withdraws_nothing() -> None:
    images = ct_series()
    assert select(study(images, rejection_note(images, "113000")), accepts()).taken is not None


# What is taken of several


def two(first: dict[str, Any], second: dict[str, Any], preference: Preference | None = None) -> Selection:
    """Return the selection among two series with these changes; the second has number 2."""
    one = ct_series(**{"count": 40, **first})
    other = ct_series(**{"count": 40, "SeriesInstanceUID": "1.2.3.2", "SeriesNumber": 2, **second})
    return select(study(one, other), accepts(), preference)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ({"count": 20}, {}, "for covering more of the patient"),
        ({"spacing_mm": 2.5}, {"count": 100}, "for the distance of its slices"),
        ({"spacing_mm": 0.4, "count": 100}, {}, "for the distance of its slices"),
        ({"ConvolutionKernel": "LUNG"}, {"ConvolutionKernel": "STANDARD"}, "for its kernel"),
        ({"ConvolutionKernel": "NEW"}, {"ConvolutionKernel": ["Bl57d", "3"]}, "for its kernel"),
        ({"spacing_mm": 1.2}, {"spacing_mm": 1.0, "count": 48}, "for its thinner slices"),
        ({"SeriesNumber": 3}, {}, "for its lower series number"),
    ],
)
def test_the_better_series_is_taken_and_the_other_told_why(
    first: dict[str, Any], second: dict[str, Any], why: str
) -> None:
    selection = two(first, second)
    assert [one.taken for one in selection.verdicts] == [False, True]
    assert verdict(selection) == f"usable, but series 2 was preferred {why}"


def test_what_a_pipeline_prefers_can_be_set() -> None:
    lung, soft = {"ConvolutionKernel": "LUNG"}, {"ConvolutionKernel": "STANDARD"}
    assert two(lung, soft, Preference(kernels=("sharp", "soft"))).verdicts[0].taken
    contrast = {"ContrastBolusAgent": "IV"}
    assert two(contrast, {}, Preference(contrast=True)).verdicts[0].taken
    assert two(contrast, {}, Preference(contrast=False)).verdicts[1].taken


def test_the_choice_does_not_depend_on_the_order_of_arrival() -> None:
    same = [ct_series(SeriesInstanceUID=f"1.2.3.{number}") for number in range(4)]
    choices = set()
    for seed in range(6):
        random.Random(seed).shuffle(same)
        taken = select(study(*same), accepts()).taken
        assert taken is not None
        choices.add(taken.series.series_instance_uid)
    assert len(choices) == 1


def test_every_series_gets_a_verdict_and_no_choice_a_summary() -> None:
    scout = ct_series(1, SeriesInstanceUID="1.2.3.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    selection = select(study(scout, ct_series(2)), accepts())
    assert len(selection.verdicts) == 2
    assert selection.reason == (
        "no series can be analysed: 2 images, and the pipeline asks for at least 4; a localizer (ImageType LOCALIZER)"
    )


# Rule 11, and real files


def test_frames_of_an_enhanced_multi_frame_object_count_as_slices(tmp_path: Path) -> None:
    write_enhanced_ct(tmp_path / "in" / "one.dcm", distinct_voxels((6, 8, 8)), axial_affine())
    (images,) = read_folder(tmp_path / "in")
    images = Study(images.study_instance_uid, "", "", tuple(s for s in images.series if _enhanced(s)))
    selection = select(images, accepts())
    assert selection.taken is not None, selection.reason
    assert selection.verdicts[0].reason.startswith("6 slices lie 2 mm apart")


def _enhanced(one: Series) -> bool:
    return one.instances[0].sop_class_uid == EnhancedCTImageStorage


def test_files_of_a_series_are_read_and_selected(tmp_path: Path) -> None:
    write_ct_series(tmp_path, distinct_voxels((6, 8, 8)))
    (found,) = read_folder(tmp_path)
    taken = select(found, accepts()).taken
    assert taken is not None
    assert len(taken.instances) == 6


def test_the_real_chest_ct_is_taken(shared_data: Path) -> None:
    (found,) = read_folder(shared_data / "ct" / "c3n-00247")
    selection = select(found, accepts(instances={"min": 40}))
    assert selection.verdicts[0].reason == "99 slices lie 3 mm apart, kernel B70f (sharp)"


def test_no_conformance_file_breaks_selection(shared_data: Path) -> None:
    for found in read_folder(shared_data / "conformance"):
        selection = select(found, accepts(instances={"min": 1}))
        assert len(selection.verdicts) == len(found.series)
        assert all(one.reason for one in selection.verdicts)
        assert (selection.taken is None) == bool(selection.reason)
