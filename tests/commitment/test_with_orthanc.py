"""A whole node and a real Orthanc: commitment both ways, purging only after it, and an archive that is long down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
import yaml

from pacsai.peers import free_port
from pacsai.story import Story
from tests.nodes import RunningNode, serving, wait_until, write_site
from tests.phantoms import write_ct_series
from tests.services import Orthanc, orthanc
from tests.toys import toy_pipeline

pytestmark = pytest.mark.slow
PORTS = ("dicom_port", "http_port")


def ct(folder: Path, number: int) -> str:
    """Write a small CT with a bright ball and return its Study Instance UID."""
    array = np.full((6, 24, 32), -800, np.int16)
    array[2:4, 10:16, 12:18] = 40
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    affine[2, 3] = number * 100
    paths = write_ct_series(folder, array, affine)
    return str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)


def site(tmp_path: Path, ports: dict[str, int], *, kind: str = "dimse", **retention: Any) -> tuple[Path, int]:
    """Write a site that asks Orthanc for commitment and answers its requests; return it and the node's port."""
    toy = toy_pipeline(tmp_path / "pipelines")
    where: dict[str, Any] = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": ports["dicom_port"]}
    if kind == "orthanc":
        where = {"url": f"http://127.0.0.1:{ports['http_port']}"}
    patience = {"commitment": True, "commitment_wait_s": 0.2, "commitment_retry_s": 5}
    path = write_site(tmp_path, archive={"kind": kind, **where, **patience}, pipelines={toy.name: {"folder": str(toy)}})
    settings = yaml.safe_load(path.read_text())
    settings["node"]["commitment_peers"] = [{"ae_title": "ORTHANC", "host": "127.0.0.1", "port": ports["dicom_port"]}]
    settings["retention"] = retention
    path.write_text(yaml.safe_dump(settings))
    return path, int(settings["node"]["port"])


def kinds(archive: Orthanc, study_instance_uid: str) -> Counter[str]:
    return Counter(one["Modality"] for one in archive.instances(study_instance_uid))


def ask_through(archive: Orthanc, references: list[tuple[str, str]]) -> dict[str, Any]:
    """Let Orthanc ask the node to commit, and return what it was told."""
    order = {"DicomInstances": [{"SOPClassUID": one, "SOPInstanceUID": uid} for one, uid in references]}
    url = f"{archive.http_url}/modalities/pacsai/storage-commitment"
    asked = httpx.post(url, json=order, trust_env=False).raise_for_status().json()
    answer: dict[str, Any] = {}

    def status() -> str:
        said = archive.get(asked["Path"])
        assert isinstance(said, dict)
        answer.update(said)
        return str(answer["Status"])

    wait_until(status, lambda word: word != "Pending", wait_s=40)
    return answer


def test_orthanc_is_told_what_is_safe_here_and_that_is_kept(tmp_path: Path) -> None:
    ports = {name: free_port() for name in PORTS}
    config, port = site(tmp_path, ports, kind="orthanc", keep_days=0, every_s=3600)
    uid = ct(tmp_path / "ct", 1)
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((tmp_path / "ct").rglob("*.dcm"))]
    references = [(str(image.SOPClassUID), str(image.SOPInstanceUID)) for image in images]
    with orthanc(tmp_path, our_port=port, **ports) as archive, serving(config) as node:
        assert node.store(tmp_path / "ct").returncode == 0
        good = ask_through(archive, references)
        assert (good["Status"], len(good["Success"])) == ("Success", 6)
        bad = ask_through(archive, [references[0], (references[0][0], "1.2.3.4")])
        assert bad["Status"] == "Failure"
        assert [(one["SOPInstanceUID"], one["FailureReason"]) for one in bad["Failures"]] == [("1.2.3.4", 0x0112)]
        wait_until(lambda: str(node_events(node).count("commitment answered")), lambda count: count == "2", wait_s=5)
        node.wait_for(uid, ", committed")
        (verdict,) = node.ask("retention", "--dry-run")
        assert (verdict["goes"], verdict["reason"]) == (False, "its images were committed to ORTHANC")


def node_events(node: RunningNode) -> list[str]:
    return [event["event"] for event in Story(node.folder / "data" / "story.jsonl").read()]


def test_an_archive_down_for_the_middle_third_loses_nothing_even_where_the_node_dies_meanwhile(tmp_path: Path) -> None:
    ports = {name: free_port() for name in PORTS}
    config, port = site(tmp_path, ports, keep_days=0, every_s=0.5)
    uids = [ct(tmp_path / f"ct{number}", number) for number in range(3)]
    with serving(config) as node:
        with orthanc(tmp_path, our_port=port, **ports):
            assert node.store(tmp_path / "ct0").returncode == 0
            node.wait_for(uids[0], "delivered")  # it may go down before it has answered for this one
        assert node.store(tmp_path / "ct1").returncode == 0
        node.wait_for(uids[1], "waiting for the archive")
        node.kill()
    with serving(config) as node, orthanc(tmp_path, our_port=port, **ports) as archive:
        assert node.store(tmp_path / "ct2").returncode == 0
        for uid in uids:
            node.wait_for(uid, "purged here")
            assert node.state(uid) == "findings (1), delivered, committed; purged here"
            assert kinds(archive, uid) == {"SEG": 1, "SR": 1, "PR": 1}
            told = [event["event"] for event in node.events(uid)]
            assert told.index("delivered") < told.index("committed") < told.index("purged")
        assert list((tmp_path / "data").rglob("*.dcm")) == []
        assert node.ask("retention", "--dry-run") == []
