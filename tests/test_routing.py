"""Routing: which pipelines a study is for, with the reason for each."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.routing import Route, route
from pacsai.study import Study
from tests.headers import ct_series, manifest, study


def routed(images: Study, **rules: Any) -> Route:
    """Return the route of one pipeline."""
    (one,) = route(images, [manifest(**rules)])
    return one


def test_headers_that_name_the_part_take_the_pipeline() -> None:
    one = routed(study(ct_series(StudyDescription="CT THORAX")))
    assert one == Route("chest", True, "CT images whose headers name CHEST")


def test_without_a_body_part_the_pixels_are_asked() -> None:
    assert routed(study(ct_series())) == Route(
        "chest", True, "CT images; the body part is to be checked from the pixels"
    )


@pytest.mark.parametrize("examined", ["HEAD", "ABDOMEN", None])
def test_body_part_examined_alone_never_excludes(examined: str | None) -> None:
    assert routed(study(ct_series(BodyPartExamined=examined))).taken


def test_words_for_another_part_exclude() -> None:
    one = routed(study(ct_series(StudyDescription="CT Abdomen/Becken", BodyPartExamined="ABDOMEN")))
    assert one == Route("chest", False, "the descriptions name ABDOMEN or PELVIS, and the pipeline asks for CHEST")


def test_one_chest_series_in_a_study_of_the_head_is_enough() -> None:
    head = ct_series(SeriesDescription="Schädel")
    chest = ct_series(SeriesDescription="Thorax", SeriesInstanceUID="1.2.3.2")
    assert routed(study(head, chest)).taken


@pytest.mark.parametrize(
    "changes",
    [
        {"Modality": "MR"},
        {"SOPClassUID": SegmentationStorage, "Modality": "SEG"},
        {"SOPClassUID": ComprehensiveSRStorage, "Modality": "CT"},
        {"Manufacturer": MANUFACTURER, "ManufacturerModelName": MODEL_NAME},
    ],
)
def test_a_study_without_source_images_is_not_taken(changes: dict[str, Any]) -> None:
    assert routed(study(ct_series(**changes))) == Route("chest", False, "the study has no CT images")


def test_a_study_without_series_is_not_taken() -> None:
    assert not routed(Study("", "", "", ())).taken


def test_a_pipeline_without_a_body_part_takes_every_study_of_its_modality() -> None:
    one = routed(study(ct_series(StudyDescription="CT Abdomen")), BodyPart=None)
    assert one == Route("chest", True, "the study has CT images")


def test_each_pipeline_gets_its_route_in_order() -> None:
    manifests = [manifest("brain", Modality="MR", BodyPart="HEAD"), manifest("chest")]
    assert [(one.pipeline, one.taken) for one in route(study(ct_series()), manifests)] == [
        ("brain", False),
        ("chest", True),
    ]
