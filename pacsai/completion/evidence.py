"""Asks the archive about quiet studies, a few at a time, and says when each may be analysed.

Nothing here waits in the watcher's thread: a study that is asked about is simply not settled yet. How long one may be
held up is bounded from the moment it was quiet, the time in the queue included.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from pacsai.archive import ArchiveUnavailable
from pacsai.completion import record
from pacsai.completion.record import Found
from pacsai.config import Site
from pacsai.crew import Crew
from pacsai.queries import Holdings, Listed, open_holdings
from pacsai.spool import Spool

log = structlog.get_logger()

_THREADS = 4
_GRACE_S = 5.0


@dataclass(slots=True)
class _Inquiry:
    """One study that is asked about; `listed` is None until the archive has told it."""

    deadline: float
    listed: tuple[Listed, ...] | None = None
    may_come: bool = False
    done: bool = False


class Evidence:
    """Judges quiet studies by what the archive lists; where the site does not want that, every study is settled."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._spool = spool
        self._wait_s = site.study.fetch_wait_s
        self._holdings: Holdings | None = open_holdings(site, spool) if site.study.evidence else None
        self._inquiries: dict[str, _Inquiry] = {}
        self._crew = Crew("completion", _THREADS if self._holdings else 0, self._ask)

    def start(self) -> None:
        """Begin to ask."""
        self._crew.start()

    def stop(self) -> None:
        """Break off; what was not settled is asked about again after the next start."""
        if self._holdings:
            self._crew.stop(self._holdings.close)

    def settled(self, study_instance_uid: str, revision: str) -> bool:
        """Return whether a quiet study's revision may be analysed; asks the archive where that is not known yet.

        For one thread; returns at once.
        """
        if self._holdings is None or record.read(self._spool, study_instance_uid, revision) is not None:
            return True
        inquiry = self._inquiries.get(study_instance_uid)
        if inquiry is None:
            self._inquiries[study_instance_uid] = _Inquiry(time.monotonic() + self._wait_s)
            self._crew.put(study_instance_uid)
            return False
        late = time.monotonic() > inquiry.deadline
        if not inquiry.done and time.monotonic() < inquiry.deadline + _GRACE_S:
            return False
        missing = self._missing(study_instance_uid, inquiry.listed or ())
        if missing and inquiry.may_come and not late:
            return False
        self._conclude(study_instance_uid, revision, len(inquiry.listed or ()), len(missing))
        return True

    def _conclude(self, study_instance_uid: str, revision: str, listed: int, missing: int) -> None:
        if missing:
            self._spool.story_of(study_instance_uid).tell("incomplete", listed=listed, missing=missing)
        record.write(self._spool, study_instance_uid, revision, Found(listed, missing))
        del self._inquiries[study_instance_uid]

    def _ask(self, study_instance_uid: str) -> None:
        inquiry = self._inquiries.get(study_instance_uid)
        if inquiry is None:  # its time was over before its turn came
            return
        try:
            self._inquire(study_instance_uid, inquiry)
        except Exception as error:
            self._tell_unasked(study_instance_uid, error)
        inquiry.done = True

    def _inquire(self, study_instance_uid: str, inquiry: _Inquiry) -> None:
        assert self._holdings is not None  # noqa: S101 - nobody works otherwise
        inquiry.listed = self._holdings.listed(study_instance_uid, _left_s(inquiry))
        missing = self._missing(study_instance_uid, inquiry.listed)
        if missing:
            story = self._spool.story_of(study_instance_uid)
            story.tell("missing images asked for", listed=len(inquiry.listed), missing=len(missing))
            inquiry.may_come = self._holdings.fetch(study_instance_uid, missing, _left_s(inquiry))

    def _missing(self, study_instance_uid: str, listed: Sequence[Listed]) -> list[Listed]:
        here = {path.stem for path in self._spool.instances(study_instance_uid)}
        return [one for one in listed if self._spool.key(one.sop_instance_uid) not in here]

    def _tell_unasked(self, study_instance_uid: str, error: Exception) -> None:
        """Tell that the archive was of no help; the study is analysed as it is."""
        if self._crew.ending.is_set():
            return
        expected = isinstance(error, ArchiveUnavailable)
        if not expected:
            log.error("the archive could not be asked", reason=type(error).__name__, exc_info=error)
        reason = str(error) if expected else type(error).__name__
        self._spool.story_of(study_instance_uid).tell("archive of no help", reason=reason)


def _left_s(inquiry: _Inquiry) -> float:
    left_s = inquiry.deadline - time.monotonic()
    if left_s <= 0:
        raise ArchiveUnavailable("the archive was not asked in time: too many studies are asked about")
    return left_s
