"""An archive that answers QIDO-RS and WADO-RS (PS3.18 10.6, 10.4). What it gives enters the spool as an upload does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from pydicom.datadict import tag_for_keyword

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dicomweb import StowArchive
from pacsai.config import Limits
from pacsai.queries.base import STUDY_ATTRIBUTES, Listed, ListedSeries, ListedStudy
from pacsai.spool import Spool
from pacsai.web.keeper import Keeper
from pacsai.web.multipart import MalformedBody, media_type
from pacsai.web.stow import Upload

_PAGE = 1000
_UID = re.compile(r"[0-9.]{1,64}")
_CLASS, _INSTANCE, _SERIES, _STUDY = "00080016", "00080018", "0020000E", "0020000D"
_MODALITY, _DESCRIPTION = "00080060", "0008103E"
_OF_INSTANCES = (_CLASS, _MODALITY)
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class QidoWado:
    """The archive that results are sent to, asked under the same base URL; `limits` hold for what it gives."""

    def __init__(self, archive: StowArchive, limits: Limits, spool: Spool) -> None:
        self._archive = archive
        self._keeper = Keeper(limits, spool)
        self._closed = False

    def studies(self, keys: Mapping[str, str], wait_s: float) -> tuple[ListedStudy, ...]:
        """See `Holdings.studies`."""
        fields = [_tag(keyword) for keyword in STUDY_ATTRIBUTES]
        found = self._all("/studies", _STUDY, fields, wait_s, keys)
        return tuple(
            ListedStudy(uid, {keyword: _value(one, _tag(keyword)) for keyword in STUDY_ATTRIBUTES})
            for uid, one in found.items()
        )

    def series(self, study_instance_uid: str, wait_s: float) -> tuple[ListedSeries, ...]:
        """See `Holdings.series`."""
        found = self._all(f"/studies/{study_instance_uid}/series", _SERIES, [_MODALITY, _DESCRIPTION], wait_s)
        return tuple(ListedSeries(uid, _value(one, _MODALITY), _value(one, _DESCRIPTION)) for uid, one in found.items())

    def instances(self, study_instance_uid: str, series: Sequence[ListedSeries], wait_s: float) -> tuple[Listed, ...]:
        """See `Holdings.instances`."""
        end = time.monotonic() + wait_s
        route = f"/studies/{study_instance_uid}/series"
        return tuple(
            _listed(image)
            for one in series
            if _UID.fullmatch(one.series_instance_uid)
            for image in self._all(
                f"{route}/{one.series_instance_uid}/instances", _INSTANCE, _OF_INSTANCES, self._left_s(end)
            ).values()
        )

    def listed(self, study_instance_uid: str, wait_s: float) -> tuple[Listed, ...]:
        """See `Holdings.listed`."""
        found = self._all(f"/studies/{study_instance_uid}/instances", _INSTANCE, _OF_INSTANCES, wait_s)
        return tuple(one for one in map(_listed, found.values()) if not one.is_result)

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

    def _all(
        self, route: str, unique: str, fields: Sequence[str], wait_s: float, keys: Mapping[str, str] | None = None
    ) -> dict[str, Mapping[str, Any]]:
        """Return what the archive answers, by the UID of the attribute `unique`.

        Page by page, until one brings nothing new: archives bound what they answer.
        """
        end = time.monotonic() + wait_s
        found: dict[str, Mapping[str, Any]] = {}
        offset = 0
        with self._client() as client:
            while page := self._page(client, route, {**(keys or {}), "includefield": [*fields]}, offset, end):
                new = {_value(one, unique): one for one in page if _value(one, unique) not in {"", *found}}
                if not new:
                    break
                found |= new
                offset += len(page)
        return found

    def _page(
        self, client: httpx.Client, route: str, query: Mapping[str, str | list[str]], offset: int, end: float
    ) -> list[Mapping[str, Any]]:
        asked: dict[str, str | int | list[str]] = {**query, "limit": _PAGE, "offset": offset}
        accept = {"Accept": "application/dicom+json"}
        with self._told():
            response = client.get(self._archive.url + route, params=asked, headers=accept, timeout=self._left_s(end))
            if response.status_code in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
                return []
            page = response.raise_for_status().json()
        return [one for one in page if isinstance(one, dict)] if isinstance(page, list) else []

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
    """Return an attribute's values as text, a backslash between them; of a name what is in letters (PS3.18 F.2)."""
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    texts = (one.get("Alphabetic") if isinstance(one, dict) else one for one in values or ())
    return "\\".join(str(text).strip() for text in texts if text is not None)


def _tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"
