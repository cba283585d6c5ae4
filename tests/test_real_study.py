"""The main promise, on a real chest CT and the trained pipeline: in by storescu, out into Orthanc, once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacsai.registry import find
from tests.conftest import missing
from tests.nodes import pacsai_json, serving, write_site
from tests.objects.tools import dciodvfy
from tests.services import Orthanc, orthanc

RESULTS = {"SEG": 1, "SR": 1, "PR": 1}


@pytest.fixture
def chest(shared_data: Path) -> Path:
    """Return the folder of a whole chest CT with a lung cancer."""
    if not (find("chest_ct_nodules").folder / "weights.safetensors").is_file():
        missing("the trained weights of chest_ct_nodules")
    return shared_data / "ct" / "c3n-00247"


def site(tmp_path: Path, archive: Orthanc) -> Path:
    return write_site(
        tmp_path,
        archive={"kind": "dimse", "ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port},
        pipelines={"chest_ct_nodules": {"results": ["SEG", "SR", "GSPS"]}},
        quiet_s=3,
    )


def made_here(archive: Orthanc, study_instance_uid: str) -> Counter[str]:
    return Counter(one["Modality"] for one in archive.instances(study_instance_uid) if one["Modality"] != "CT")


@pytest.mark.slow
def test_a_real_chest_gets_one_set_of_results_even_if_the_node_is_killed(tmp_path: Path, chest: Path) -> None:
    uid = str(pydicom.dcmread(next(chest.glob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)
    with orthanc(tmp_path) as archive:
        config = site(tmp_path, archive)
        with serving(config) as node:
            assert node.store(chest).returncode == 0
            node.wait_for(uid, "being analysed")
            time.sleep(2)
            node.kill()
        assert made_here(archive, uid) == {}
        with serving(config) as node:
            start = time.monotonic()
            assert node.wait_for(uid, "delivered").startswith("findings")
            assert time.monotonic() - start < 120
            assert made_here(archive, uid) == RESULTS
            assert node.store(chest).returncode == 0
            time.sleep(6)
            assert made_here(archive, uid) == RESULTS
            assert node.jobs() == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_offline_the_same_chest_gives_the_report_and_conformant_objects(tmp_path: Path, chest: Path) -> None:
    kinds = [word for kind in ("SEG", "SR", "GSPS", "SC", "KO") for word in ("--result", kind)]
    report: dict[str, Any] = pacsai_json("analyse", "chest_ct_nodules", str(chest), "--out", str(tmp_path), *kinds)
    assert report["outcome"] == "findings"
    assert [one["kind"] for one in report["objects"]] == ["SEG", "SR", "GSPS", "SC", "KO"]
    for one in report["objects"]:
        assert one["problems"] == []
        assert [line for line in dciodvfy(Path(one["file"])) if line.startswith("Error")] == []
