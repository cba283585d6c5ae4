"""Archives over TLS: real Orthancs that ask for our certificate, and those that are not who they should be."""

from __future__ import annotations

import gc
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from pacsai.archive import Archive, ArchiveUnavailable, open_archive
from pacsai.config import Site, Tls
from pacsai.dicom.tls import server_context
from tests.papers import Papers
from tests.services import PYNETDICOM_SOCKET, Orthanc, orthanc, storescp

pytestmark = pytest.mark.filterwarnings(PYNETDICOM_SOCKET)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def opened(own: Tls, **archive: object) -> Archive:
    node = {"data": "/nowhere", "tls": own.model_dump()}
    return open_archive(Site.model_validate({"node": node, "archive": archive, "pipelines": {}}))


# C-STORE


def dicom_tls(folder: Path, papers: Papers, name: str) -> AbstractContextManager[Orthanc]:
    """Run an Orthanc whose DICOM port speaks TLS and shows the certificate of that name."""
    certificate, key = papers.pair(name)
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificate),
        "DicomTlsPrivateKey": str(key),
        "DicomTlsTrustedCertificates": str(papers.authorities),
        "DicomTlsRemoteCertificateRequired": True,
    }
    return orthanc(folder, **settings)


def by_dimse(own: Tls, port: int, host: str = "127.0.0.1", ae_title: str = "ORTHANC") -> Archive:
    return opened(own, kind="dimse", ae_title=ae_title, host=host, port=port, tls=True)


def test_results_are_stored_over_tls_and_only_by_who_shows_a_certificate(
    tmp_path: Path, papers: Papers, images: list[Path]
) -> None:
    with dicom_tls(tmp_path, papers, "archive") as peer:
        assert all(answer.accepted for answer in by_dimse(papers.settings(), peer.dicom_port).send(images))
        assert peer.count() == 3
        with pytest.raises(ArchiveUnavailable, match=r"the peer says: unknown ca|hung up after the TLS"):
            by_dimse(papers.settings("foreign"), peer.dicom_port).send(images)
        with pytest.raises(ArchiveUnavailable):
            opened(papers.settings(), kind="dimse", ae_title="ORTHANC", host="127.0.0.1", port=peer.dicom_port).send(
                images
            )
        gc.collect()


@pytest.mark.parametrize(
    ("name", "host", "reason"),
    [
        ("foreign", "127.0.0.1", "cannot be called by TLS: .* unable to get local issuer certificate"),
        ("expired", "127.0.0.1", "cannot be called by TLS: .* certificate has expired"),
        ("elsewhere", "127.0.0.1", "cannot be called by TLS: .* IP address mismatch"),
        ("elsewhere", "localhost", "cannot be called by TLS: .* Hostname mismatch"),
    ],
)
def test_an_archive_that_is_not_who_it_should_be_gets_nothing_and_the_reason_is_said(
    tmp_path: Path, papers: Papers, images: list[Path], name: str, host: str, reason: str
) -> None:
    if name == "elsewhere" and not papers.pair(name)[0].exists():
        papers.issue(name, holds_for=("pacs.example",))
    certificate, key = papers.pair(name)
    with (
        storescp(tmp_path, "+tls", str(key), str(certificate), "+cf", str(papers.authorities)) as peer,
        pytest.raises(ArchiveUnavailable, match=reason),
    ):
        by_dimse(papers.settings(), peer.port, host, peer.ae_title).send(images)
    assert not list(peer.folder.iterdir())


def test_an_archive_may_be_called_by_an_address_and_carry_a_name(
    tmp_path: Path, papers: Papers, images: list[Path]
) -> None:
    papers.issue("pacs", holds_for=("pacs.example",))
    certificate, key = papers.pair("pacs")
    with storescp(tmp_path, "+tls", str(key), str(certificate), "+cf", str(papers.authorities)) as peer:
        address = {"kind": "dimse", "ae_title": peer.ae_title, "host": "127.0.0.1", "port": peer.port, "tls": True}
        archive = opened(papers.settings(), **address, certificate="pacs.example")
        assert all(answer.accepted for answer in archive.send(images))


def test_an_archive_that_speaks_no_tls_means_later_and_is_told(
    tmp_path: Path, papers: Papers, images: list[Path]
) -> None:
    with storescp(tmp_path) as peer, pytest.raises(ArchiveUnavailable, match="cannot be called by TLS"):
        by_dimse(papers.settings(), peer.port, ae_title=peer.ae_title).send(images)
    gc.collect()


# STOW-RS


@contextmanager
def before(port: int, own: Tls) -> Iterator[int]:
    """Run what hospitals put before a web server: a proxy that speaks TLS, asks for a certificate, and passes bytes on.

    Debian's Orthanc 1.10.1 cannot do so itself: its web server (civetweb) crashes at the first request over OpenSSL 3,
    as https://github.com/civetweb/civetweb/issues/1316 tells.
    """
    context = server_context(own)

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", port)) as inner,
            ):
                back = threading.Thread(target=_pass_on, args=(inner, outer))
                back.start()
                _pass_on(outer, inner)
                inner.shutdown(socket.SHUT_WR)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Passing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)


def by_web(own: Tls, port: int) -> Archive:
    return opened(own, kind="dicomweb", url=f"https://127.0.0.1:{port}/dicom-web", tls=True)


def test_results_are_stowed_over_https_and_only_by_who_shows_a_certificate(
    tmp_path: Path, papers: Papers, images: list[Path]
) -> None:
    with orthanc(tmp_path) as peer, before(peer.http_port, papers.settings("archive")) as port:
        answers = by_web(papers.settings(), port).send(images)
        assert all(answer.accepted for answer in answers), answers
        assert peer.count() == 3
        with pytest.raises(ArchiveUnavailable, match="cannot be reached"):
            by_web(papers.settings("foreign"), port).send(images)


@pytest.mark.parametrize(
    ("name", "reason"), [("foreign", "unable to get local issuer"), ("expired", "certificate has expired")]
)
def test_a_web_archive_that_is_not_who_it_should_be_gets_nothing_and_the_reason_is_said(
    papers: Papers, images: list[Path], name: str, reason: str
) -> None:
    with before(9, papers.settings(name)) as port, pytest.raises(ArchiveUnavailable, match=reason):
        by_web(papers.settings(), port).send(images)
