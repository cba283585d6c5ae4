"""TLS: who comes in, who does not and is told of, and the node as the one who calls."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from pacsai import certs
from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dimse import CStoreArchive
from pacsai.cli import app
from pacsai.config import Caller, Limits, Tls
from pacsai.dicom.tls import TlsError, certificate_names, check, client_context
from tests.conftest import needs
from tests.dicom.test_scp import NO_DELAY, Running
from tests.phantoms import write_ct_series
from tests.services import free_port, orthanc


class Papers:
    """Certificates for one test: an authority, its children, and strangers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = certs.new_authority()
        self._write("ca", self.authority)
        for name in ("node", "client", "archive"):
            self.issue(name)
        self.issue("expired", days=-1)
        self.issue("foreign", authority=certs.new_authority("somebody else"))

    def issue(self, name: str, authority: certs.Authority | None = None, days: float = 30) -> None:
        names = ("localhost", "127.0.0.1")
        self._write(name, certs.Authority(*certs.issue(authority or self.authority, name, names, days=days)))

    def pair(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def settings(self, name: str = "node", port: int | None = 0) -> Tls:
        certificate, key = self.pair(name)
        return Tls(certificate=certificate, key=key, authorities=self.folder / "ca.pem", port=port)

    def _write(self, name: str, holder: certs.Authority) -> None:
        certificate, key = self.pair(name)
        certificate.write_bytes(holder.certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            holder.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "ct"
    folder.mkdir()
    return write_ct_series(folder)[:3]


@pytest.fixture
def start(tmp_path: Path, papers: Papers) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def started(**settings: object) -> Running:
        limits = Limits(free_gb=0, request_timeout_s=2)
        defaults = {"tls": papers.settings(), "receivers": 1, "limits": limits}
        running.append(Running(tmp_path / f"data-{len(running)}", **defaults | settings))
        return running[-1]

    yield started
    for one in running:
        one.stop()


def storescu(node: Running, *options: object, files: list[Path], calling: str = "STORESCU") -> str:
    needs("storescu")
    command = ["storescu", "-v", "-aet", calling, "-aec", "PACSAI", *map(str, options), "127.0.0.1"]
    command += [str(node.receiver.tls_port), *map(str, files)]
    done = subprocess.run(command, env=NO_DELAY, capture_output=True, text=True, errors="replace", timeout=60)
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


def by_tls(papers: Papers, name: str) -> list[object]:
    certificate, key = papers.pair(name)
    return ["+tls", key, certificate, "+cf", papers.folder / "ca.pem"]


def reasons(node: Running) -> str:
    """Return what the node's story says of refusals, once it says something."""
    for _ in range(50):
        if told := [str(event.get("reason")) for event in node.events()]:
            return "; ".join(told)
        time.sleep(0.1)
    return ""


# Who comes in


def test_a_good_certificate_stores_and_the_plain_port_goes_on_beside(
    start: Callable[..., Running], papers: Papers, images: list[Path]
) -> None:
    node = start()
    assert storescu(node, *by_tls(papers, "client"), files=images).count("(Success)") == 3
    assert "(Success)" in node.dcmtk("echoscu")


@pytest.mark.parametrize(
    ("name", "reason"), [("expired", "certificate has expired"), ("foreign", "TLS handshake failed")]
)
def test_a_bad_certificate_is_refused_and_told(
    start: Callable[..., Running], papers: Papers, images: list[Path], name: str, reason: str
) -> None:
    node = start()
    assert "exit 0" not in storescu(node, *by_tls(papers, name), files=images)
    assert reason in reasons(node)
    assert node.spool.studies() == ()


def test_no_certificate_is_refused_and_told(start: Callable[..., Running], papers: Papers, images: list[Path]) -> None:
    node = start()
    anonymous = ["+tla", "+cf", papers.folder / "ca.pem"]
    assert "exit 0" not in storescu(node, *anonymous, files=images)
    assert "did not return a certificate" in reasons(node).lower().replace("_", " ")


def test_an_old_tls_is_refused_and_told(start: Callable[..., Running], papers: Papers) -> None:
    node = start()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", node.receiver.tls_port), 5) as peer, pytest.raises(OSError):  # noqa: PT011
        old.wrap_socket(peer)
    assert "TLS handshake failed" in reasons(node)


def test_the_wrong_ae_title_or_name_is_refused_and_told(
    start: Callable[..., Running], papers: Papers, images: list[Path]
) -> None:
    callers = (
        Caller(ae_title="CT1", address="127.0.0.1", certificate="client"),
        Caller(ae_title="CT2", address="127.0.0.1", certificate="another"),
    )
    node = start(callers=callers)
    options = by_tls(papers, "client")
    assert storescu(node, *options, files=images, calling="CT1").count("(Success)") == 3
    assert "Calling AE Title Not Recognized" in storescu(node, *options, files=images, calling="CT2")
    assert "carries another name" in reasons(node)
    assert "Calling AE Title Not Recognized" in storescu(node, *options, files=images, calling="CT3")
    assert "not among the callers" in reasons(node)
    assert "Calling AE Title Not Recognized" in node.dcmtk("echoscu", "-aet", "CT1"), "on the plain port"
    assert "must call by TLS" in reasons(node)


def test_who_speaks_no_tls_is_dropped_on_time_and_disturbs_nobody(
    start: Callable[..., Running], papers: Papers, images: list[Path]
) -> None:
    node = start()
    idle = [socket.create_connection(("127.0.0.1", node.receiver.tls_port), 5) for _ in range(50)]
    began = time.monotonic()
    assert storescu(node, *by_tls(papers, "client"), files=images[:1]).count("(Success)") == 1
    assert time.monotonic() - began < 2
    assert "exit 0" not in storescu(node, files=images)
    for peer in idle:
        peer.settimeout(5)
        with peer:
            assert peer.recv(1) == b"", "closed on time"
    assert "no association was asked for in time" in reasons(node)


# Files


def test_files_that_cannot_be_used_are_named(papers: Papers, tmp_path: Path) -> None:
    good = papers.settings()
    for key, path in (("certificate", tmp_path / "none.pem"), ("key", papers.pair("client")[1])):
        with pytest.raises(TlsError, match=path.name if key == "certificate" else "no certificate and its key"):
            check(good.model_copy(update={key: path}))
    with pytest.raises(TlsError, match="authorities"):
        check(good.model_copy(update={"authorities": papers.pair("client")[1]}))
    assert "has expired" in check(papers.settings("expired"))


def test_certs_makes_what_serve_can_use(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    made = CliRunner().invoke(app, ["certs", str(folder), "--name", "pacs.example"])
    assert made.exit_code == 0
    assert "authorities:" in made.output
    assert stat.S_IMODE((folder / "node.key").stat().st_mode) == 0o600
    settings = Tls(certificate=folder / "node.pem", key=folder / "node.key", authorities=folder / "ca.pem")
    assert check(settings) == ""
    der = ssl.PEM_cert_to_DER_cert((folder / "node.pem").read_text())
    assert certificate_names(der) == {"node", "pacs.example"}
    assert CliRunner().invoke(app, ["certs", str(folder)]).exit_code != 0, "nothing is replaced unasked"
    assert CliRunner().invoke(app, ["certs", str(folder), "--force"]).exit_code == 0


# The node as the one who calls


def test_results_go_to_an_archive_over_tls_and_not_to_a_stranger(
    tmp_path: Path, papers: Papers, images: list[Path]
) -> None:
    for name, expected in (("archive", ""), ("foreign", "certificate verify failed|unable to get local issuer")):
        certificate, key = papers.pair(name)
        secure = {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(certificate),
            "DicomTlsPrivateKey": str(key),
            "DicomTlsTrustedCertificates": str(papers.folder / "ca.pem"),
            "DicomTlsRemoteCertificateRequired": True,
        }
        with orthanc(tmp_path / name, our_port=free_port(), **secure) as peer:
            tls = client_context(papers.settings())
            archive = CStoreArchive("PACSAI", peer.ae_title, "127.0.0.1", peer.dicom_port, tls)
            if expected:
                with pytest.raises(ArchiveUnavailable, match=expected):
                    archive.send(images)
            else:
                assert all(answer.accepted for answer in archive.send(images))
                plain = CStoreArchive("PACSAI", peer.ae_title, "127.0.0.1", peer.dicom_port)
                with pytest.raises(ArchiveUnavailable):
                    plain.send(images)
