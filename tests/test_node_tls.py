"""A node that speaks TLS alone: in by storescu, out to Orthanc, and what `pacsai serve` says of files it cannot use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pacsai.peers import free_port, listens
from tests.dicom.test_scp import NO_DELAY
from tests.nodes import serving, write_site
from tests.papers import Papers
from tests.services import orthanc
from tests.test_node import ct_with_balls, kinds, uid_of
from tests.toys import toy_pipeline


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def with_tls(site: Path, papers: Papers, name: str = "node", **node: object) -> int:
    """Give the site a TLS port alone, with the certificate of that name; return the port."""
    settings = yaml.safe_load(site.read_text())
    port = free_port()
    settings["node"] |= {"port": None, "tls": papers.settings(name, port).model_dump(mode="json"), **node}
    settings["archive"]["tls"] = True
    site.write_text(yaml.safe_dump(settings))
    return port


def test_a_study_goes_in_and_its_results_out_by_tls_alone(tmp_path: Path, papers: Papers) -> None:
    study = ct_with_balls(tmp_path / "study")
    balls = toy_pipeline(tmp_path / "pipelines")
    certificate, key = papers.pair("archive")
    secure = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificate),
        "DicomTlsPrivateKey": str(key),
        "DicomTlsTrustedCertificates": str(papers.authorities),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with orthanc(tmp_path, **secure) as archive:
        site = write_site(
            tmp_path,
            archive={"kind": "dimse", "ae_title": archive.ae_title, "host": "localhost", "port": archive.dicom_port},
            pipelines={balls.name: {"folder": str(balls), "results": ["SEG", "SR"]}},
        )
        plain_port = yaml.safe_load(site.read_text())["node"]["port"]
        caller = {"ae_title": "CT1", "address": "localhost", "certificate": "client"}
        port = with_tls(site, papers, callers=[caller])
        with serving(site) as node:
            certificate, key = papers.pair("client")
            command = ["storescu", "-aet", "CT1", "-aec", "PACSAI", "+tls", key, certificate]
            command += ["+cf", papers.authorities, "+sd", "127.0.0.1", port, study]
            assert not listens(plain_port)
            subprocess.run([*map(str, command)], env=NO_DELAY, check=True, timeout=60)
            assert node.wait_for(uid_of(study), "delivered") == "findings (2), delivered"
        assert kinds(archive, uid_of(study)) == {"SEG": 1, "SR": 1}


def serve(site: Path) -> str:
    """Run a node that cannot start; return what it says."""
    command = [sys.executable, "-m", "pacsai", "serve", "--config", str(site)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_serve_says_plainly_what_is_wrong_with_its_files(tmp_path: Path, papers: Papers) -> None:
    balls = toy_pipeline(tmp_path / "pipelines")
    archive = {"kind": "dimse", "ae_title": "ORTHANC", "host": "localhost", "port": free_port()}
    site = write_site(tmp_path, archive=archive, pipelines={balls.name: {"folder": str(balls)}})
    with_tls(site, papers)
    settings = yaml.safe_load(site.read_text())

    settings["node"]["tls"]["key"] = str(papers.pair("client")[1])
    site.write_text(yaml.safe_dump(settings))
    assert "client.key is not the key of the certificate" in serve(site)

    settings["node"]["tls"] |= {"key": "./node.key"}
    site.write_text(yaml.safe_dump(settings))
    assert "node.key cannot be read: No such file or directory" in serve(site)

    settings["node"]["tls"] = None
    site.write_text(yaml.safe_dump(settings))
    assert "archive.tls needs the certificate" in serve(site)
