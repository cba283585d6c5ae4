"""Retention: which studies' local copies may go, and deleting them. By default nothing ever goes.

A study goes only when everything of it was handed on, analysed, delivered and committed, and only by age or for want
of space, the oldest first. Its story and what the archive answered stay. Does not know how to delete: the spool and
the outbox do.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from pacsai.commitment import Ledger, asks
from pacsai.config import Site
from pacsai.jobs.listing import Job
from pacsai.outbox import Outbox, Parcel
from pacsai.spool import Held, Spool
from pacsai.story import utc_now

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a study's local copies.

    Attributes
    ----------
    goes : bool
        Whether they are deleted.
    reason : str
        Why they go, or why they stay.
    bytes : int
        What goes; 0 where they stay.
    """

    study_instance_uid: str
    last_arrival: datetime
    goes: bool
    reason: str
    bytes: int = 0


class Retention:
    """Keeps the site's rule.

    Parameters
    ----------
    jobs : callable
        All jobs, oldest first.
    clock : callable
        The present moment in UTC.
    leads : callable
        Whether this node deletes, of those that share the data folder; asked right before each study goes.
    """

    def __init__(
        self,
        site: Site,
        spool: Spool,
        ledger: Ledger,
        jobs: Callable[[], Iterable[Job]],
        clock: Callable[[], datetime] = utc_now,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._site = site
        self._settings = site.retention
        self._spool = spool
        self._outbox = Outbox(site.node.data / "outbox")
        self._ledger = ledger
        self._jobs = jobs
        self._leads = leads
        self._clock = clock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Look now and then, where the site wants anything deleted."""
        if self._settings.wanted:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def round(self) -> list[Verdict]:
        """Delete what may go; return what went. Nothing where another node does it."""
        if not self._leads():
            return []
        parcels = self._parcels()
        go = [verdict for verdict in self._verdicts(parcels) if verdict.goes]
        gone = [verdict for verdict in go if not self._ending.is_set() and self._purge(verdict, parcels)]
        if gone:
            log.info("studies purged", studies=len(gone), bytes=sum(one.bytes for one in gone))
        return gone

    def verdicts(self) -> list[Verdict]:
        """Return what `round` would do with each study that has local copies, the oldest first."""
        return [*self._verdicts(self._parcels())]

    def _run(self) -> None:
        while not self._ending.wait(self._settings.every_s):
            try:
                self.round()
            except Exception:
                log.exception("retention stumbled; it looks again later")

    def _parcels(self) -> dict[str, list[Parcel]]:
        parcels: dict[str, list[Parcel]] = defaultdict(list)
        for parcel in self._outbox.parcels():
            parcels[parcel.study_instance_uid].append(parcel)
        return parcels

    def _verdicts(self, parcels: dict[str, list[Parcel]]) -> Iterator[Verdict]:
        jobs: dict[str, list[Job]] = defaultdict(list)
        for job in self._jobs() if self._settings.wanted else ():
            jobs[job.study_instance_uid].append(job)
        freed = 0
        for held in self._spool.held():
            uid = held.study_instance_uid
            if held.instances or any(not self._outbox.purged(parcel.id) for parcel in parcels.get(uid, ())):
                verdict = self._verdict(held, parcels.get(uid, ()), jobs.get(uid, ()), freed)
                freed += verdict.bytes if verdict.goes else 0
                yield verdict

    def _verdict(self, held: Held, parcels: Sequence[Parcel], jobs: Sequence[Job], freed: int) -> Verdict:
        uid, last_arrival = held.study_instance_uid, datetime.fromtimestamp(held.last_arrival, UTC)
        due = self._due(last_arrival, freed)
        if not due:
            reason = "it is not old enough, and there is room" if self._settings.wanted else "nothing is ever deleted"
            return Verdict(uid, last_arrival, goes=False, reason=reason)
        keeps = self._keeps(held, parcels, jobs)
        if keeps:
            return Verdict(uid, last_arrival, goes=False, reason=keeps)
        files = [*self._spool.instances(uid), *(path for parcel in parcels for path in parcel.folder.glob("*.dcm"))]
        size = sum(path.stat().st_size for path in files)
        return Verdict(uid, last_arrival, goes=True, reason=due, bytes=size)

    def _due(self, last_arrival: datetime, freed: int) -> str:
        """Return why a study should go, '' where it need not; `freed` bytes more are free by then."""
        days, target_gb = self._settings.keep_days, self._settings.free_gb_target
        if days is not None and self._clock() - last_arrival >= timedelta(days=days):
            return f"older than {days:g} days"
        if target_gb is not None and self._spool.free_bytes() + freed < target_gb * 1e9:
            return f"less than {target_gb:g} GB are free"
        return ""

    def _keeps(self, held: Held, parcels: Sequence[Parcel], jobs: Sequence[Job]) -> str:
        """Return why a study must stay, '' where it may go."""
        if held.waiting:
            return "its images are not all handed on for analysis"
        if not jobs:
            compared = self._spool.held_for_comparison(held.study_instance_uid)
            return "" if compared else "no job of it is known"
        if any(job.state in ("waiting", "running") for job in jobs):
            return "a job of it is waiting or running"
        if jobs[-1].state == "failed":
            return "its last job failed"
        events = self._spool.story_of(held.study_instance_uid).read()
        if {one["parcel"] for one in events if one["event"] == "analysed"} - {parcel.id for parcel in parcels}:
            return "results of it are not in this node's outbox"
        for parcel in parcels:
            reason = self._is_needed(parcel)
            if reason:
                return reason
        return self._promise(held.study_instance_uid)

    def _is_needed(self, parcel: Parcel) -> str:
        """Return why a parcel must stay, '' where its objects are safe elsewhere."""
        if not parcel.objects or self._outbox.withdrawn(parcel.id):
            return ""
        delivery = self._outbox.delivery(parcel.id)
        if delivery is None:
            return "results are not delivered yet"
        if delivery.refused:
            return "the archive refused results"
        if asks(self._site):
            request = self._ledger.request(parcel.id)
            committed = request is not None and request.state == "committed"
            return "" if committed else "the archive has not committed the results"
        if self._settings.without_commitment:
            return ""
        return "the archive is not asked for commitment, and retention.without_commitment is not set"

    def _promise(self, study_instance_uid: str) -> str:
        peer = self._ledger.promised_to(self._spool.key(study_instance_uid))
        return f"its images were committed to {peer}" if peer and not self._settings.although_promised else ""

    def _purge(self, verdict: Verdict, parcels: dict[str, list[Parcel]]) -> bool:
        uid = verdict.study_instance_uid
        with self._ledger.changes():  # no peer is told that an image is safe while it goes
            if not self._leads() or self._promise(uid):
                return False
            if self._spool.instances(uid) and not self._spool.purge(uid, verdict.reason, self._clock()):
                return False
            for parcel in parcels.get(uid, ()):
                if not self._outbox.purged(parcel.id):
                    self._outbox.purge(parcel.id)
        return True
