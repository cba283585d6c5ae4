"""STOW-RS answers (PS3.18 10.5.3): all kept, some kept, none kept, and not now."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dicomweb import StowArchive


@contextmanager
def answering(status: int, document: object = None) -> Iterator[str]:
    """Run a web server that answers every POST alike: the answers that no archive of ours can be brought to give."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def item(path: Path, **codes: int) -> dict[str, object]:
    said: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid(path)]}}
    return said | {f"0008{tag[1:]}": {"vr": "US", "Value": [value]} for tag, value in codes.items()}


def failed(*items: object) -> dict[str, object]:
    return {"00081198": {"vr": "SQ", "Value": list(items)}}


def kept(*items: object) -> dict[str, object]:
    return {"00081199": {"vr": "SQ", "Value": list(items)}}


def test_some_kept_tells_each_one_apart(images: list[Path]) -> None:
    document = kept(item(images[0]), item(images[1], _1196=0xB000)) | failed(item(images[2], _1197=0xA900))
    with answering(202, document) as url:
        answers = StowArchive(url).send(images)
    assert [answer.accepted for answer in answers] == [True, True, False]
    assert [answer.detail for answer in answers] == [
        "",
        "0xB000 coercion of data elements",
        "0xA900 data set does not match SOP class",
    ]


def test_none_kept_gives_the_reason_of_each(images: list[Path]) -> None:
    with answering(409, failed(*(item(path, _1197=0x0122) for path in images))) as url:
        answers = StowArchive(url).send(images)
    assert not any(answer.accepted for answer in answers)
    assert {answer.detail for answer in answers} == {"0x0122 SOP class not supported"}


def test_none_kept_without_a_word_is_refused_with_the_status(images: list[Path]) -> None:
    with answering(409) as url:
        assert {answer.detail for answer in StowArchive(url).send(images)} == {"409 Conflict"}


def test_all_kept_without_a_word_is_accepted(images: list[Path]) -> None:
    with answering(200) as url:
        assert all(answer.accepted for answer in StowArchive(url).send(images))


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_anything_else_means_later(images: list[Path], status: int) -> None:
    with answering(status) as url, pytest.raises(ArchiveUnavailable, match=str(status)):
        StowArchive(url).send(images)


def test_out_of_resources_means_later(images: list[Path]) -> None:
    with (
        answering(409, failed(item(images[0], _1197=0xA700))) as url,
        pytest.raises(ArchiveUnavailable, match="out of resources"),
    ):
        StowArchive(url).send(images)
