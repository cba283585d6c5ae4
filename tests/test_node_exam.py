"""A generated exam through the node to a real Orthanc: everything a workstation asks for arrives."""

from __future__ import annotations

import subprocess
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import MammographyCADSRStorage

from tests import exams
from tests.nodes import serving, write_site
from tests.objects.tools import dciodvfy, dsrdump, saved
from tests.services import orthanc
from tests.toys import toy_exam_pipeline


@pytest.mark.slow
def test_a_four_view_exam_ends_in_cad_sr_sr_gsps_ko_and_a_page(tmp_path: Path) -> None:
    study = exams.write_exam(tmp_path / "study")
    folder = toy_exam_pipeline(tmp_path / "pipelines")
    with orthanc(tmp_path) as archive:
        config = write_site(
            tmp_path,
            archive={"kind": "dimse", "ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port},
            pipelines={folder.name: {"folder": str(folder), "results": ["CADSR", "SR", "GSPS", "SC", "KO"]}},
        )
        with serving(config) as node:
            sent = node.store(tmp_path / "study")
            assert sent.returncode == 0, sent.stderr
            assert node.wait_for(study.study_instance_uid, "delivered") == "findings (3), delivered"
        found = [dcmread(BytesIO(archive.file(one["ID"]))) for one in archive.instances(study.study_instance_uid)]
    assert Counter(one.Modality for one in found) == {"SR": 2, "PR": 2, "KO": 1, "OT": 1}
    for number, one in enumerate(found):
        path = saved(one, tmp_path / f"{number}.dcm")
        assert dciodvfy(path) == []
        if one.Modality == "SR":
            assert dsrdump(path) == []
        if one.SOPClassUID == MammographyCADSRStorage:
            tree = subprocess.run(
                ["dsrdump", str(path)], capture_output=True, text=True, timeout=60, check=False
            ).stdout
    assert "Mammography CAD Report" in tree
    assert tree.count('"Single Image Finding"') >= 3
