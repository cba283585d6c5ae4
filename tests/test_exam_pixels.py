"""What only pixels tell: images of no breast, films in their frames, and side and view that no header names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from pacsai.flow import Order, analyse_study
from pacsai.objects.common import Author
from pacsai.registry import read_package
from pacsai.report import Report
from tests import exams
from tests.objects.tools import dciodvfy, dsrdump
from tests.toys import toy_exam_pipeline

Grey = NDArray[np.uint16]
NAMELESS = {"ViewPosition": None, "ViewCodeSequence": None, "ImageLaterality": None, "SeriesDescription": None}


def order_of(folder: Path) -> Order:
    package = read_package(toy_exam_pipeline(folder / "pipelines"))
    return Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("CADSR", "SR", "GSPS", "SC", "KO"),
        author=Author(title="Dots"),
        folder=folder / "out",
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )


def analysed(folder: Path) -> Report:
    """Return the report on what lies in `folder`/study, whose objects all passed the gate."""
    report = analyse_study(exams.study_in(folder / "study"), order_of(folder))
    assert not any(one.problems for one in report.objects)
    return report


def ruler() -> Grey:
    image = np.full((240, 180), 40, np.uint16)
    image[30:210, 90] = np.linspace(3000, 4000, 180, dtype=np.uint16)
    image[30:210:10, 80:92] = 4000
    return image


def wide_ruler() -> Grey:
    """Return a plate with lines at the chest wall's side, as phantoms of quality control lie there."""
    image = np.full((240, 180), 40, np.uint16)
    image[20:220, :110] = np.linspace(1500, 2500, 110, dtype=np.uint16)
    image[20:220:10, :60] = 3500
    return image


def chest() -> Grey:
    """Return a stand-in for a man's chest X-ray: trunk and shoulders, dark lungs, ribs, spine."""
    rows, columns = 260, 250
    j, i = np.mgrid[0:rows, 0:columns]
    image = np.full((rows, columns), 2200.0)
    for middle in (75, 175):
        lung = ((j - 120) / 85) ** 2 + ((i - middle) / 38) ** 2 < 1
        image[lung] = 700 + 250 * (np.sin(j[lung] / 5) > 0.6)
    image[:, 117:133] = 3000
    image[((j > 110) & ((i < 12) | (i > columns - 13))) | (j < 12) & (abs(i - 125) > 50)] = 40
    return image.astype(np.uint16)


def both() -> Grey:
    right, left = exams.breast("R CC", shape=(240, 150)), exams.breast("L CC", shape=(240, 150))
    return np.hstack([right, left])


def apart() -> Grey:
    return np.ascontiguousarray(both()[:, ::-1])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (ruler, "nothing as large as a breast"),
        (wide_ruler, "round side"),
        (chest, "as on a chest X-ray"),
        (both, "both breasts"),
        (apart, "both breasts"),
    ],
)
def test_an_image_of_no_breast_is_refused_with_its_name(image: Any, words: str, tmp_path: Path) -> None:
    exams.write_view(tmp_path / "study", "L CC", image())
    report = analysed(tmp_path)
    assert report.result.reason.startswith("not one breast: ")
    assert words in report.result.reason
    assert [one.kind for one in report.objects] == ["SR", "SC"]
    assert report.verdicts[0].reason == report.result.reason
    assert dciodvfy(tmp_path / "out" / "sr.dcm") == dsrdump(tmp_path / "out" / "sr.dcm") == []


def test_the_other_views_of_its_exam_are_analysed(tmp_path: Path) -> None:
    exams.write_exam(tmp_path / "study", ("R CC", "L CC", "L MLO"))
    exams.write_view(tmp_path / "study", "R MLO", ruler())
    report = analysed(tmp_path)
    assert len(report.result.findings) == 3
    told = "R MLO was left out: not one breast: nothing as large as a breast is in the image"
    assert told in report.result.remarks
    assert "the exam lacks R MLO" in report.result.remarks
    assert told.encode() in (tmp_path / "out" / "sr.dcm").read_bytes()


def test_an_earlier_exposure_takes_the_place_of_one_without_a_breast(tmp_path: Path) -> None:
    good = exams.write_view(tmp_path / "study", "L CC", exams.breast("L CC"), AcquisitionTime="090000")
    exams.write_view(tmp_path / "study", "L CC", ruler(), tag="b", AcquisitionTime="100000")
    report = analysed(tmp_path)
    assert report.inputs == (dcmread(good).SOPInstanceUID,)


def test_real_chest_x_rays_called_mammograms_are_refused(shared_data: Path, tmp_path: Path) -> None:
    paths = sorted((shared_data / "cxr" / "images").iterdir())[::24]
    for number, path in enumerate(paths):
        grey = np.asarray(Image.open(path).convert("L").resize((300, 300)))
        exams.write_view(tmp_path / str(number) / "study", "R CC", grey, PatientSex="M")
        report = analysed(tmp_path / str(number))
        assert report.result.reason.startswith("not one breast: "), path.name


