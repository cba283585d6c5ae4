"""Leases: which executor is alive, told by a row that it renews in the database that all of them share.

One row for each started `Jobs`, in a table of our own beside the engine's. Who does not renew its row for `lease_s`
seconds is dead to the others: one of them ends its lease, by a higher epoch, and takes over what it left. One that was
only away (a stopped process, a broken network) finds its epoch gone and may do nothing more. All times are the
database's: the clocks of the machines may differ. Of the executors of a place the one that came first leads: it alone
does what is to be done once for all, until its lease ends. Knows nothing of jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

_PERIOD = 0.3
"""After which part of its time a lease is renewed."""

_PATIENCE = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
"""How long a database may leave us without an answer (libpq; seconds, milliseconds)."""

_END_S = 15

_TABLE = """
CREATE TABLE IF NOT EXISTS pacsai_lease (
    executor TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    renewed_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
)"""
_NUMBER = "ALTER TABLE pacsai_lease ADD COLUMN IF NOT EXISTS number BIGSERIAL"
"""Who came first; in tables of older nodes, too."""
_BEGIN = "INSERT INTO pacsai_lease VALUES (:executor, :place, 1, clock_timestamp(), NULL)"

log = structlog.get_logger(__name__)


class LeaseLost(Exception):  # noqa: N818 (reads as what happened)
    """Another executor has taken over: nothing more may be done in this one's name."""


class Lease:
    """The lease of one executor.

    Parameters
    ----------
    url : str
        postgresql:// URL.
    executor : str
        Who holds it; never used before.
    place : str
        What executors must share to take over from one another: the identity of the data folder.
    lease_s : float
        How long it lasts when it is not renewed.
    """

    def __init__(self, url: str, executor: str, place: str, lease_s: float) -> None:
        self._engine: Engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            connect_args=_PATIENCE,
        )
        self._who = {"executor": executor, "place": place, "lease_s": lease_s}
        self.period_s = lease_s * _PERIOD

    def acquire(self) -> None:
        """Begin the lease; raises OperationalError where there is no database."""
        with self._engine.connect() as db:
            # Two that start at the same moment would make the table twice, which IF NOT EXISTS does not prevent; and
            # the number of one could be seen after a higher one.
            db.execute(text("SELECT pg_advisory_lock(726227)"))
            try:
                db.execute(text(_TABLE))
                db.execute(text(_NUMBER))
                db.execute(text(_BEGIN), self._who)
            finally:
                db.execute(text("SELECT pg_advisory_unlock(726227)"))

    def renew(self) -> None:
        """Hold the lease for another `lease_s`; raises LeaseLost, and DBAPIError where the database is away."""
        renewed = self._do(
            "UPDATE pacsai_lease SET renewed_at = clock_timestamp()"
            " WHERE executor = :executor AND epoch = 1 AND ended_at IS NULL RETURNING executor"
        )
        if not renewed:
            raise LeaseLost

    def leads(self) -> bool:
        """Return whether this executor leads; its lease is then held for another `lease_s`, in which no other does."""
        return bool(
            self._do(
                "UPDATE pacsai_lease SET renewed_at = clock_timestamp() WHERE executor = :executor AND epoch = 1"
                " AND ended_at IS NULL AND number ="
                " (SELECT min(number) FROM pacsai_lease WHERE place = :place AND ended_at IS NULL) RETURNING executor"
            )
        )

    def release(self) -> None:
        """End the lease: what this executor leaves may be taken over at once."""
        self._do(
            "UPDATE pacsai_lease SET epoch = epoch + 1, ended_at = clock_timestamp()"
            " WHERE executor = :executor AND ended_at IS NULL RETURNING executor"
        )
        self._engine.dispose()

    def end_dead(self) -> tuple[str, ...]:
        """End the leases of this place that were not renewed in time, and return whose they were."""
        return self._do(
            "UPDATE pacsai_lease SET epoch = epoch + 1, ended_at = clock_timestamp()"
            " WHERE place = :place AND executor <> :executor AND ended_at IS NULL"
            " AND renewed_at < clock_timestamp() - make_interval(secs => :lease_s) RETURNING executor"
        )

    def ended(self) -> tuple[str, ...]:
        """Return the executors of this place whose leases have ended, and which are not forgotten."""
        return self._do("SELECT executor FROM pacsai_lease WHERE place = :place AND ended_at IS NOT NULL")

    def forget(self) -> None:
        """Forget the leases that ended a week ago; call it when all that `ended` executors left is taken over.

        Not sooner: one that was only away may take one more job before it finds out.
        """
        self._do(
            "DELETE FROM pacsai_lease WHERE place = :place"
            " AND ended_at < clock_timestamp() - interval '7 days' RETURNING executor"
        )

    def _do(self, statement: str) -> tuple[str, ...]:
        """Execute one statement that returns executors; each is a transaction of its own."""
        with self._engine.connect() as db:
            return tuple(str(row.executor) for row in db.execute(text(statement), self._who))


