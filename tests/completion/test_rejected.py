"""A rejection note that comes after the analysis: the study is analysed again without what it rejects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.nodes import serving, wait_until, write_site
from tests.notes import write_note
from tests.phantoms import write_ct_series
from tests.toys import toy_pipeline


@pytest.mark.slow
def test_a_rejected_image_is_no_evidence_of_the_next_result(tmp_path: Path) -> None:
    array = np.full((8, 24, 32), -800, np.int16)
    array[3:6, 10:16, 12:18] = 40
    images = write_ct_series(tmp_path / "study", array, np.diag([0.8, 0.8, 2.5, 1.0]))
    rejected = dcmread(images[-1], stop_before_pixels=True)
    note = write_note(tmp_path / "note" / "note.dcm", images[-1:])
    toy = toy_pipeline(tmp_path / "pipelines")
    pipelines = {toy.name: {"folder": str(toy), "results": ["SR"]}}
    config = write_site(tmp_path, archive={"kind": "folder", "path": "./results"}, pipelines=pipelines)
    uid = str(rejected.StudyInstanceUID)
    with serving(config) as node:
        for folder, results in ((tmp_path / "study", "1"), (note.parent, "2")):
            assert node.store(folder).returncode == 0
            wait_until(lambda: str(sum(event["event"] == "delivered" for event in node.events(uid))), results.__eq__)
        noticed = [event["reason"] for event in node.events(uid) if event["event"] == "noticed"]
    assert noticed == ["1 instance was left out: rejected for quality reasons (113001, DCM)"]
    written = [dcmread(path) for path in (tmp_path / "results").rglob("*.dcm")]
    reports = [one for one in written if one.Modality == "SR"]  # our rejection note on the first is there, too
    first, second = sorted(reports, key=lambda report: "PredecessorDocumentsSequence" in report)
    assert rejected.SOPInstanceUID in str(first)
    assert rejected.SOPInstanceUID not in str(second)
