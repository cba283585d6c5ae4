"""An archive that takes STOW-RS (PS3.18 10.5): one request per call, a part for each object."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydicom.filereader import read_file_meta_info

from pacsai.archive.base import ArchiveUnavailable, Sent

REFERENCED_SOP_INSTANCE_UID = "00081155"
FAILED_SOP_SEQUENCE, FAILURE_REASON = "00081198", "00081197"
REFERENCED_SOP_SEQUENCE, WARNING_REASON = "00081199", "00081196"

_REASONS = {
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0117: "invalid SOP instance",
    0xA9: "data set does not match SOP class",
    0xC0: "cannot understand",
    0xC1: "cannot understand",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
}
"""PS3.18 10.5.3.1 and annex I.2.2; keys of two digits stand for all codes that begin so."""


@dataclass(frozen=True, slots=True)
class StowArchive:
    """An archive by the base URL of its DICOMweb services, e.g. http://host:8042/dicom-web."""

    url: str
    tls: ssl.SSLContext | None = None
    timeout_s: float = 120

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        """Send the files, as `Archive.send` says."""
        if not paths:
            return ()
        uids = [str(read_file_meta_info(path).MediaStorageSOPInstanceUID) for path in paths]
        response = self._post(paths)
        if response.is_success:
            return self._answers(uids, response, missing=Sent("", accepted=True))
        if response.status_code not in (400, 409, 413, 415):
            raise ArchiveUnavailable(f"{self.name} answered {_status_line(response)}")
        return self._answers(uids, response, missing=Sent("", accepted=False, detail=_status_line(response)))

    def _post(self, paths: Sequence[Path]) -> httpx.Response:
        boundary = uuid.uuid4().hex
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        try:
            # The environment's proxies are not for patients' data: the archive is where the settings say.
            timeout, verify = httpx.Timeout(self.timeout_s, connect=10), self.tls or True
            with httpx.Client(timeout=timeout, trust_env=False, verify=verify) as client:
                return client.post(f"{self.url}/studies", content=_multipart(paths, boundary), headers=headers)
        except httpx.HTTPError as error:
            raise ArchiveUnavailable(f"{self.name} cannot be reached: {error}") from error

    def _answers(self, uids: Sequence[str], response: httpx.Response, missing: Sent) -> tuple[Sent, ...]:
        """Return the answer for each UID; `missing` stands for those that the response does not name."""
        said = _document(response)
        found = {answer.sop_instance_uid: answer for answer in _warned(said)} | {
            answer.sop_instance_uid: answer for answer in self._failed(said)
        }
        return tuple(found.get(uid, Sent(uid, missing.accepted, missing.detail)) for uid in uids)

    def _failed(self, said: Mapping[str, Any]) -> list[Sent]:
        """Return the answers of (0008,1198) Failed SOP Sequence; out of resources (A7xx) means later."""
        answers = []
        for item in _items(said, FAILED_SOP_SEQUENCE):
            reason = _integer(item, FAILURE_REASON)
            if reason >> 8 == 0xA7:
                raise ArchiveUnavailable(f"{self.name} is out of resources (0x{reason:04X})")
            answers.append(Sent(_uid(item), reason == 0x0111, _words(reason)))
        return answers

    @property
    def name(self) -> str:
        """Return what the archive is called in messages."""
        return f"the archive at {self.url}"


def _multipart(paths: Sequence[Path], boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    parts = [head + path.read_bytes() + b"\r\n" for path in paths]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _document(response: httpx.Response) -> Mapping[str, Any]:
    """Return the Store Instances Response Module; empty when the archive sent none that can be read."""
    try:
        said = response.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _warned(said: Mapping[str, Any]) -> list[Sent]:
    """Return the answers of (0008,1199) Referenced SOP Sequence: the objects that are kept."""
    answers = []
    for item in _items(said, REFERENCED_SOP_SEQUENCE):
        warning = _integer(item, WARNING_REASON)
        answers.append(Sent(_uid(item), accepted=True, detail=_words(warning) if warning else ""))
    return answers


def _items(document: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    return list(document.get(tag, {}).get("Value", ()))


def _uid(item: Mapping[str, Any]) -> str:
    return str(next(iter(item.get(REFERENCED_SOP_INSTANCE_UID, {}).get("Value", ())), ""))


def _integer(item: Mapping[str, Any], tag: str) -> int:
    return int(next(iter(item.get(tag, {}).get("Value", ())), 0))


def _words(reason: int) -> str:
    return f"0x{reason:04X} {_REASONS.get(reason) or _REASONS.get(reason >> 8, 'reason unknown to PS3.18')}"


def _status_line(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}"
