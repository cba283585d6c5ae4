"""Study values: what counts as another patient, what as an image."""

from __future__ import annotations

import pytest
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

from tests.headers import ct_header, ct_series, series, study


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ({"PatientID": "A"}, {"PatientID": "B"}, True),
        ({"PatientID": "A "}, {"PatientID": "a"}, False),
        ({"PatientID": "A"}, {"PatientID": ""}, False),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "DOE^JANE^^"}, False),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "Doe^John"}, True),
        ({"PatientName": "Yamada^Tarou=山田^太郎"}, {"PatientName": "Yamada^Tarou"}, False),
        ({"PatientBirthDate": "19600101"}, {"PatientBirthDate": "19600102"}, True),
        ({"PatientBirthDate": "19600101"}, {"PatientBirthDate": None}, False),
    ],
)
def test_what_makes_two_patients(one: dict[str, str], other: dict[str, str], differ: bool) -> None:
    assert study(series(ct_header(0, **one), ct_header(1, **other))).several_patients is differ


@pytest.mark.parametrize(
    ("changes", "image"),
    [
        ({}, True),
        ({"SOPClassUID": SegmentationStorage, "Modality": "SEG"}, False),
        ({"SOPClassUID": ComprehensiveSRStorage, "Modality": "SR", "Rows": None}, False),
    ],
)
def test_what_is_an_image(changes: dict[str, str], image: bool) -> None:
    assert ct_series(1, **changes).is_image is image


def test_a_study_lists_all_its_instances() -> None:
    assert len(study(ct_series(2), ct_series(3, SeriesInstanceUID="1.2.3.2")).instances) == 5
