"""The Mammography CAD through the node to a real Orthanc: a generated four-view exam in, every object out and sound."""

from __future__ import annotations

import subprocess
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MammographyCADSRStorage

from pacsai.changes import Change
from pacsai.flow import Order, analyse_study
from pacsai.objects.common import Author
from pacsai.objects.conformance import judge
from pacsai.objects.source import ResultObject, Source
from pacsai.registry import find
from pacsai.study import Study
from pipelines.mammography_cad.phantom import exam
from tests import exams
from tests.nodes import serving, write_site
from tests.objects.samples import NOW
from tests.objects.tools import dciodvfy, dsrdump, saved
from tests.services import orthanc

SEED, SPACING_MM = 3, 0.14


def generated(folder: Path, views: tuple[str, ...] = exams.VIEWS, **header: str) -> Study:
    """Write views of a generated exam with lesions in it."""
    for one in exam(SEED, spacing_mm=SPACING_MM, lesions=2, views=views):
        grey = np.clip(one.array * 4000 + 40, 40, 4095).astype(np.uint16)
        exams.write_view(folder, one.name, grey, spacing_mm=(SPACING_MM, SPACING_MM), **header)
    return exams.study_in(folder)


def tree(path: Path) -> str:
    return subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.slow
def test_a_generated_exam_ends_in_every_object_in_the_archive(tmp_path: Path) -> None:
    study = generated(tmp_path / "study")
    results = ["CADSR", "SR", "GSPS", "SC", "KO"]
    with orthanc(tmp_path) as archive:
        config = write_site(
            tmp_path,
            archive={"kind": "dimse", "ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port},
            pipelines={"mammography_cad": {"results": results}},
        )
        with serving(config) as node:
            sent = node.store(tmp_path / "study")
            assert sent.returncode == 0, sent.stderr
            state = node.wait_for(study.study_instance_uid, "delivered")
            assert state.startswith("findings ("), state
        found = [dcmread(BytesIO(archive.file(one["ID"]))) for one in archive.instances(study.study_instance_uid)]
    counted = Counter(one.Modality for one in found)
    assert (counted["SR"], counted["KO"], counted["OT"]) == (2, 1, 1)
    assert 1 <= counted["PR"] <= 4
    for number, one in enumerate(found):
        check(one, saved(one, tmp_path / f"{number}.dcm"), study)


def check(one: Dataset, path: Path, study: Study) -> None:
    """Assert that the tools and our own row checker find nothing wrong with an object from the archive."""
    assert dciodvfy(path) == []
    if one.Modality == "SR":
        assert dsrdump(path) == []
    if one.SOPClassUID != MammographyCADSRStorage:
        return
    said = tree(path)
    assert "Mammography CAD Report" in said
    assert '"Single Image Finding"' in said
    assert said.count('"Image Library"') == 1
    source = Source(study=study, instances=study.instances, volume=None, now=NOW)
    assert [str(problem) for problem in judge(ResultObject("CADSR", one), (), source)] == []


@pytest.mark.slow
def test_the_exam_before_is_told_in_the_reports_and_on_the_images(tmp_path: Path) -> None:
    views = ("L CC", "L MLO")
    before = generated(tmp_path / "before", views, StudyDate="20240301", StudyInstanceUID="2.25.9")
    package = find("mammography_cad")
    order = Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("CADSR", "SR", "GSPS", "SC"),
        author=Author(title=package.manifest.title),
        folder=tmp_path / "out",
        now=NOW,
        prior=before,
    )
    study = generated(tmp_path / "study", views)
    report = analyse_study(study, order)
    assert report.result.earlier is not None
    assert report.result.earlier.study_instance_uid == "2.25.9"
    assert {finding.change for finding in report.result.findings} == {Change.STABLE}
    for one in report.objects:
        assert one.problems == ()
        assert dciodvfy(one.path) == []
    said = {one.kind: tree(one.path) for one in report.objects}
    assert '"Temporal correlation"' in said["CADSR"]
    assert "No significant change" in said["SR"]
    assert '"Study Date")="20240301"' in said["SR"]
    (state, *_) = [dcmread(one.path) for one in report.objects if one.kind == "GSPS"]
    texts = [item.UnformattedTextValue for item in state.GraphicAnnotationSequence[0].TextObjectSequence]
    assert any("stable" in text for text in texts)
