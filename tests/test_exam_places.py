"""A mark at a known pixel lands on that pixel of that image, in every object, however the image is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.flow import Order, analyse_study
from pacsai.objects.common import Author
from pacsai.registry import read_package
from pacsai.render import render
from pacsai.report import Report
from tests import exams
from tests.objects.test_gsps import marked_pixels
from tests.objects.tools import dciodvfy
from tests.toys import toy_exam_pipeline

MASS, CLUSTER = (110, 62, 5), (160, 75, 1)
"""Row, column and half the side, as the breast is before it is flipped or cropped."""
STORED = ("as usual", "across", "down", "across and down", "cropped")


def stored(name: str, how: str) -> tuple[NDArray[np.uint16], list[exams.Dot]]:
    """Return a view as it is stored, and where its marks then are."""
    array, dots = exams.breast(name, (MASS, CLUSTER)), [MASS, CLUSTER]
    if how == "cropped":
        return np.ascontiguousarray(array[25:215, 10:]), [(row - 25, column - 10, half) for row, column, half in dots]
    rows, columns = array.shape
    if "across" in how:
        array, dots = array[:, ::-1], [(row, columns - 1 - column, half) for row, column, half in dots]
    if "down" in how:
        array, dots = array[::-1], [(rows - 1 - row, column, half) for row, column, half in dots]
    return np.ascontiguousarray(array), dots


def order_of(folder: Path, prefers: str = "FOR PRESENTATION") -> Order:
    package = read_package(toy_exam_pipeline(folder / "pipelines"))
    package = replace(package, manifest=package.manifest.model_copy(update={"prefers": prefers}))
    return Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("CADSR", "SR", "GSPS"),
        author=Author(title="Dots"),
        folder=folder / "out",
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )


def below(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from below(child)


def graphics(report: Dataset, name: terms.Code) -> list[NDArray[np.float64]]:
    """Return the SCOORDs of a concept name as (n, 2): column, row."""
    return [
        np.reshape(np.asarray(item.GraphicData, dtype=float), (-1, 2))
        for item in below(report)
        if item.get("ValueType") == "SCOORD" and item.ConceptNameCodeSequence[0].CodeValue == name.value
    ]


def box(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def wanted(dot: exams.Dot) -> tuple[float, float, float, float]:
    """Return the pixels of a mark in the count of graphics: 0 is the corner of the first pixel."""
    row, column, half = dot
    return column - half, row - half, column + half + 1, row + half + 1


def check(report: Report, folder: Path, image: str, dots: list[exams.Dot]) -> None:
    """Assert that the mass and the cluster of one view are where they are, in JSON and in each kind of object."""
    mass, cluster = dots
    told = {one["kind"]: one for one in report.as_json()["findings"]}
    for kind, (row, column, _) in ((terms.BREAST_MASS, mass), (terms.CALCIFICATION_CLUSTER, cluster)):
        one = told[kind.meaning]
        assert (one["sop_instance_uid"], one["x"], one["y"]) == (image, column, row)
    cad, sr, state = (dcmread(folder / f"{name}.dcm") for name in ("cadsr", "sr", "gsps"))
    assert box(graphics(cad, terms.OUTLINE)[0]) == wanted(mass)
    centres = [tuple(point[0]) for point in graphics(cad, terms.CENTER)]
    assert set(centres) == {(column + 0.5, row + 0.5) for row, column, _ in dots}
    point, outline = sorted(graphics(sr, terms.Code("111030", "DCM", "Image Region")), key=len)
    assert box(outline) == wanted(mass)
    assert tuple(point[0]) == (cluster[1] + 0.5, cluster[0] + 0.5)
    drawn = state.GraphicAnnotationSequence[0]
    assert drawn.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image
    graphic = next(one for one in drawn.GraphicObjectSequence if one.GraphicType == "POLYLINE")
    assert box(np.reshape(graphic.GraphicData, (-1, 2))) == wanted(mass)


@pytest.mark.parametrize("how", STORED)
@pytest.mark.parametrize("name", exams.VIEWS)
def test_a_mark_lands_on_its_pixel(name: str, how: str, tmp_path: Path) -> None:
    array, dots = stored(name, how)
    path = exams.write_view(tmp_path / "study", name, array, flipped=how)
    order = order_of(tmp_path)
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert not any(one.problems for one in report.objects)
    image = dcmread(path)
    check(report, order.folder, image.SOPInstanceUID, dots)
    picture = np.asarray(render(image, dcmread(order.folder / "gsps.dcm"), zoom=8))
    row, column, half = dots[0]
    inside = marked_pixels(picture, *array.shape)
    assert inside[row, column]
    across = inside[row - half - 2 : row + half + 3, column]
    assert across.tolist() == [False, False, *[True] * (2 * half + 1), False, False]


def test_what_is_found_on_the_raw_image_is_drawn_on_the_one_for_people(tmp_path: Path) -> None:
    array, dots = stored("L CC", "as usual")
    path = exams.write_view(tmp_path / "study", "L CC", array, IrradiationEventUID="2.25.7")
    raw = exams.for_processing(path)
    order = order_of(tmp_path, "FOR PROCESSING")
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    check(report, order.folder, dcmread(path).SOPInstanceUID, dots)
    assert dcmread(raw).SOPInstanceUID in report.inputs
    cad = dcmread(order.folder / "cadsr.dcm")
    named = [item.ReferencedSOPSequence[0] for item in below(cad) if item.get("ReferencedSOPSequence")]
    assert {one.ReferencedSOPInstanceUID for one in named} == {dcmread(one).SOPInstanceUID for one in (path, raw)}
    assert not any(one.problems for one in report.objects)


@pytest.mark.parametrize("how", ["across", "cropped"])
def test_a_presentation_that_is_another_matrix_is_not_drawn_on(how: str, tmp_path: Path) -> None:
    whole, dots = stored("L CC", "as usual")
    path = exams.write_view(tmp_path / "study", "L CC", whole, IrradiationEventUID="2.25.7")
    raw = exams.for_processing(path)
    path.unlink()
    other = stored("L CC", how)[0]
    exams.write_view(tmp_path / "study", "L CC", other, flipped=how, tag="b", IrradiationEventUID="2.25.7")
    order = order_of(tmp_path, "FOR PROCESSING")
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    check(report, order.folder, dcmread(raw).SOPInstanceUID, dots)
    assert any("another matrix or orientation" in remark for remark in report.result.remarks)
    assert not any(one.problems for one in report.objects)


@pytest.mark.parametrize("how", ["flipped", "moved"])
def test_a_presentation_that_was_turned_or_moved_without_saying_so_is_not_drawn_on(how: str, tmp_path: Path) -> None:
    array, dots = stored("L CC", "as usual")
    path = exams.write_view(tmp_path / "study", "L CC", array, IrradiationEventUID="2.25.7")
    raw = exams.for_processing(path)
    data = dcmread(path)
    pixels = data.pixel_array[::-1] if how == "flipped" else np.roll(data.pixel_array, 7, axis=0)
    data.PixelData = np.ascontiguousarray(pixels).tobytes()
    data.save_as(path)
    order = order_of(tmp_path, "FOR PROCESSING")
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    check(report, order.folder, dcmread(raw).SOPInstanceUID, dots)
    assert any("shows the breast at another place" in remark for remark in report.result.remarks)
    assert not any(one.problems for one in report.objects)


def table(explanation: str = "") -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 12], np.arange(4096, dtype="<u2").tobytes()
    item.LUTExplanation = explanation
    return item


@pytest.mark.parametrize(
    ("header", "keyword", "value"),
    [
        ({"WindowCenter": 1800, "WindowWidth": 900}, "WindowWidth", 900),
        (
            {"WindowCenter": [1800, 2000], "WindowWidth": [900, 500], "VOILUTFunction": "SIGMOID"},
            "VOILUTFunction",
            "SIGMOID",
        ),
        ({"WindowCenter": None, "WindowWidth": None}, "WindowWidth", None),
        ({"VOILUTSequence": [table("NORMAL")]}, "VOILUTSequence", None),
    ],
    ids=["window", "sigmoid", "nothing", "table"],
)
def test_a_view_is_shown_as_its_header_asks(
    header: dict[str, object], keyword: str, value: object, tmp_path: Path
) -> None:
    exams.write_view(tmp_path / "study", "L CC", stored("L CC", "as usual")[0], **header)  # type: ignore[arg-type]
    order = order_of(tmp_path)
    report = analyse_study(exams.study_in(tmp_path / "study"), order)
    assert not any(one.problems for one in report.objects)
    assert dciodvfy(order.folder / "gsps.dcm") == []
    (voi,) = dcmread(order.folder / "gsps.dcm").SoftcopyVOILUTSequence
    assert keyword in voi
    assert value is None or voi[keyword].value == value
