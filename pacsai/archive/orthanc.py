"""An Orthanc, through its own REST interface: POST /instances for each object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydicom.filereader import read_file_meta_info
from pyorthanc import Orthanc

from pacsai.archive.base import ArchiveUnavailable, Sent

KEPT = ("Success", "AlreadyStored")


@dataclass(frozen=True, slots=True)
class OrthancArchive:
    """An Orthanc by the URL of its REST interface, e.g. http://host:8042."""

    url: str
    timeout_s: float = 120

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        """Send the files, as `Archive.send` says."""
        timeout = httpx.Timeout(self.timeout_s, connect=10)
        # The environment's proxies are not for patients' data: the archive is where the settings say.
        with Orthanc(self.url, return_raw_response=True, timeout=timeout, trust_env=False) as client:
            return tuple(self._send(client, path) for path in paths)

    def _send(self, client: Orthanc, path: Path) -> Sent:
        uid = str(read_file_meta_info(path).MediaStorageSOPInstanceUID)
        try:
            response = client.post_instances(path.read_bytes())
        except httpx.HTTPError as error:
            raise ArchiveUnavailable(f"Orthanc at {self.url} cannot be reached: {error}") from error
        if response.is_success:
            status = str(response.json().get("Status", ""))
            return Sent(uid, status in KEPT, "" if status == "Success" else f"Orthanc says {status}")
        if response.status_code in (400, 413, 415):
            return Sent(uid, accepted=False, detail=f"Orthanc answered {response.status_code}: {_message(response)}")
        raise ArchiveUnavailable(f"Orthanc at {self.url} answered {response.status_code}: {_message(response)}")


def _message(response: httpx.Response) -> str:
    """Return Orthanc's own words, without what it adds of the request."""
    try:
        said = response.json()
    except ValueError:
        return response.reason_phrase
    return str(said.get("Message") or response.reason_phrase) if isinstance(said, dict) else response.reason_phrase
