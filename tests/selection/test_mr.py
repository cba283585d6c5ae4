"""Which MR sequence a header names: by words of many languages, by times, and open where they contradict."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from pacsai.selection import mr, mr_words
from pacsai.selection.mr import Naming, name
from tests.headers import mr_header

FLAIR_TIMES = {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500, "ScanningSequence": ["SE", "IR"]}
T1_TIMES = {"EchoTime": 12, "RepetitionTime": 600, "ScanningSequence": "SE"}
MPRAGE_TIMES = {"EchoTime": 2.9, "RepetitionTime": 2300, "InversionTime": 900, "ScanningSequence": ["GR", "IR"]}
T2_TIMES = {"EchoTime": 98, "RepetitionTime": 4500, "ScanningSequence": "SE"}
SILENT: dict[str, Any] = {}


def named(description: str | None = None, **changes: Any) -> Naming:
    return name(mr_header(SeriesDescription=description, **changes))


@pytest.mark.parametrize(
    ("times", "sequence"),
    [
        (FLAIR_TIMES, "FLAIR"),
        ({**FLAIR_TIMES, "EchoTime": 388, "RepetitionTime": 5000, "InversionTime": 1800}, "FLAIR"),  # 3-D SPACE
        ({**FLAIR_TIMES, "InversionTime": None}, "FLAIR"),
        (T1_TIMES, "T1"),
        (MPRAGE_TIMES, "T1"),
        ({"EchoTime": 9, "RepetitionTime": 2500, "InversionTime": 860, "ScanningSequence": ["SE", "IR"]}, "T1"),
        ({"EchoTime": 3.7, "RepetitionTime": 8.1, "ScanningSequence": "GR", "SequenceVariant": ["SP", "MP"]}, "T1"),
        (T2_TIMES, "T2"),
        ({"EchoTime": 408, "RepetitionTime": 3200, "ScanningSequence": "SE"}, "T2"),  # 3-D SPACE
    ],
)
def test_times_alone_name_a_sequence(times: dict[str, Any], sequence: str) -> None:
    found = named(**times)
    assert (found.name, found.options) == (sequence, ())
    assert found.reason.startswith("by times (EchoTime")


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        ({"EchoTime": 30, "RepetitionTime": 2800, "ScanningSequence": "SE"}, "proton density"),
        ({"EchoTime": 25, "RepetitionTime": 700, "ScanningSequence": "GR"}, "T2*"),
        ({"EchoTime": 90, "RepetitionTime": 6000, "ScanningSequence": ["SE", "EP"]}, "an echo-planar image"),
        ({**FLAIR_TIMES, "InversionTime": 180, "EchoTime": 60}, "short-tau inversion recovery"),
    ],
)
def test_times_of_other_sequences_are_told_whatever_the_words_say(times: dict[str, Any], kind: str) -> None:
    found = named("T2 tra", **times)
    assert found.name == ""
    assert found.reason.startswith(f"{kind} by its times")


@pytest.mark.parametrize(
    ("description", "sequence"),
    [
        ("t2_space_dark-fluid_sag_p2_iso", "FLAIR"),
        ("3D T2 FLAIR SAG", "FLAIR"),
        ("t2_spc_da-fl_sag_p2_iso", "FLAIR"),
        ("sub-01_ses-2_FLAIR", "FLAIR"),
        ("FLAIR cor", "FLAIR"),
        ("SAG CUBE T2FLAIR", "FLAIR"),
        ("Ax T1 FLAIR", "T1"),
        ("t1_mpr_ns_sag_p2_iso", "T1"),
        ("T1-gewichtet axial", "T1"),
        ("AX T1 pondéré SE", "T1"),
        ("SAG 3D BRAVO", "T1"),
        ("Т1 сагиттальная", "T1"),
        ("T1強調 Ax", "T1"),
        ("axt2", "T2"),
        ("T2w TSE tra", "T2"),
        ("potenciada en T2", "T2"),
        ("AX T1 +C", "T1C"),
        ("t1post", "T1C"),
        ("T1 tra nach KM", "T1C"),
        ("T1W_TSE_KM", "T1C"),
        ("T1 post Gd sag", "T1C"),
        ("SAG T1 apres injection", "T1C"),
        ("T1 axial con contraste", "T1C"),
        ("T1 tra mdc", "T1C"),
        ("T1 com contraste", "T1C"),
        ("T1 na contrast tra", "T1C"),
        ("T1 с контрастом", "T1C"),
        ("T1 增强", "T1C"),
        ("T1 ohne KM", "T1"),
        ("T1 tra nativ", "T1"),
        ("T1 sin contraste", "T1"),
        ("T1 sans injection", "T1"),
        ("T1 w/o contrast", "T1"),
        ("T1 without fat sat post", "T1C"),
    ],
)
def test_words_alone_name_a_sequence(description: str, sequence: str) -> None:
    assert named(description, **SILENT).name == sequence


@pytest.mark.parametrize(
    "description", ["PD tra", "T2 STIR cor", "AX T2* GRE", "DIR 3D", "3D CISS", "T2 FFE", "densité de protons", "PSIR"]
)
def test_words_name_other_sequences(description: str) -> None:
    found = named(description)
    assert (found.name, found.options) == ("", ())
    assert "by its description" in found.reason


def test_the_protocol_is_asked_where_the_description_names_nothing() -> None:
    assert named("AX BRAIN", ProtocolName="t2_tirm_tra_dark-fluid").name == "FLAIR"
    assert named("AX T1", ProtocolName="MS BRAIN FLAIR").name == "T1"


def test_two_echoes_under_one_description_are_told_apart_by_their_times() -> None:
    assert named("PD/T2 TSE", **T2_TIMES).name == "T2"
    assert named("PD/T2 TSE", **{**T2_TIMES, "EchoTime": 14}).reason.startswith("proton density")


def test_a_contrast_agent_makes_t1_t1c_and_nothing_else_another() -> None:
    assert named("T1 tra", ContrastBolusAgent="Gadovist").name == "T1C"
    assert named(ContrastBolusAgent="10 mL Dotarem", **MPRAGE_TIMES).name == "T1C"
    assert named("T1 tra", ContrastBolusAgent="NONE").name == "T1"
    assert named("FLAIR", ContrastBolusAgent="Gadovist").name == "FLAIR"


def test_contrast_that_is_said_both_ways_stays_open() -> None:
    found = named("T1 tra nativ", ContrastBolusAgent="Gadovist")
    assert found.name == ""
    assert "whether with contrast medium is open" in found.reason


@pytest.mark.parametrize(
    ("description", "times", "options"),
    [
        ("T2 tra", FLAIR_TIMES, ("FLAIR", "T2")),
        ("FLAIR", T2_TIMES, ("FLAIR", "T2")),
        ("T1 sag", T2_TIMES, ("T1", "T2")),
        (None, SILENT, ("FLAIR", "T1", "T2")),
        ("sag", {"EchoTime": 50, "RepetitionTime": 1500}, ("FLAIR", "T1", "T2")),
    ],
)
def test_contradiction_and_silence_are_left_to_the_pixels(
    description: str | None, times: dict[str, Any], options: tuple[str, ...]
) -> None:
    found = named(description, **times)
    assert (found.name, found.options) == ("", options)


def test_an_enhanced_header_is_read_from_its_functional_groups() -> None:
    def only(**attributes: Any) -> Dataset:
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        return item

    groups = only(
        MREchoSequence=[only(EffectiveEchoTime=120.0)],
        MRTimingAndRelatedParametersSequence=[only(RepetitionTime=8000.0)],
        MRModifierSequence=[only(InversionRecovery="YES", InversionTimes=[2400.0])],
    )
    header = mr_header(SharedFunctionalGroupsSequence=[groups], PerFrameFunctionalGroupsSequence=[Dataset()])
    assert name(header).name == "FLAIR"
    assert name(mr_header(AcquisitionContrast="FLUID_ATTENUATED")).name == "FLAIR"


def test_a_site_may_bring_its_own_words() -> None:
    own = mr_words.Words({**mr_words.SEQUENCES, "FLAIR": r"liqor dunkel"}, mr_words.CONTRAST, mr_words.WITHOUT, {})
    header = mr_header(SeriesDescription="Liqor-dunkel tra")
    assert name(header).name == ""
    assert mr.name(header, own).name == "FLAIR"
