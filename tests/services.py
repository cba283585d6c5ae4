"""Real services for tests, on free loopback ports, started for one test and stopped by their process id."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from pacsai.peers import ORTHANC_PLUGINS, free_port, listens, orthanc_settings, running
from tests.conftest import missing, needs

PYNETDICOM_SOCKET = "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
"""Filter for tests whose archive is down: pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage
collector (transport.py, AssociationSocket.connect). Collect before the test ends."""


@dataclass(frozen=True, slots=True)
class DicomPeer:
    """A storage SCP on 127.0.0.1; `folder` is where its files go, `log` what it printed."""

    ae_title: str
    port: int
    folder: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc on 127.0.0.1."""

    ae_title: str
    dicom_port: int
    http_port: int
    log: Path

    @property
    def http_url(self) -> str:
        """Return the REST root, without a slash at the end."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Return the DICOMweb root, without a slash at the end."""
        return f"{self.http_url}/dicom-web"

    def get(self, route: str) -> object:
        """Return the JSON of GET `route`, e.g. "/instances"."""
        return httpx.get(self.http_url + route, trust_env=False).raise_for_status().json()

    def count(self, level: str = "Instances") -> int:
        """Return how many Patients, Studies, Series or Instances it holds."""
        statistics = self.get("/statistics")
        assert isinstance(statistics, dict)
        return int(statistics[f"Count{level}"])

    def instances(self, study_instance_uid: str) -> list[dict[str, str]]:
        """Return the main tags (SOPInstanceUID, ...) of every instance of a study, with its Modality added."""
        query = {"Level": "Instance", "Expand": True, "Query": {"StudyInstanceUID": study_instance_uid}}
        found = httpx.post(f"{self.http_url}/tools/find", json=query, trust_env=False).raise_for_status().json()
        return [
            {**item["MainDicomTags"], "Modality": self._modality(item["ParentSeries"]), "ID": item["ID"]}
            for item in found
        ]

    def file(self, orthanc_id: str) -> bytes:
        """Return an instance's DICOM file; `orthanc_id` is the "ID" of `instances`."""
        return httpx.get(f"{self.http_url}/instances/{orthanc_id}/file", trust_env=False).raise_for_status().content

    def _modality(self, series: str) -> str:
        answer = self.get(f"/series/{series}")
        assert isinstance(answer, dict)
        return str(answer["MainDicomTags"].get("Modality", ""))


@contextmanager
def orthanc(
    folder: Path,
    our_ae: str = "PACSAI",
    our_port: int = 11112,
    *,
    dicom_port: int = 0,
    http_port: int = 0,
    **settings: object,
) -> Iterator[Orthanc]:
    """Run Orthanc with a storage of its own under `folder`; `settings` replace keys of its configuration.

    Given ports and the same folder, it comes back as it was: an archive that was down.
    """
    needs("Orthanc")
    home = folder / "orthanc"
    home.mkdir(parents=True, exist_ok=True)
    archive = Orthanc("ORTHANC", dicom_port or free_port(), http_port or free_port(), home / "log.txt")
    configuration = home / "orthanc.json"
    if not any(ORTHANC_PLUGINS.glob("libOrthancDicomWeb.so")):
        missing("Orthanc's DICOMweb plugin")
    defaults = orthanc_settings(home, archive.dicom_port, archive.http_port, our_ae, our_port)
    configuration.write_text(json.dumps(defaults | settings))
    # Its shutdown takes 3.5 s; what it has answered for is on the disk.
    with running(["Orthanc", str(configuration)], archive.log, ready=lambda: _orthanc_answers(archive), grace_s=0.1):
        yield archive


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0, ae_title: str = "STORESCP") -> Iterator[DicomPeer]:
    """Run DCMTK's storescp, keeping what it receives in `folder`/storescp."""
    needs("storescp")
    peer = _dicom_peer(folder / "storescp", ae_title, port)
    command = ["storescp", *options, "-aet", ae_title, "-od", str(peer.folder), str(peer.port)]
    with running(command, peer.log, ready=lambda: listens(peer.port)):
        yield peer