def test_real_mammograms_are_breasts(shared_data: Path, tmp_path: Path) -> None:
    for path in sorted((shared_data / "mg" / "cdd-cesm" / "images").iterdir())[::6]:
        grey = np.asarray(Image.open(path).convert("L"))
        name = "L CC" if "_L_" in path.name else "R CC"
        exams.write_view(tmp_path / path.stem / "study", name, grey)
        assert not analysed(tmp_path / path.stem).result.reason, path.name


# Scanned film

MASS = (100, 60, 6)


def film(border: str) -> NDArray[np.uint8]:
    """Return a scanned film of a left breast with a mass: noise, a white label beside the breast, a border."""
    noise = np.random.default_rng(1).normal(12, 0.7, (250, 190))
    film = np.clip(noise + exams.breast("L CC", (MASS,)) / 20, 0, 255).astype(np.uint8)
    film[10:40, 140:180] = 250
    film[18:22, 145:175] = 20
    grey = {"bright": 253, "dark": 0}[border]
    return np.pad(film, 8, constant_values=grey)


@pytest.mark.parametrize("border", ["bright", "dark"])
def test_the_frame_and_labels_of_a_scanned_film_are_no_breast(border: str, tmp_path: Path) -> None:
    exams.write_view(tmp_path / "study", "L CC", film(border), SOPClassUID=SecondaryCaptureImageStorage)
    report = analysed(tmp_path)
    assert "L CC: the image has 8 bits, as scanned film has" in report.result.remarks
    centres = [finding.on.centre_ji for finding in report.result.findings if finding.on]
    assert any(np.hypot(*np.subtract(centre, (108, 68))) < 2 for centre in centres)


# Side and view


@pytest.mark.parametrize("name", exams.VIEWS)
def test_side_and_view_are_read_from_the_pixels_and_that_is_said(name: str, tmp_path: Path) -> None:
    exams.write_view(tmp_path / "study", name, view(name), **NAMELESS, PatientOrientation=None)
    report = analysed(tmp_path)
    assert f"{name}: its side and view were read from the pixels" in report.result.remarks


def view(name: str) -> Grey:
    """Return a breast of gland in fat that closes above and below, or one with muscle that runs out at the top."""
    array = exams.breast(name)
    rows, columns = array.shape
    j, i = np.mgrid[0:rows, 0:columns]
    from_wall = (columns - 1 - i if name[0] == "R" else i) / columns
    gland = np.exp(-(((j / rows - 0.5) / 0.25) ** 2) - ((from_wall - 0.45) / 0.2) ** 2)
    array = np.where(array > exams.AIR, 900 + 500 * from_wall + 1000 * gland, exams.AIR)
    if name.endswith("MLO"):
        array[(j < rows / 2) & (from_wall < 0.45)] = 1500
        array[from_wall / 0.4 + j / (0.6 * rows) < 1] = 3200
    return array.astype(np.uint16)


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        (["A", "R"], "L CC"),
        (["A", "L"], ""),  # a left one upside down, or a right one turned over
        (["P", "L"], ""),  # the chest wall is seen at the left
    ],
)
def test_patient_orientation_has_the_last_word_of_a_cc(orientation: list[str], name: str, tmp_path: Path) -> None:
    exams.write_view(tmp_path / "study", "L CC", view("L CC"), **NAMELESS, PatientOrientation=orientation)
    check(analysed(tmp_path), name)


@pytest.mark.parametrize(
    ("how", "orientation", "name"),
    [
        ("as usual", ["A", "FR"], "L MLO"),
        ("as usual", ["A", "RF"], "L MLO"),
        ("across", ["P", "FR"], "L MLO"),  # turned over: the wall is at the right, and still it is the left breast
        ("down", ["A", "HL"], "L MLO"),
        ("down", None, ""),
        ("as usual", ["A", "F"], ""),
    ],
)
def test_patient_orientation_names_the_side_of_an_mlo(
    how: str, orientation: list[str] | None, name: str, tmp_path: Path
) -> None:
    array = view("L MLO")
    array = array[:, ::-1] if how == "across" else array[::-1] if how == "down" else array
    header = NAMELESS | {"ViewPosition": "MLO", "PatientOrientation": orientation}
    exams.write_view(tmp_path / "study", "L MLO", np.ascontiguousarray(array), **header)
    check(analysed(tmp_path), name)


def check(report: Report, name: str) -> None:
    if name:
        assert any(remark.startswith(f"{name}: its side") for remark in report.result.remarks)
    else:
        assert report.result.reason.startswith("its header names no")


def test_a_view_that_is_not_certain_is_left_out_and_the_rest_analysed(tmp_path: Path) -> None:
    exams.write_exam(tmp_path / "study", ("L CC",))
    array = view("L CC")
    array[130:, :85] = 1500  # runs out at the bottom, and no muscle is seen
    exams.write_view(tmp_path / "study", "L MLO", array, **NAMELESS, PatientOrientation=None)
    report = analysed(tmp_path)
    told = "an image that names no side and view was left out: its header names no view, and whether it is CC or MLO is"
    assert any(remark.startswith(told) for remark in report.result.remarks)
    assert "the exam lacks R CC, R MLO, L MLO" in report.result.remarks
