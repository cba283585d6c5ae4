"""A study whose earlier one breaks the analysis is analysed without it, and the result says so."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from tests.nodes import serving, write_site
from tests.phantoms import write_mr_series
from tests.test_sequences import spotted
from tests.toys import toy_sequences_pipeline

BEFORE = {"study": "before", "StudyDate": "20250101", "StudyTime": "120000"}


@pytest.mark.slow
def test_a_study_whose_prior_crashes_the_child_is_analysed_without_it(tmp_path: Path) -> None:
    toy = toy_sequences_pipeline(tmp_path / "pipelines", sequences="{FLAIR: required}\nprior: true")
    code = toy / "pipeline.py"
    crash = "if sequences.prior: import os; os.abort()\n        volume = sequences.volumes"
    code.write_text(code.read_text().replace("volume = sequences.volumes", crash))
    for name, header in (("before", BEFORE), ("now", {})):
        write_mr_series(tmp_path / name, spotted(), number=1, description="FLAIR", **header)
    uids = [pydicom.dcmread(next((tmp_path / name).rglob("*.dcm"))).StudyInstanceUID for name in ("before", "now")]
    archive = {"kind": "folder", "path": str(tmp_path / "results")}
    with serving(write_site(tmp_path, archive=archive, pipelines={toy.name: {"folder": str(toy)}})) as node:
        for name, uid in zip(("before", "now"), uids, strict=True):
            assert node.store(tmp_path / name).returncode == 0
            assert node.wait_for(uid, "delivered").startswith("findings (1)")
        reasons = [one["reason"] for one in node.events(uids[1]) if one["event"] == "prior not used"]
    assert reasons == ["with it the analysis was ended by signal 6"]
    said = [json.loads(path.read_text())["summary"] for path in (tmp_path / "data" / "outbox").glob("*/parcel.json")]
    (remarks,) = (one["remarks"] for one in said if one["study_instance_uid"] == uids[1])
    assert "not compared with the earlier study: with it the analysis was ended by signal 6" in remarks