@contextmanager
def qrscp(folder: Path, *, port: int = 0, ae_title: str = "QRSCP") -> Iterator[DicomPeer]:
    """Run pynetdicom's qrscp application, keeping what it receives in `folder`/qrscp. Its paths must be absolute."""
    peer = _dicom_peer((folder / "qrscp").resolve(), ae_title, port)
    command = [
        *(sys.executable, "-m", "pynetdicom", "qrscp", "-aet", ae_title, "-ba", "127.0.0.1", "--port", str(peer.port)),
        *("--database-location", str(peer.folder / "index.db"), "--instance-location", str(peer.folder / "instances")),
    ]
    with running(command, peer.log, ready=lambda: echoes(peer)):
        yield peer


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run PostgreSQL on a fresh cluster under `folder`; gives its postgresql:// URL. It refuses to run as root."""
    initdb, pg_ctl = _of_postgresql("initdb"), _of_postgresql("pg_ctl")
    port, cluster = free_port(), folder / "postgresql"
    cluster.mkdir(parents=True)
    as_postgres: tuple[str, ...] = ()
    if os.geteuid() == 0:
        shutil.chown(cluster, "postgres", "postgres")
        _open_way_to(cluster)
        as_postgres = ("runuser", "-u", "postgres", "--")
    start = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={cluster} -c fsync=off"
    log = str(cluster / "log.txt")
    _run(*as_postgres, initdb, "-D", str(cluster / "data"), "-A", "trust", "-U", "pacsai")
    _run(*as_postgres, pg_ctl, "-D", str(cluster / "data"), "-l", log, "-o", start, "-w", "-t", "180", "start")
    try:
        yield f"postgresql://pacsai@127.0.0.1:{port}/pacsai"
    finally:
        if as_postgres:
            _open_way_to(cluster)  # another pytest that starts closes the folder they share
        _run(*as_postgres, pg_ctl, "-D", str(cluster / "data"), "-m", "immediate", "-w", "stop")


def echoes(peer: DicomPeer) -> bool:
    """Tell whether `peer` answers a C-ECHO."""
    ae = AE(ae_title="ECHO")
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", peer.port, ae_title=peer.ae_title)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


@contextmanager
def answering_scp(
    *statuses: int, ae_title: str = "ANSWERS", **ae_settings: object
) -> Iterator[tuple[int, list[bytes]]]:
    """Run a storage SCP that keeps nothing and answers `statuses` in turn, the last one ever after.

    Gives its port and the list of the data sets it was sent, as encoded.
    """
    received: list[bytes] = []

    def answer(event: evt.Event) -> int:
        received.append(event.request.DataSet.getvalue())
        return statuses[min(len(received), len(statuses)) - 1]

    ae = AE(ae_title=ae_title)
    for name, value in ae_settings.items():
        setattr(ae, name, value)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield int(server.server_address[1]), received
    finally:
        server.shutdown()
        server.server_close()


def _dicom_peer(folder: Path, ae_title: str, port: int) -> DicomPeer:
    folder.mkdir(parents=True, exist_ok=True)
    return DicomPeer(ae_title, port or free_port(), folder, folder.with_suffix(".log"))


def _orthanc_answers(archive: Orthanc) -> bool:
    """Tell whether it is this Orthanc that answers, on both ports."""
    try:
        response = httpx.get(f"{archive.http_url}/system", trust_env=False)
    except httpx.HTTPError:
        return False
    asks_who = response.status_code == httpx.codes.UNAUTHORIZED
    return (asks_who or response.json()["DicomPort"] == archive.dicom_port) and listens(archive.dicom_port)


def _of_postgresql(program: str) -> str:
    """Return the path of a server program, which Debian keeps out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    found = shutil.which(program) or (str(debian[-1]) if debian else None)
    if found is None:
        missing(f"the program {program} (Debian package postgresql)")
    return str(found)


def _open_way_to(folder: Path) -> None:
    """Let another user walk to `folder`: pytest's folders are closed to others."""
    for parent in folder.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
