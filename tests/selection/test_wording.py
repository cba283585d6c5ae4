"""Words of descriptions, in the languages they are written in, and names of kernels."""

from __future__ import annotations

import pytest

from pacsai.selection.ranking import has_contrast, kernel_kind
from pacsai.selection.splitting import Part
from pacsai.selection.wording import body_parts, folded
from tests.headers import ct_series


def test_folding_takes_case_accents_and_signs_away() -> None:
    assert folded("  CT_Thórax: NATIV (Straße)") == "ct thorax nativ strasse"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("CT CHEST W IV CONTRAST", {"CHEST"}),
        ("Thorax nativ", {"CHEST"}),
        ("TÓRAX", {"CHEST"}),
        ("torace senza mdc", {"CHEST"}),
        ("scanner thoracique / poumons", {"CHEST"}),
        ("LungCARE 1.0", {"CHEST"}),
        ("Lunge Low Dose", {"CHEST"}),
        ("CT klatki piersiowej", {"CHEST"}),
        ("КТ органов грудной клетки", {"CHEST"}),
        ("胸部CT", {"CHEST"}),
        ("CAP with contrast", {"CHEST"}),
        ("CHESTABDPELVIS", {"CHEST", "PELVIS"}),
        ("Thorax-Abdomen-Becken", {"CHEST", "ABDOMEN", "PELVIS"}),
        ("Ganzkörper Trauma", {"CHEST"}),
        ("CT Schädel", {"HEAD"}),
        ("Routine Brain", {"HEAD"}),
        ("crâne sans injection", {"HEAD"}),
        ("Abdomen portal-venös", {"ABDOMEN"}),
        ("thoracic spine", {"SPINE"}),
        ("TSPINE", {"SPINE"}),
        ("BWS seitlich", {"SPINE"}),
        ("Hals/Thorax", {"NECK", "CHEST"}),
        ("Knie rechts", {"EXTREMITY"}),
        ("capture", set()),
        ("", set()),
    ],
)
def test_body_parts_in_words(text: str, parts: set[str]) -> None:
    assert body_parts(text) == parts


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("B70f", "sharp"),
        ("B30f", "soft"),
        ("Br40d 3", "soft"),
        ("Bl57d 3", "sharp"),
        ("I70f 2", "sharp"),
        ("STANDARD", "soft"),
        ("LUNG", "sharp"),
        ("BONEPLUS", "sharp"),
        ("FC51", "sharp"),
        ("FC08", "soft"),
        ("FC18", "soft"),
        ("B", "soft"),
        ("YA", "sharp"),
        ("L", "sharp"),
        ("", "unknown"),
        ("a new name", "unknown"),
    ],
)
def test_kernels(kernel: str, kind: str) -> None:
    assert kernel_kind(kernel) == kind


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"ContrastBolusAgent": "Iomeron 350"}, True),
        ({"ContrastBolusAgent": "NO"}, False),
        ({"StudyDescription": "CT CHEST W IV CONTRAST"}, True),
        ({"StudyDescription": "CT chest without contrast"}, False),
        ({"StudyDescription": "CT Thorax nativ"}, False),
        ({"SeriesDescription": "Thorax KM 1.0"}, True),
        ({}, False),
    ],
)
def test_contrast(changes: dict[str, str], given: bool) -> None:
    series = ct_series(1, **changes)
    assert has_contrast(Part(series, series.instances)) is given
