"""A pipeline of mammograms: from a study to marks and signed objects, and every way an exam can be refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pacsai import registry
from pacsai.finding import Outcome
from pacsai.flow import Order, analyse_study
from pacsai.objects.common import Author
from pacsai.registry import read_package
from tests import exams
from tests.objects.tools import dciodvfy, dsrdump
from tests.toys import toy_exam_pipeline

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = ("CADSR", "SR", "GSPS", "SC", "KO")


@pytest.fixture
def order(tmp_path: Path) -> Order:
    package = read_package(toy_exam_pipeline(tmp_path / "pipelines"))
    return Order(
        package=package,
        accepts=package.manifest.accepts,
        results=ALL,
        author=Author(title=package.manifest.title),
        folder=tmp_path / "out",
        now=NOW,
    )


def test_the_contract_of_images_is_checked(tmp_path: Path) -> None:
    folder = toy_exam_pipeline(tmp_path)
    assert registry.check(folder) == ()
    code = folder / "pipeline.py"
    code.write_text(code.read_text().replace("def analyse(self, exam)", "def analyse(self, images)"))
    other = tmp_path / "other"
    folder.rename(other)
    (other / "manifest.yaml").write_text((other / "manifest.yaml").read_text().replace("name: dots", "name: other"))
    (problem,) = registry.check(other)
    assert "analyse takes (images), and input: images asks for (exam)" in problem


def test_an_exam_gives_every_object_and_they_pass_every_checker(order: Order, tmp_path: Path) -> None:
    report = analyse_study(exams.write_exam(tmp_path / "study"), order)
    assert report.result.outcome is Outcome.FINDINGS
    assert [one.problems for one in report.objects] == [()] * 6
    assert [one.kind for one in report.objects] == ["SR", "CADSR", "GSPS", "GSPS", "SC", "KO"]
    for one in report.objects:
        assert dciodvfy(one.path) == [], one.kind
    for one in report.objects:
        if one.kind in ("SR", "CADSR", "KO"):
            assert dsrdump(one.path) == []
