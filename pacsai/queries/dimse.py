"""An archive that answers C-FIND and C-MOVE, Study Root (PS3.4 annex C). What is moved comes in as any C-STORE does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when imported
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dimse import CStoreArchive
from pacsai.queries.base import STUDY_ATTRIBUTES, Listed, ListedSeries, ListedStudy

_FIND, _MOVE = map(str, (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove))
_SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_PENDING = (0xFF00, 0xFF01)
_UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_AT_ONCE = 100
"""SOP Instance UIDs in one C-MOVE: a list of UIDs has at most 64 KB in Explicit VR."""


class QueryRetrieve:
    """The archive that results are sent to, asked by C-FIND and C-MOVE under the same title and address."""

    def __init__(self, archive: CStoreArchive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._open: set[Association] = set()

    def studies(self, keys: Mapping[str, str], wait_s: float) -> tuple[ListedStudy, ...]:
        """See `Holdings.studies`."""
        end = time.monotonic() + wait_s
        with self._association(_FIND, end) as association:
            found = self._found(association, end, "STUDY", STUDY_ATTRIBUTES, **keys)
            listed = [
                ListedStudy(_text(one, "StudyInstanceUID"), {name: _text(one, name) for name in STUDY_ATTRIBUTES})
                for one in found
            ]
        return tuple(one for one in listed if one.study_instance_uid)

    def series(self, study_instance_uid: str, wait_s: float) -> tuple[ListedSeries, ...]:
        """See `Holdings.series`."""
        end = time.monotonic() + wait_s
        with self._association(_FIND, end) as association:
            return tuple(self._series(association, end, study_instance_uid))

    def instances(self, study_instance_uid: str, series: Sequence[ListedSeries], wait_s: float) -> tuple[Listed, ...]:
        """See `Holdings.instances`."""
        end = time.monotonic() + wait_s
        with self._association(_FIND, end) as association:
            return tuple(listed for one in series for listed in self._images(association, end, study_instance_uid, one))

    def listed(self, study_instance_uid: str, wait_s: float) -> tuple[Listed, ...]:
        """See `Holdings.listed`. Level by level, as archives without relational queries want it."""
        end = time.monotonic() + wait_s
        with self._association(_FIND, end) as association:
            series = list(self._series(association, end, study_instance_uid))
            return tuple(
                listed
                for one in series
                if not Listed(one.series_instance_uid, "", modality=one.modality).is_result
                for listed in self._images(association, end, study_instance_uid, one)
                if not listed.is_result
            )

    def fetch(self, study_instance_uid: str, wanted: Sequence[Listed], wait_s: float) -> bool:
        """See `Holdings.fetch`. Where a move of many fails, each is asked for by itself: one may spoil the others."""
        end = time.monotonic() + wait_s
        all_sent = True
        with self._association(_MOVE, end) as association:
            for batch in _batches(wanted):
                if self._moved(association, end, study_instance_uid, batch):
                    continue
                alone = [len(batch) > 1 and self._moved(association, end, study_instance_uid, [one]) for one in batch]
                all_sent = all_sent and all(alone)
        return all_sent

    def close(self) -> None:
        """See `Holdings.close`."""
        with self._lock:
            for association in self._open:
                association.abort()

    @contextmanager
    def _association(self, sop_class_uid: str, end: float) -> Iterator[Association]:
        left_s = max(0.1, end - time.monotonic())
        connect_s, associate_s = min(10, left_s), min(30, left_s)
        archive = replace(self._archive, connect_s=connect_s, associate_s=associate_s, response_s=left_s)
        with archive.association({(sop_class_uid, syntax) for syntax in _SYNTAXES}) as association:
            if not association.is_established:
                raise ArchiveUnavailable(f"{archive.name} does not offer Query/Retrieve")
            with self._lock:
                self._open.add(association)
            try:
                yield association
            finally:
                with self._lock:
                    self._open.discard(association)

    def _series(self, association: Association, end: float, study_uid: str) -> Iterator[ListedSeries]:
        wanted = ("Modality", "SeriesDescription")
        for one in self._found(association, end, "SERIES", wanted, StudyInstanceUID=study_uid):
            yield ListedSeries(_text(one, "SeriesInstanceUID"), _text(one, "Modality"), _text(one, "SeriesDescription"))

    def _images(self, association: Association, end: float, study_uid: str, series: ListedSeries) -> Iterator[Listed]:
        within = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series.series_instance_uid}
        for image in self._found(association, end, "IMAGE", ("SOPClassUID",), **within):
            if uid := _text(image, "SOPInstanceUID"):
                yield Listed(series.series_instance_uid, uid, _text(image, "SOPClassUID"), series.modality)

    def _found(
        self, association: Association, end: float, level: str, wanted: Sequence[str], **keys: str
    ) -> Iterator[Dataset]:
        """Yield the matches of one C-FIND (PS3.4 C.4.1)."""
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in {**dict.fromkeys((_UNIQUE[level], *wanted), ""), **keys}.items():
            setattr(query, keyword, value)
        self._check_open(association)
        for status, match in association.send_c_find(query, _FIND):
            code = self._status(association, status, end)
            if code not in (0, *_PENDING):
                raise ArchiveUnavailable(f"{self._archive.name} answered a C-FIND with 0x{code:04X}")
            if match is not None and code in _PENDING:
                yield match

    def _moved(self, association: Association, end: float, study_uid: str, batch: Sequence[Listed]) -> bool:
        """Return whether one C-MOVE of instances of one series to ourselves ends well (PS3.4 C.4.2)."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID = study_uid
        query.SeriesInstanceUID = batch[0].series_instance_uid
        query.SOPInstanceUID = [one.sop_instance_uid for one in batch]
        self._check_open(association)
        code = -1
        for status, _ in association.send_c_move(query, self._archive.calling_ae_title, _MOVE):
            code = self._status(association, status, end)
        return code == 0

    def _check_open(self, association: Association) -> None:
        if not association.is_established:
            raise ArchiveUnavailable(f"{self._archive.name} ended the association")

    def _status(self, association: Association, status: Dataset, end: float) -> int:
        """Return the status of a response; raises ArchiveUnavailable where there is none, or the time is over."""
        if "Status" not in status:
            raise ArchiveUnavailable(f"{self._archive.name} did not answer a query, or closed the connection")
        if time.monotonic() > end and int(status.Status) in _PENDING:
            association.abort()
            raise ArchiveUnavailable(f"{self._archive.name} was not done in time")
        return int(status.Status)


def _text(answer: Dataset, keyword: str) -> str:
    """Return what an answer says, '' where it says nothing or nothing that can be read."""
    try:
        value = answer.get(keyword)
        return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value or "").strip()
    except Exception:  # whatever an archive's odd value makes the parser raise
        return ""


def _batches(wanted: Sequence[Listed]) -> Iterator[list[Listed]]:
    for _, series in groupby(sorted(wanted, key=_series_of), _series_of):
        listed = list(series)
        for first in range(0, len(listed), _AT_ONCE):
            yield listed[first : first + _AT_ONCE]


def _series_of(listed: Listed) -> str:
    return listed.series_instance_uid
