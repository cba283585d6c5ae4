"""TLS at the receiver: who comes in, who does not and is told of; the files that it takes."""

from __future__ import annotations

import json
import re
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from pacsai import certs
from pacsai.cli import app
from pacsai.config import Caller, Limits, Tls
from pacsai.config.node import Callers
from pacsai.dicom.callers import permitted
from pacsai.dicom.tls import TLS_1_2_SUITES, TlsError, certificate_names, check, client_context, server_context
from tests.conftest import needs
from tests.dicom.test_scp import NO_DELAY, Running
from tests.papers import Papers
from tests.phantoms import write_ct_series


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
    ("name", "reason"), [("expired", "certificate has expired"), ("foreign", "unable to get local issuer certificate")]
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
    assert "the peer shows no certificate" in reasons(node)


def test_an_old_tls_is_refused_and_told(start: Callable[..., Running], papers: Papers) -> None:
    node = start()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", node.receiver.tls_port), 5) as peer, pytest.raises(OSError):  # noqa: PT011
        old.wrap_socket(peer)
    assert "the peer speaks nothing newer than TLS 1.1" in reasons(node)


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
    assert "TLS handshake failed: what comes is not TLS" in reasons(node)


# What is spoken


def handshake(node: Running, papers: Papers, *, version: ssl.TLSVersion, suites: str = "") -> tuple[str, str]:
    """Shake hands as a client with one version alone; return the version and suite agreed on."""
    context = client_context(papers.settings("client"))
    context.minimum_version = context.maximum_version = version
    if suites:
        context.set_ciphers(suites)
    with (
        socket.create_connection(("127.0.0.1", node.receiver.tls_port), 5) as peer,
        context.wrap_socket(peer, server_hostname="127.0.0.1") as secure,
    ):
        suite = secure.cipher()
        assert suite is not None
        return secure.version() or "", suite[0]


