"""Finds each analysis the earlier study to compare with; the archive is asked while the analysis waits its turn.

Nothing here is waited for longer than `priors.wait_s` after the study was handed on, however many are asked about and
whatever the archive does; then the analysis goes on without, and its result says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from pacsai.bounds import Bounds, within
from pacsai.config import Site
from pacsai.crew import Crew
from pacsai.pipeline import Manifest
from pacsai.priors import choice as choices
from pacsai.priors.archived import Archived
from pacsai.priors.choice import NOT_ASKABLE, NOT_FETCHED, Choice, or_none, with_reasons
from pacsai.priors.here import Here
from pacsai.priors.wanted import Wanted, wanted_for
from pacsai.queries import ANSWERING, Holdings, open_holdings
from pacsai.spool import Spool
from pacsai.study import Study
from pacsai.study.reading import read_study

log = structlog.get_logger()

_THREADS = 4
_LATE = Choice(reasons=("the archive was not done in time",), remarks=(NOT_FETCHED,))


@dataclass(slots=True)
class _Inquiry:
    """One study that the archive is asked about; `answer` stands once `done` is set. Times are monotonic."""

    wanted: Wanted
    end: float
    answer: Choice = _LATE
    done: threading.Event = field(default_factory=threading.Event)


class Priors:
    """The earlier studies for one site's analyses. Safe for several threads."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._spool = spool
        self._settings = site.priors
        self._bounds = Bounds.of(site.node.limits)
        self._here = Here(site.node.data, spool, self._bounds)
        asks = site.priors.archive and site.archive.kind in ANSWERING
        self._holdings: Holdings | None = open_holdings(site, spool) if asks else None
        self._inquiries: dict[tuple[str, str], _Inquiry] = {}
        self._lock = threading.Lock()
        self._crew = Crew("priors", _THREADS if asks else 0, self._ask)

    def start(self) -> None:
        """Begin to ask."""
        self._crew.start()

    def stop(self) -> None:
        """Break off; analyses that wait are done again after the next start."""
        if self._holdings:
            self._crew.stop(self._holdings.close)

    def foresee(self, study: Study, revision: str, manifest: Manifest) -> None:
        """Begin to ask the archive for what an analysis that is to come will want, where it is not here."""
        wanted = self._wanted(study, revision, manifest)
        if self._holdings is None or wanted.not_askable() or choices.read(self._spool, wanted):
            return
        try:
            if not self._here.candidates(wanted, 1):
                self._inquiry(wanted, time.monotonic() + self._settings.wait_s)
        except Exception as error:
            _log(error)  # the analysis will look for itself

    def found(self, study_instance_uid: str, revision: str, manifest: Manifest, check: Callable[[], None]) -> Choice:
        """Return what an analysis compares with; `check` is called while that is waited for, and may raise."""
        with within(self._bounds):
            study = next(iter(read_study(self._spool.instances(study_instance_uid))))
        wanted = self._wanted(study, revision, manifest)
        known = choices.read(self._spool, wanted)
        if known is None:
            try:
                known = self._search(wanted, check)
            except Exception as error:
                known = _log(error)
            known = choices.settle(self._spool, wanted, or_none(known))
        with self._lock:
            self._inquiries.pop((study_instance_uid, wanted.asker), None)
        return known

    def _wanted(self, study: Study, revision: str, manifest: Manifest) -> Wanted:
        return wanted_for(study, revision, manifest, self._settings.max_age_days)

    def _search(self, wanted: Wanted, check: Callable[[], None]) -> Choice:
        if reason := wanted.not_askable():
            return Choice(reasons=(reason,))
        end = time.monotonic() + self._settings.wait_s
        foreseen = self._inquiries.get((wanted.study_instance_uid, wanted.asker))
        if foreseen:
            end, there = foreseen.end, self._answered(foreseen, check)
            if there.study_instance_uid:
                return there
        here = self._here.search(wanted, self._settings.max_studies, end, check)
        if here.study_instance_uid or not self._settings.archive:
            return here
        if self._holdings is None:
            return with_reasons(Choice(remarks=(NOT_ASKABLE,)), here)
        return with_reasons(self._answered(self._inquiry(wanted, end), check), here)

    def _answered(self, inquiry: _Inquiry, check: Callable[[], None]) -> Choice:
        """Return what the archive's answer comes to, or that it has not come in time."""
        while not inquiry.done.wait(0.2):
            check()
            if time.monotonic() > inquiry.end:
                return _LATE
        return inquiry.answer

    def _inquiry(self, wanted: Wanted, end: float) -> _Inquiry:
        """Return the inquiry about a study, begun now if it was not before, to be over by `end`."""
        with self._lock:
            known = self._inquiries.get((wanted.study_instance_uid, wanted.asker))
            if known is None:
                known = _Inquiry(wanted, end)
                self._inquiries[wanted.study_instance_uid, wanted.asker] = known
                self._crew.put(known)
        return known

    def _ask(self, inquiry: _Inquiry) -> None:
        assert self._holdings is not None  # noqa: S101 - nobody asks otherwise
        try:
            archived = Archived(self._holdings, self._here, self._spool, self._settings)
            inquiry.answer = archived.search(inquiry.wanted, inquiry.end)
        except Exception as error:
            inquiry.answer = _log(error)
        inquiry.done.set()


def _log(error: Exception) -> Choice:
    """Log what should not happen, and return the choice that it leaves: no error of this room stops an analysis."""
    log.error("an earlier study could not be looked for", reason=type(error).__name__, exc_info=error)
    return Choice(reasons=(type(error).__name__,), remarks=(NOT_FETCHED,))
