"""Jobs: what is to be analysed and delivered, so that it is done once, also when the node dies in between.

A job is one revision of one study: plan which pipelines run, analyse with each, deliver each parcel. Every step's
result is kept in the database before the next one begins; after a restart finished steps are not repeated, and the one
that was cut off is done again (`Work` must bear that). What the steps do is `Work`'s; this room knows no DICOM. Several
nodes may share a PostgreSQL: lease.py tells who is alive.

Only the modules of this folder know the job engine (DBOS). It is one per process: there can be one started `Jobs` in a
process.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from dbos import DBOS, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID

from pacsai import durable
from pacsai.jobs import workflows
from pacsai.jobs.client import database_url, list_jobs, retry_jobs
from pacsai.jobs.lease import Keeper, Lease, LeaseLost
from pacsai.jobs.listing import Job, job_id_of
from pacsai.jobs.workflows import ANALYSES, DELIVERIES, PLANS, Interrupted, Work, pause_s

__all__ = ["Interrupted", "Job", "Jobs", "Work", "database_url", "list_jobs", "pause_s", "retry_jobs"]

APPLICATION_VERSION = "pacsai-jobs-2"
"""Pinned: DBOS's own default, a hash of the source, strands every unfinished job at any edit.

Change it only with the order or the names of the workflows' steps; then unfinished jobs of the old number stay behind.
"""


class Jobs:
    """The job engine of this node.

    Parameters
    ----------
    database : str
        "sqlite" for `data`/jobs.db, or a postgresql:// URL, which nodes may share.
    data : Path
        The node's data folder; it exists. Nodes with the same folder and database take over from one another.
    at_once : mapping of str to int
        How many studies each pipeline analyses at the same time; those not named here take turns with one another.
    name : str
        What the executor on a shared database is called, in front of a number of its own.
    lease_s : float
        Seconds without a sign of life after which a node that shares the database counts as dead.
    lost : callable
        Called when another has taken over because this one was away for too long: the process must end.
    """

    def __init__(
        self,
        database: str,
        data: Path,
        work: Work,
        *,
        at_once: Mapping[str, int] | None = None,
        name: str = "node",
        lease_s: float = 10,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = database_url(database, data)
        self.work = work
        self.stopping = False
        self._at_once = dict(at_once or {})
        self._lost = lost
        # One alone has a fixed name, so that it takes up by itself what it left.
        self.place, self._executor = "", "node"
        self._keeper: Keeper | None = None
        if database != "sqlite":
            self.place, self._executor = identity(data), f"{name}-{uuid.uuid4().hex[:12]}"
            self._keeper = Keeper(Lease(self.url, self._executor, self.place, lease_s), self._take_over, self._lose)

    def start(self) -> None:
        """Open the database, take up what an earlier run left and accept jobs."""
        if workflows.running is not None:
            raise RuntimeError("another Jobs is started in this process; stop it first")
        workflows.running = self
        self.stopping = False
        try:
            self._launch()
        except BaseException:
            self.stop(grace_s=0)
            raise

    def stop(self, grace_s: float = 20) -> None:
        """Begin nothing more, wait up to `grace_s` for the steps that run, and close.

        What is not finished then goes on at the next start. A step that still runs keeps the process alive until it
        returns: `Work` should raise `Interrupted` soon after the node is told to stop.
        """
        self.stopping = True
        DBOS.destroy(workflow_completion_timeout_sec=math.ceil(grace_s))
        if self._keeper:
            self._keeper.end()
        workflows.running = None

    def submit(self, study_instance_uid: str, revision: str, *, urgent: bool = False) -> str:
        """Queue the analysis of one revision of a study and return the job's id; a second time changes nothing.

        An urgent one overtakes those that wait and are not.
        """
        job_id = job_id_of(study_instance_uid, revision, self.place)
        with SetWorkflowID(job_id), SetEnqueueOptions(priority=workflows.priority_of(urgent)):
            DBOS.enqueue_workflow(self.queue(PLANS), workflows.job, study_instance_uid, revision, urgent, 1)
        return job_id

    def list(self, study_instance_uid: str | None = None) -> tuple[Job, ...]:
        """Return the jobs of all studies, or of one, oldest first."""
        return list_jobs(self.url, study_instance_uid)

    def check_lease(self) -> None:
        """Return if this node may still do what others see; `Work` asks before each such thing.

        Raises
        ------
        Interrupted
            Another node has taken over, since this one was away for too long.
        """
        if self._keeper:
            try:
                self._keeper.check()
            except LeaseLost:
                raise Interrupted from None

    def leads(self) -> bool:
        """Return whether this node may do now what one of those on its data folder does for all: asking, purging."""
        return self._keeper is None or self._keeper.leads()

    def queue(self, name: str, pipeline: str = "") -> str:
        """Return what a queue is called in the database, where nodes with other data have queues, too."""
        return self._named(f"{name}-{pipeline}" if pipeline in self._at_once else name)

    def _named(self, name: str) -> str:
        """Return `name` as it is in a database that nodes with other data may share."""
        return f"{name}-{self.place}" if self.place else name

    def _launch(self) -> None:
        _quiet_engine()
        leased = self._keeper.acquire() if self._keeper else True
        DBOS(
            config={
                "name": self._named("pacsai"),
                "system_database_url": self.url,
                "application_version": self._named(APPLICATION_VERSION),
                "executor_id": self._executor,
                "serializer": DBOSPortableJSONSerializer(),  # the default is pickle: a database must not be a program
                "log_level": "WARNING",
                "enable_otlp": False,
            }
        )
        DBOS.launch()
        if self._keeper:
            if not leased:  # the engine has just made the database, in which there are no jobs yet
                self._keeper.acquire()
            self._keeper.take_over_from_now_on()
        self._register(PLANS, 2)
        self._register(DELIVERIES, 4)
        self._register(ANALYSES, 1)
        for pipeline, at_once in self._at_once.items():
            self._register(ANALYSES, at_once, pipeline)

    def _register(self, name: str, at_once: int, pipeline: str = "") -> None:
        DBOS.register_queue(
            self.queue(name, pipeline),
            worker_concurrency=at_once,
            polling_interval_sec=0.5,
            on_conflict="always_update",
        )

    def _take_over(self, executors: tuple[str, ...]) -> None:
        """Queue again what executors left that are gone; what is already queued again is left alone."""
        if self.stopping:
            return
        pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        if left := {*executors}.intersection(str(one.executor_id) for one in pending):
            DBOS._recover_pending_workflows(sorted(left))

    def _lose(self) -> None:
        self.stopping = True
        self._lost()


def identity(data: Path) -> str:
    """Return what tells this data folder from others, eight hexadecimal digits; made at the first call."""
    path = data / "identity"
    if not path.exists():
        durable.write_new(path, uuid.uuid4().hex[:8].encode())
    return path.read_text()


def _quiet_engine() -> None:
    """Let the engine's warnings go where this process logs: with a handler present DBOS adds none of its own."""
    engine = logging.getLogger("dbos")
    if not engine.handlers:
        engine.addHandler(logging.NullHandler())