def test_tls_1_2_and_1_3_are_spoken_with_the_suites_of_rfc_9325_alone(
    start: Callable[..., Running], papers: Papers
) -> None:
    node = start()
    assert handshake(node, papers, version=ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"
    assert handshake(node, papers, version=ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", TLS_1_2_SUITES[0])
    for suites in ("ECDHE+AES:!AESGCM:!AESCCM", "DHE+AESGCM", "kRSA+AESGCM"):
        with pytest.raises(ssl.SSLError):
            handshake(node, papers, version=ssl.TLSVersion.TLSv1_2, suites=suites)
    assert "TLS handshake failed: no cipher suite in common" in reasons(node)


def test_weak_keys_and_hashes_are_not_taken_whatever_the_system_thinks(papers: Papers) -> None:
    for made in (client_context, server_context):
        assert made(papers.settings()).security_level == 2


def test_a_hospitals_rsa_certificate_serves_as_well(
    start: Callable[..., Running], papers: Papers, images: list[Path], tmp_path: Path
) -> None:
    needs("openssl")
    authority = ["-CA", papers.authorities, "-CAkey", papers.folder / "ca.key", "-days", "90"]
    files = ["-keyout", tmp_path / "rsa.key", "-out", tmp_path / "rsa.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa", *authority, *files]
    subprocess.run([*map(str, command), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    settings = papers.settings().model_copy(update={"certificate": tmp_path / "rsa.pem", "key": tmp_path / "rsa.key"})
    assert check(settings) == ""
    assert storescu(start(tls=settings), *by_tls(papers, "client"), files=images[:1]).count("(Success)") == 1


# The names of a certificate


def test_an_ill_formed_certificate_has_no_names_and_stops_nothing() -> None:
    assert certificate_names(b"\x30\x03\x02\x01\x01") == frozenset()


@pytest.mark.parametrize(
    ("callers", "names", "reason"),
    [
        ("any", None, None),
        ((Caller(ae_title="CT", address="127.0.0.1"),), None, None),
        ((Caller(ae_title="CT", address="127.0.0.1", certificate="ct"),), {"ct", "else"}, None),
        ((Caller(ae_title="CT", address="127.0.0.1", certificate="ct.Hospital"),), {"CT.hospital"}, None),
        ((Caller(ae_title="CT", address="127.0.0.1", certificate="ct"),), {"b", "a"}, "carries another name .*: a, b$"),
        ((Caller(ae_title="CT", address="127.0.0.1", certificate="ct"),), set(), "none that can be read"),
        ((Caller(ae_title="CT", address="127.0.0.1", certificate="ct"),), None, "must call by TLS"),
        ((Caller(ae_title="CT", address="127.0.0.2"),), None, "not among the callers"),
        ((Caller(ae_title="MR", address="127.0.0.1"),), {"ct"}, "not among the callers"),
    ],
)
def test_who_may_call(callers: Callers, names: set[str] | None, reason: str | None) -> None:
    said = permitted(callers, "CT", "127.0.0.1", names)
    assert (said is None) if reason is None else (said is not None and re.search(reason, said))


def test_a_name_that_nobody_knew_once_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    callers = (Caller(ae_title="CT", address="ct.example.invalid"),)
    assert permitted(callers, "CT", "10.0.0.7", None) is not None
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    assert permitted(callers, "CT", "10.0.0.7", None) is None


# Files


@pytest.mark.parametrize(
    ("key", "file", "words"),
    [
        ("certificate", "none.pem", "the TLS certificate .*none.pem cannot be read: No such file"),
        ("certificate", "junk.pem", "the TLS certificate .*junk.pem is not PEM"),
        ("key", "junk.pem", "the TLS key .*junk.pem is not PEM"),
        ("key", "client.key", "the TLS key .*client.key is not the key of the certificate .*node.pem"),
        ("key", "locked.key", "the TLS key .*locked.key has a password"),
        ("authorities", "junk.pem", "the TLS authorities .*junk.pem are no certificates"),
    ],
)
def test_files_that_cannot_be_used_are_named(papers: Papers, tmp_path: Path, key: str, file: str, words: str) -> None:
    (tmp_path / "junk.pem").write_text("nothing of the kind")
    (tmp_path / "client.key").write_bytes(papers.pair("client")[1].read_bytes())
    (tmp_path / "locked.key").write_bytes(
        papers.authority.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError, match=words):
        check(papers.settings().model_copy(update={key: tmp_path / file}))


def test_a_certificate_that_peers_refuse_or_soon_will_is_told_of(start: Callable[..., Running], papers: Papers) -> None:
    now = datetime.now(UTC)
    assert check(papers.settings(), now) == ""
    assert "node.pem expires on" in check(papers.settings(), now + timedelta(days=89))
    assert "node.pem has expired on" in check(papers.settings(), now + timedelta(days=91))
    assert "node.pem holds from" in check(papers.settings(), now - timedelta(days=2))
    assert "expired.pem has expired" in reasons(start(tls=papers.settings("expired")))


def test_certs_makes_what_serve_can_use(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    made = CliRunner().invoke(app, ["certs", str(folder), "--name", "pacs.example"])
    assert made.exit_code == 0
    assert "authorities:" in made.output
    for name in (certs.AUTHORITY, *certs.HOLDERS):
        assert stat.S_IMODE((folder / f"{name}.key").stat().st_mode) == 0o600
    settings = Tls(certificate=folder / "node.pem", key=folder / "node.key", authorities=folder / "ca.pem")
    assert check(settings) == ""
    der = ssl.PEM_cert_to_DER_cert((folder / "node.pem").read_text())
    assert certificate_names(der) == {"node", "pacs.example"}


def test_certs_replaces_nothing_unasked_and_all_when_asked(tmp_path: Path) -> None:
    certs.make(tmp_path)
    (tmp_path / "ca.pem").unlink()
    before = (tmp_path / "node.pem").read_text()
    refused = CliRunner().invoke(app, ["certs", str(tmp_path)])
    assert refused.exit_code != 0
    assert (tmp_path / "node.pem").read_text() == before
    assert not (tmp_path / "ca.pem").exists(), "not half a set"
    made = CliRunner().invoke(app, ["certs", str(tmp_path), "--force", "--json"])
    assert made.exit_code == 0
    assert len(json.loads(made.output)) == 8
    assert (tmp_path / "node.pem").read_text() != before


def test_a_host_name_that_is_none_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ASCII|A-label"):
        certs.make(tmp_path / "new", ["m\u00fcller"])
    assert not (tmp_path / "new").exists()
