"""SC: a page that says what was found, or why nothing was, on viewers that show only pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacsai.finding import Result
from pacsai.objects import sc
from pacsai.objects.page import PICTURE, WIDTH, page
from pacsai.objects.source import Source
from pacsai.render.draw import MARK
from tests.objects import samples
from tests.objects.tools import dciodvfy, saved

OUTCOMES = [
    pytest.param(samples.two_nodules(), id="findings"),
    pytest.param(Result.of(()).signed(samples.PROVENANCE), id="no finding"),
    pytest.param(Result.not_analysed("the series has one image").signed(samples.PROVENANCE), id="not analysed"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


def drawn(result: Result, source: Source) -> Image.Image:
    return page(result, source.volume, "AI nodules (Research use only)", "pacsai")


@pytest.mark.parametrize("result", OUTCOMES)
def test_every_outcome_has_a_page_that_the_checker_accepts(result: Result, source: Source, tmp_path: Path) -> None:
    capture = sc.build(result, source)
    assert (capture.Rows, capture.Columns, capture.SamplesPerPixel) == (*capture.pixel_array.shape[:2], 3)
    assert dciodvfy(saved(capture, tmp_path / "sc.dcm")) == []


def test_the_page_owns_up_to_what_it_is(source: Source) -> None:
    capture = sc.build(samples.two_nodules(), source)
    assert capture.BurnedInAnnotation == "YES"
    assert capture.ImageType == ["DERIVED", "SECONDARY"]
    assert "Research use only" in capture.SeriesDescription
    assert (capture.PatientID, capture.StudyInstanceUID) == ("P1", source.study.study_instance_uid)


def test_each_finding_has_a_picture_with_its_contour(source: Source) -> None:
    picture = np.asarray(drawn(samples.two_nodules(), source))
    assert picture.shape[1] == WIDTH
    marks = (picture == MARK).all(axis=2)
    in_pictures = marks[150 : 150 + PICTURE]
    assert in_pictures[:, : WIDTH // 3].sum() > 100
    assert in_pictures[:, WIDTH // 3 : 2 * WIDTH // 3].sum() > 50
    assert not in_pictures[:, 2 * WIDTH // 3 :].any()


def test_more_findings_than_pictures_are_still_in_the_table(source: Source) -> None:
    six, seven = (samples.result(*(samples.nodule(n, (5, 30, 40)) for n in range(1, count + 1))) for count in (6, 7))
    extra = drawn(seven, source).height - drawn(six, source).height
    assert 0 < extra < PICTURE


def test_a_crop_at_the_edge_of_the_image_is_black_outside(source: Source) -> None:
    result = samples.result(samples.nodule(1, (0, 0, 0)))
    grey = np.asarray(drawn(result, source).convert("L"))
    assert grey[150:440, 30:300].min() == 0


def test_two_pages_of_one_result_are_the_same_bytes(source: Source, tmp_path: Path) -> None:
    first, second = (
        saved(sc.build(samples.two_nodules(), source), tmp_path / name).read_bytes() for name in ("a.dcm", "b.dcm")
    )
    assert first == second
