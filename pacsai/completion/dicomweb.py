"""An archive that answers QIDO-RS and WADO-RS (PS3.18 10.6, 10.4). What it gives enters the spool as an upload does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dicomweb import StowArchive
from pacsai.completion.holdings import Listed
from pacsai.config import Limits
from pacsai.spool import Spool
from pacsai.web.keeper import Keeper
from pacsai.web.multipart import MalformedBody, media_type
from pacsai.web.stow import Upload

_PAGE = 1000
_UID = re.compile(r"[0-9.]{1,64}")
_CLASS, _INSTANCE, _SERIES, _MODALITY = "00080016", "00080018", "0020000E", "00080060"
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class QidoWado:
    """The archive that results are sent to, asked under the same base URL; `limits` hold for what it gives."""

    def __init__(self, archive: StowArchive, limits: Limits, spool: Spool) -> None:
        self._archive = archive
        self._keeper = Keeper(limits, spool)
        self._closed = False

    def listed(self, study_instance_uid: str, wait_s: float) -> tuple[Listed, ...]:
        """See `Holdings.listed`. Page by page, until one brings nothing new: archives bound what they answer."""
        end = time.monotonic() + wait_s
        found: dict[str, Listed] = {}
        offset = 0
        with self._client() as client:
            while page := self._page(client, study_instance_uid, offset, end):
                new = {one.sop_instance_uid: one for one in map(_listed, page) if one.sop_instance_uid not in found}
                if not new:
                    break
                found |= new
                offset += len(page)
        return tuple(one for one in found.values() if one.sop_instance_uid and not one.is_result)

    def fetch(self, study_instance_uid: str, wanted: Sequence[Listed], wait_s: float) -> bool:
        """See `Holdings.fetch`. They are in the spool when this returns."""
        end = time.monotonic() + wait_s
        with self._client() as client:
            kept = [self._fetched(client, study_instance_uid, one, end) for one in wanted]
        return all(kept)

    def close(self) -> None:
        """See `Holdings.close`."""
        self._closed = True
        self._keeper.close()

    def _page(self, client: httpx.Client, study_uid: str, offset: int, end: float) -> list[Mapping[str, Any]]:
        query: dict[str, int | list[str]] = {"includefield": [_CLASS, _MODALITY], "limit": _PAGE, "offset": offset}
        url = f"{self._archive.url}/studies/{study_uid}/instances"
        accept = {"Accept": "application/dicom+json"}
        with self._told():
            response = client.get(url, params=query, headers=accept, timeout=self._left_s(end))
            if response.status_code in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
                return []
            page = response.raise_for_status().json()
        return page if isinstance(page, list) else []

    def _fetched(self, client: httpx.Client, study_uid: str, one: Listed, end: float) -> bool:
        """Take one instance; return whether it is kept here now."""
        if not all(map(_UID.fullmatch, (one.series_instance_uid, one.sop_instance_uid))):
            return False
        route = f"/studies/{study_uid}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
        request = client.stream("GET", self._archive.url + route, headers={"Accept": _FILES}, timeout=self._left_s(end))
        with self._told(), request as response:
            if not response.is_success:
                return False
            _, parameters = media_type(response.headers.get("Content-Type", ""))
            return self._poured(response, parameters.get("boundary", ""), study_uid, end)

    def _poured(self, response: httpx.Response, boundary: str, study_uid: str, end: float) -> bool:
        upload = None
        try:
            upload = Upload(self._keeper, boundary, study_uid, self._archive.url, service="WADO-RS")
            for block in response.iter_bytes():
                upload.take(block)
                self._left_s(end)
            upload.finish()
        except MalformedBody:
            return False
        finally:
            if upload is not None:
                upload.close()
        return upload.stored() > 0

    def _left_s(self, end: float) -> float:
        left_s = end - time.monotonic()
        if left_s <= 0 or self._closed:
            raise ArchiveUnavailable(f"{self._archive.name} was not done in time")
        return left_s

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPStatusError as error:
            raise ArchiveUnavailable(f"{self._archive.name} answered {error.response.status_code}") from error
        except (httpx.HTTPError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ArchiveUnavailable(f"{self._archive.name} cannot be asked: {reason}") from error

    def _client(self) -> httpx.Client:
        # The environment's proxies are not for patients' data: the archive is where the settings say.
        return httpx.Client(trust_env=False, verify=self._archive.tls or True)


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(_value(item, _SERIES), _value(item, _INSTANCE), _value(item, _CLASS), _value(item, _MODALITY))


def _value(item: Mapping[str, Any], tag: str) -> str:
    return str(next(iter(item.get(tag, {}).get("Value", ())), ""))
