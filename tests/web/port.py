"""A real web port on loopback with a spool of its own, and uploads to it."""

from __future__ import annotations

import json
import socket
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from pacsai.config import Site
from pacsai.spool import Spool
from pacsai.web.server import WebServer

TOKEN = "a-token-of-this-test-1234"
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=edge'
STUDY = "2.25.7001"


class WebPort:
    """A running web port."""

    def __init__(self, folder: Path, *, limits: dict[str, Any] | None = None, **web: Any) -> None:
        self.data = folder / "data"
        self.site = Site.model_validate(
            {
                "node": {"data": self.data, "limits": {"free_gb": 0, **(limits or {})}},
                "archive": {"kind": "folder", "path": folder / "results"},
                "pipelines": {},
                "web": {"port": 0, **web},
            }
        )
        self._peers: list[socket.socket] = []
        self.spool = Spool(self.data)
        self.spool.start()
        self.server = WebServer(self.site, self.spool)
        self.server.start()
        scheme = "https" if self.site.web.certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.port}"

    def stop(self) -> None:
        for peer in self._peers:
            peer.close()
        self.server.stop()
        self.spool.close()

    def post(self, body: bytes | Iterable[bytes], study: str = "", **headers: str) -> httpx.Response:
        """POST a body; headers by name with underscores."""
        sent = {"Content-Type": CONTENT_TYPE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"{self.url}/dicom-web/studies" + (f"/{study}" if study else "")
        return httpx.post(url, content=body, headers=sent, timeout=30)

    def connect(self) -> socket.socket:
        """Return a bare connection, closed when the port stops."""
        self._peers.append(socket.create_connection(("127.0.0.1", self.server.port), timeout=20))
        return self._peers[-1]

    def begin(self, body: bytes, length: int = 10**6) -> socket.socket:
        """Send the beginning of an upload on a socket of its own."""
        peer = self.connect()
        head = (
            f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}"
        )
        peer.sendall(head.encode() + b"\r\n\r\n" + body)
        return peer

    def kept(self, study: str = STUDY) -> int:
        return len(self.spool.instances(study))

    def events(self, study: str = "") -> list[dict[str, Any]]:
        return (self.spool.story_of(study) if study else self.spool.story).read()

    def refusals(self, study: str = "") -> list[str]:
        return [event["reason"] for event in self.events(study) if "reason" in event]

    def leftovers(self) -> list[Path]:
        """Return what an upload that ended early has left, which should be nothing."""
        return list(self.data.rglob("*.part"))

    def wait(self, ready: Any, wait_s: float = 10) -> None:
        end = time.monotonic() + wait_s
        while not ready():
            assert time.monotonic() < end, self.events()
            time.sleep(0.02)


@contextmanager
def web_port(folder: Path, **settings: Any) -> Iterator[WebPort]:
    port = WebPort(folder, **settings)
    try:
        yield port
    finally:
        port.stop()


def instance(study: str = STUDY, syntax: str = ExplicitVRLittleEndian, **changes: Any) -> Dataset:
    """Return a small CT-like instance; None takes an attribute away."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.1"
    dataset.PatientID = "P1"
    for name, value in changes.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    dataset.preamble = bytes(128)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", generate_uid())
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def encoded(dataset: Dataset) -> bytes:
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def body(*parts: bytes, header: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    return b"".join(b"--edge\r\n" + header + b"\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"


def bomb(inflated_mb: int) -> bytes:
    """Return a deflated instance that unpacks to so many MB of zeros."""
    dataset = instance(syntax=DeflatedExplicitVRLittleEndian)
    plain = encoded(instance(SOPInstanceUID=dataset.SOPInstanceUID))
    start = 144 + struct.unpack_from("<I", plain, 140)[0]
    length = inflated_mb * 1_000_000
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = squeezer.compress(plain[start:] + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, length))
    packed += b"".join(squeezer.compress(bytes(1_000_000)) for _ in range(inflated_mb)) + squeezer.flush()
    whole = encoded(dataset)
    return whole[: 144 + struct.unpack_from("<I", whole, 140)[0]] + packed


def answered(response: httpx.Response) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the items of ReferencedSOPSequence and FailedSOPSequence, their values by keyword."""
    assert response.headers["Content-Type"] == "application/dicom+json"
    dataset = Dataset.from_json(json.dumps(response.json()))
    sequences = [dataset.get(name, []) for name in ("ReferencedSOPSequence", "FailedSOPSequence")]
    referenced, failed = ([{e.keyword: e.value for e in item} for item in sequence] for sequence in sequences)
    return referenced, failed
