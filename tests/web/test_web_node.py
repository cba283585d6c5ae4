"""The web port of a running node: what it takes is on the way to analysis, also when the node dies at once."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import httpx
import yaml

from pacsai.peers import free_port
from tests.nodes import serving, write_site
from tests.web.port import CONTENT_TYPE, STUDY, body, encoded, instance


def test_an_upload_is_a_study_of_the_node_and_survives_its_death(tmp_path: Path) -> None:
    config = write_site(tmp_path, archive={"kind": "folder", "path": "results"}, pipelines={}, quiet_s=600)
    port = free_port()
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "web": {"port": port}}))
    url = f"http://127.0.0.1:{port}/dicom-web/studies"
    with serving(config) as node:
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        answer = httpx.post(url, content=body(encoded(instance())), headers={"Content-Type": CONTENT_TYPE})
        assert answer.status_code == 200
        with socket.create_connection(("127.0.0.1", port)) as peer:
            begun = body(encoded(instance()) + bytes(3_000_000))[:2_500_000]
            head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
            peer.sendall(f"{head}Content-Length: 3000000\r\n\r\n".encode() + begun)
            time.sleep(0.3)
            node.kill()
    (kept,) = (tmp_path / "data").rglob("*.dcm")
    assert list((tmp_path / "data").rglob("*.part")) == []
    with serving(config) as node:
        (study,) = node.ask("studies")
        assert study["study_instance_uid"] == STUDY
        assert kept.exists()