class Keeper:
    """Renews a lease in a thread of its own, and takes over from those who let theirs run out.

    Parameters
    ----------
    lease : Lease
        Not yet acquired.
    take_over : callable
        Given the executors whose leases have ended; takes up what they left. It is called again and again.
    lost : callable
        Called once, when the lease was lost.
    """

    def __init__(self, lease: Lease, take_over: Callable[[tuple[str, ...]], None], lost: Callable[[], None]) -> None:
        self._lease = lease
        self._take_over = take_over
        self._lost = lost
        self._is_lost = False
        self._acquired = threading.Event()
        self._may_take_over = threading.Event()
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def acquire(self) -> bool:
        """Begin the lease; False where the database does not exist yet."""
        try:
            self._lease.acquire()
        except OperationalError as error:
            if "does not exist" in str(error.orig):
                return False
            raise
        self._acquired.set()
        self._thread.start()
        return True

    def take_over_from_now_on(self) -> None:
        """Begin to look for executors that are gone."""
        self._may_take_over.set()

    def check(self) -> None:
        """Return if the lease is still held, and renewed by this; waits while the database is away.

        Raises
        ------
        LeaseLost
            It is not, or the keeper has ended.
        """
        self._acquired.wait()
        while not (self._is_lost or self._ending.is_set()):
            try:
                self._lease.renew()
            except LeaseLost:
                self._lose()
            except DBAPIError:
                self._ending.wait(1)
            else:
                return
        raise LeaseLost

    def leads(self) -> bool:
        """Return whether this executor leads; False while the database is away, for that is not known then."""
        if self._is_lost or self._ending.is_set() or not self._acquired.is_set():
            return False
        try:
            return self._lease.leads()
        except DBAPIError as error:
            log.warning("whether this node leads is not known now", reason=type(error).__name__)
            return False

    def end(self) -> None:
        """Give the lease back. Call it when nothing is done any more."""
        self._ending.set()
        if not self._acquired.is_set():
            return
        self._thread.join(_END_S)
        try:
            self._lease.release()
        except DBAPIError as error:
            log.warning("the lease could not be given back; it runs out", reason=type(error).__name__)

    def _keep(self) -> None:
        while not self._ending.wait(self._lease.period_s):
            try:
                self._lease.renew()
                if self._may_take_over.is_set():
                    self._look_after_others()
            except LeaseLost:
                self._lose()
                return
            except DBAPIError as error:
                log.warning("the lease could not be renewed; trying again", reason=type(error).__name__)
            except Exception:
                log.exception("what another executor left could not be taken over; trying again")

    def _look_after_others(self) -> None:
        for executor in self._lease.end_dead():
            log.warning("an executor is gone; its jobs are taken over", executor=executor)
        if ended := self._lease.ended():
            self._take_over(ended)
            self._lease.forget()

    def _lose(self) -> None:
        with self._lock:
            first, self._is_lost = not self._is_lost, True
        if first:
            log.error("this executor was away for too long; another has taken over its jobs")
            self._lost()
