"""An Orthanc that results go to by its REST interface, asked through its DICOMweb plug-in, where it has that."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dicomweb import StowArchive
from pacsai.archive.orthanc import OrthancArchive
from pacsai.config import Limits
from pacsai.queries.base import ListedStudy
from pacsai.queries.dicomweb import QidoWado
from pacsai.spool import Spool

_PLUGIN = "dicom-web"


class OrthancHoldings(QidoWado):
    """Its plug-in at its usual root, /dicom-web; without it Orthanc answers 404, which reads as "no studies"."""

    def __init__(self, archive: OrthancArchive, limits: Limits, spool: Spool) -> None:
        self._root = archive.url.rstrip("/")
        super().__init__(StowArchive(f"{self._root}/{_PLUGIN}"), limits, spool)

    def studies(self, keys: Mapping[str, str], wait_s: float) -> tuple[ListedStudy, ...]:
        """See `Holdings.studies`."""
        end = time.monotonic() + wait_s
        with self._told(), self._client() as client:
            answer = client.get(f"{self._root}/plugins", timeout=self._left_s(end)).raise_for_status().json()
        if _PLUGIN not in answer:
            raise ArchiveUnavailable(f"Orthanc at {self._root} has no DICOMweb plug-in, without which it is not asked")
        return super().studies(keys, self._left_s(end))
