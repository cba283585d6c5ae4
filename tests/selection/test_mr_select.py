"""Which series become a pipeline's sequences: every series with its reason, the best of several, never a guess."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from pacsai.pipeline import Condition
from pacsai.selection import Selection
from pacsai.selection.mr import Naming
from pacsai.selection.mr_select import select_sequences
from pacsai.selection.mr_words import WORDS, Words
from pacsai.study import Series
from tests.headers import mr_header, mr_series, series, study

ACCEPTS = {
    "Modality": Condition(values=("MR",)),
    "BodyPart": Condition(values=("HEAD",)),
    "instances": Condition(min=10),
}
SEQUENCES = {"FLAIR": "required", "T1": "optional", "T1C": "optional", "T2": "optional"}
FLAIR = mr_series(1, "FLAIR 3D sag", EchoTime=388, RepetitionTime=5000, InversionTime=1800, ScanningSequence="IR")


def select(*members: Series, sequences: dict[str, str] = SEQUENCES, seen: str = "") -> Selection:
    return select_sequences(
        study(*members), ACCEPTS, sequences, look=lambda _, __: Naming(seen, f"its pixels show {seen}")
    )


def taken(selection: Selection) -> dict[str, str]:
    return {name: str(one.series.header.SeriesNumber) for name, one in selection.sequences.items()}


def reason(selection: Selection, number: int = 1) -> str:
    """Return the reason of the `number`-th series, which must have been left."""
    assert not selection.verdicts[number].taken
    return selection.verdicts[number].reason


def beside_flair(description: str | None = "T1", **changes: Any) -> str:
    """Return why a series with these changes is left beside a good FLAIR."""
    return reason(select(FLAIR, mr_series(2, description, **changes)))


def test_a_usual_brain_study() -> None:
    selection = select(
        mr_series(1, "localizer", count=3),
        mr_series(2, "t1_mpr_sag", EchoTime=2.9, RepetitionTime=2300, InversionTime=900, ScanningSequence=["GR", "IR"]),
        mr_series(3, "t2_tse_tra", EchoTime=98, RepetitionTime=4500, spacing_mm=3.0),
        mr_series(4, "FLAIR tra", EchoTime=120, RepetitionTime=9000, InversionTime=2500, spacing_mm=5.0),
        mr_series(5, "ep2d_diff_b1000", EchoTime=90, RepetitionTime=5000, ScanningSequence="EP"),
        mr_series(6, "t1_mpr_sag KM", ContrastBolusAgent="Gadovist", EchoTime=2.9, RepetitionTime=2300),
        mr_series(7, "PD tra"),
    )
    assert taken(selection) == {"FLAIR": "4", "T1": "2", "T1C": "6", "T2": "3"}
    assert selection.taken is selection.sequences["FLAIR"]
    told = [verdict.reason for verdict in selection.verdicts]
    assert told[3].startswith("FLAIR, by words and times (EchoTime 120 ms, RepetitionTime 9000 ms")
    assert told[3].endswith("12 slices lie 5 mm apart")
    assert told[4] == "diffusion"
    assert told[6] == "proton density by its description"


def test_the_order_of_arrival_does_not_matter() -> None:
    members = [
        FLAIR,
        *(mr_series(n, "T1", count=36 // int(mm), spacing_mm=mm) for n, mm in ((2, 3.0), (3, 1.0), (4, 1.0))),
    ]
    for _ in range(3):
        random.Random(0).shuffle(members)
        assert taken(select(*members)) == {"FLAIR": "1", "T1": "3"}


# What is left out, and why


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "computed from other images (ImageType ADC"),
        ({"ImageType": ["DERIVED", "PRIMARY", "M", "SUB"]}, "computed from other images (ImageType SUB)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "computed from other images (ImageType P)"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, r"a secondary image (ImageType DERIVED\SECONDARY)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer (ImageType LOCALIZER)"),
        ({"description": "3-plane loc"}, "a localizer"),
        ({"description": "T1 MIP"}, "a map or a reformat by its description"),
        ({"description": "sub T1 post-pre"}, "a map or a reformat by its description"),
        ({"description": "ADC (10^-6)"}, "diffusion"),
        ({"DiffusionBValue": 1000.0}, "diffusion (DiffusionBValue)"),
        ({"description": "perfusion DSC"}, "perfusion"),
        ({"NumberOfTemporalPositions": 40}, "perfusion or another run over time (NumberOfTemporalPositions)"),
        ({"description": "SWI Images"}, "a susceptibility image"),
        ({"description": "TOF 3D multi-slab"}, "an angiography"),
        ({"AngioFlag": "Y"}, "an angiography (AngioFlag)"),
        ({"description": "gre_field_mapping"}, "a functional, spectroscopic or calibration run"),
        ({"count": 3}, "3 images, and the pipeline asks for at least 10"),
        ({"PatientAge": "007Y"}, "the patient is a child, and the pipeline is made for adults"),
        ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID is missing"),
    ],
)
def test_what_is_no_plain_image_is_left(changes: dict[str, Any], told: str) -> None:
    assert beside_flair(**changes).startswith(told)


@pytest.mark.parametrize("description", ["sub-01 T1", "T1 SE flow comp", "AX T1 ASSET", "t1_mpr_sag"])
def test_words_that_only_look_like_a_map_or_a_run_leave_nothing(description: str) -> None:
    assert taken(select(FLAIR, mr_series(2, description))) == {"FLAIR": "1", "T1": "2"}


def test_a_site_may_bring_its_own_words() -> None:
    own = Words(WORDS.sequences, WORDS.contrast, WORDS.without, {"a research series": r"\bstudy x\b"})
    selection = select_sequences(study(FLAIR, mr_series(2, "T1 Study-X")), ACCEPTS, SEQUENCES, words=own)
    assert reason(selection) == "a research series"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"description": "T2 TSE sag HWS"}, "the descriptions name SPINE, whatever BodyPartExamined says (BRAIN)"),
        ({"description": "T1 sag c-spine", "StudyDescription": "MR Brain"}, "the descriptions name SPINE"),
        ({"description": "t1_tse_sag", "StudyDescription": "MRT Wirbelsäule"}, "the descriptions name SPINE"),
        ({"description": "T1 tra", "ProtocolName": "rachis cervical"}, "the descriptions name SPINE"),
        ({"description": "T1 knee"}, "the descriptions name EXTREMITY"),
    ],
)
def test_a_spine_labelled_brain_is_left(changes: dict[str, Any], told: str) -> None:
    assert beside_flair(**changes, BodyPartExamined="BRAIN").startswith(told)


def test_a_series_of_the_brain_in_a_study_of_brain_and_spine_is_taken() -> None:
    both = {"StudyDescription": "MR Brain and cervical spine", "BodyPartExamined": "SPINE"}
    assert taken(select(FLAIR, mr_series(2, "T1 sag brain", **both), mr_series(3, "T1C", **both))) == {
        "FLAIR": "1",
        "T1": "2",
        "T1C": "3",
    }


def test_a_spine_study_labelled_brain_is_not_analysed() -> None:
    labels = {"BodyPartExamined": "BRAIN", "StudyDescription": "MRI lumbar spine"}
    selection = select(mr_series(1, "T2 FLAIR sag", **labels))
    assert selection.taken is None
    assert "the descriptions name SPINE" in selection.reason


def test_one_slice_missing_refuses_the_series_with_the_place() -> None:
    headers = [mr_header(k, SeriesInstanceUID="1.2.3.2", SeriesDescription="T1") for k in range(14) if k != 6]
    selection = select(FLAIR, series(*headers))
    assert taken(selection) == {"FLAIR": "1"}
    assert reason(selection) == "1 slice(s) are missing between 5.00 and 7.00 mm"


# Without the reference


def test_without_flair_nothing_is_analysed() -> None:
    selection = select(mr_series(1, "T1"), mr_series(2, "T2 tra"))
    assert (selection.taken, dict(selection.sequences)) == (None, {})
    assert selection.reason == (
        "no FLAIR series: 1 T1 (T1): T1, and without FLAIR nothing is analysed; "
        "2 T2 tra (T2): T2, and without FLAIR nothing is analysed"
    )


def test_a_flair_that_cannot_be_used_is_the_reason() -> None:
    headers = [mr_header(k, SeriesDescription="FLAIR") for k in range(14) if k != 6]
    selection = select(series(*headers), mr_series(2, "T1"))
    assert selection.reason == "no FLAIR series: 1 FLAIR (FLAIR): 1 slice(s) are missing between 5.00 and 7.00 mm"


def test_images_of_two_patients_are_refused() -> None:
    selection = select(FLAIR, mr_series(2, "T1", PatientID="P2"))
    assert selection.taken is None
    assert not selection.trustworthy
    assert selection.reason == "images of more than one patient carry this study's UID"


# Of several candidates


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({"count": 60}, {"spacing_mm": 5.0}, "for its shorter voxels"),
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "for being acquired, not reformatted"),
        ({}, {"ContrastBolusAgent": "Gadovist"}, "for being without contrast medium"),
        ({}, {}, "for its lower series number"),
    ],
)
def test_the_better_flair_is_taken(better: dict[str, Any], worse: dict[str, Any], why: str) -> None:
    selection = select(mr_series(3, "FLAIR a", **better), mr_series(4, "FLAIR b", **worse))
    assert taken(selection) == {"FLAIR": "3"}
    assert reason(selection, 1) == f"FLAIR, but series 3 FLAIR a was preferred {why}"


def test_finer_voxels_go_before_series_numbers_and_the_whole_head_before_both() -> None:
    fine = {"PixelSpacing": [0.9, 0.9]}
    selection = select(mr_series(3, "FLAIR a"), mr_series(4, "FLAIR b", **fine))
    assert reason(selection, 0) == "FLAIR, but series 4 FLAIR b was preferred for its smaller voxels"
    selection = select(mr_series(3, "FLAIR a", **fine), mr_series(4, "FLAIR b", spacing_mm=5.0))
    assert reason(selection, 0) == "FLAIR, but series 4 FLAIR b was preferred for covering more of the patient"


def test_a_reformat_is_taken_where_the_acquisition_is_not_there() -> None:
    assert taken(select(mr_series(3, "FLAIR tra MPR", ImageType=["DERIVED", "SECONDARY", "MPR"]))) == {"FLAIR": "3"}


def test_a_thick_2d_flair_stands_beside_a_3d_t1() -> None:
    selection = select(mr_series(1, "FLAIR 2D tra", spacing_mm=5.0), mr_series(2, "T1 3D"))
    assert taken(selection) == {"FLAIR": "1", "T1": "2"}


def test_another_frame_of_reference_is_told() -> None:
    selection = select(FLAIR, mr_series(2, "T1", FrameOfReferenceUID=generate_uid()), mr_series(3, "T2"))
    assert selection.remarks == (
        "T1 has another frame of reference than FLAIR: nothing but registration says how they lie",
    )


def test_a_sequence_that_the_pipeline_does_not_read_is_told() -> None:
    selection = select(FLAIR, mr_series(2, "T2 tra"), sequences={"FLAIR": "required"})
    assert reason(selection) == "T2, which the pipeline does not read"


def test_two_echoes_of_one_series_become_two_parts() -> None:
    echoes = [
        mr_header(k, SeriesInstanceUID="1.2.3.2", SeriesDescription="PD/T2", EchoTime=te, RepetitionTime=3000)
        for te in (15, 100)
        for k in range(12)
    ]
    selection = select(FLAIR, series(*echoes))
    assert set(selection.sequences) == {"FLAIR", "T2"}
    assert {one.header.EchoTime for one in selection.sequences["T2"].instances} == {100}


# Where headers are silent


def test_the_pixels_are_asked_where_headers_are_silent() -> None:
    selection = select(mr_series(1, "tra"), seen="FLAIR")
    assert taken(selection) == {"FLAIR": "1"}
    assert (
        "neither its description nor its times name a sequence; its pixels show FLAIR" in selection.verdicts[0].reason
    )


def test_what_the_pixels_do_not_tell_is_other() -> None:
    selection = select(FLAIR, mr_series(2, "T2 tra", EchoTime=12, RepetitionTime=600))
    assert reason(selection).startswith("the description says T2, its times T1 (EchoTime 12 ms")


def test_contrast_medium_is_looked_for_where_the_pixels_show_t1() -> None:
    assert taken(select(FLAIR, mr_series(2, "sag", ContrastBolusAgent="Gadovist"), seen="T1")) == {
        "FLAIR": "1",
        "T1C": "2",
    }


def test_an_enhanced_image_that_has_no_grid_is_left_with_the_reason() -> None:
    enhanced = mr_header(SOPClassUID=EnhancedMRImageStorage, SeriesInstanceUID="1.2.3.2", NumberOfFrames=20)
    enhanced.SeriesDescription = "T1"
    assert "functional group(s) to say where they lie" in reason(select(FLAIR, series(enhanced)))
