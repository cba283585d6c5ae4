"""Jobs: what is to be analysed and delivered, so that it is done once, also when the node dies in between.

The only module that knows the job engine (DBOS). A job is one revision of one study: plan which pipelines run, analyse
with each, deliver each parcel. Every step's result is kept in the database before the next one begins; after a restart
finished steps are not repeated, and the one that was cut off is done again (`Work` must bear that). What the steps do
is `Work`'s; this module knows no DICOM.

DBOS is one per process and finds its workflows by registered name, so the two workflows below are module-level
functions that reach the running `Jobs` through `_running`. There can be one started `Jobs` in a process.
"""

from __future__ import annotations

import hashlib
import logging
import math
import traceback
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID
from sqlalchemy import URL, make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from pacsai import faults
from pacsai.archive.base import ArchiveUnavailable
from pacsai.jobs.listing import DELIVERY, JOB, Job, Row, fold

ANALYSES, DELIVERIES = "analyses", "deliveries"
"""The two queues: an analysis takes its turn, and a delivery that waits for the archive holds none up."""

APPLICATION_VERSION = "pacsai-jobs-1"
"""Pinned: DBOS's own default, a hash of the source, strands every unfinished job at any edit.

Change it only with the order or the names of the workflows' steps; then unfinished jobs of the old number stay behind.
"""

RECOVERIES = 10
"""How often a job that was cut off is taken up again; a study that kills the node must not do so for ever."""

RETRY_LIMIT_S = 14 * 24 * 3600
"""How long a parcel is offered to an archive that does not answer."""

_LONGEST_PAUSE_S = 300

log = structlog.get_logger(__name__)


class Interrupted(BaseException):
    """A step was cut off because the node stops. Raised by `Work`; the step is done again after the next start.

    Not an Exception: DBOS keeps those as the step's result.
    """


class Work(Protocol):
    """What the steps of a job do. Each call may be repeated after a crash and must then lead to the same end.

    An exception ends the pipeline's part of the job as failed, with its message as the reason a person reads.
    """

    def plan(self, study_instance_uid: str, revision: str) -> list[str]:
        """Return the names of the pipelines to run on this revision of the study."""

    def analyse(self, study_instance_uid: str, revision: str, pipeline: str) -> str:
        """Run the pipeline, pack its objects and return the parcel's id. Raises `Interrupted` when the node stops."""

    def deliver(self, parcel_id: str) -> None:
        """Send the parcel to the archive; raises `ArchiveUnavailable` to be called again later."""


class Jobs:
    """The job engine of this node.

    Parameters
    ----------
    database : str
        "sqlite" for `data`/jobs.db, or a postgresql:// URL.
    data : Path
        The node's data folder; it exists.
    analyses_at_once : int
        How many studies are analysed at the same time.
    executor : str
        Who runs the jobs. It is fixed, so that a restarted node takes up what it left; two nodes on one database
        need two names.
    """

    def __init__(
        self, database: str, data: Path, work: Work, *, analyses_at_once: int = 1, executor: str = "node"
    ) -> None:
        self.url = database_url(database, data)
        self.work = work
        self.stopping = False
        self._analyses_at_once = analyses_at_once
        self._executor = executor

    def start(self) -> None:
        """Open the database, take up what an earlier run left and accept jobs."""
        global _running
        if _running is not None:
            raise RuntimeError("another Jobs is started in this process; stop it first")
        _running = self
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
        global _running
        self.stopping = True
        DBOS.destroy(workflow_completion_timeout_sec=math.ceil(grace_s))
        _running = None

    def submit(self, study_instance_uid: str, revision: str) -> str:
        """Queue the analysis of one revision of a study and return the job's id; a second time changes nothing."""
        job_id = _job_id(study_instance_uid, revision)
        with SetWorkflowID(job_id):
            DBOS.enqueue_workflow(ANALYSES, _job, study_instance_uid, revision)
        return job_id

    def list(self, study_instance_uid: str | None = None) -> tuple[Job, ...]:
        """Return the jobs of all studies, or of one, oldest first."""
        return list_jobs(self.url, study_instance_uid)

    def _launch(self) -> None:
        _quiet_engine()
        DBOS(
            config={
                "name": "pacsai",
                "system_database_url": self.url,
                "application_version": APPLICATION_VERSION,
                "executor_id": self._executor,
                "serializer": DBOSPortableJSONSerializer(),  # the default is pickle: a database must not be a program
                "log_level": "WARNING",
                "enable_otlp": False,
            }
        )
        DBOS.launch()
        DBOS.register_queue(ANALYSES, worker_concurrency=self._analyses_at_once, polling_interval_sec=0.5)
        DBOS.register_queue(DELIVERIES, worker_concurrency=4, polling_interval_sec=0.5)


def database_url(database: str, data: Path) -> str:
    """Return the database's URL; `database` is "sqlite" or a postgresql:// URL."""
    if database != "sqlite":
        return database
    return URL.create("sqlite", database=str(data.resolve() / "jobs.db")).render_as_string()


def list_jobs(url: str, study_instance_uid: str | None = None) -> tuple[Job, ...]:
    """Return the jobs kept at `database_url`, oldest first. Reads only, beside a running node or without one."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).is_file():
        return ()
    client = DBOSClient(system_database_url=url, serializer=DBOSPortableJSONSerializer())
    try:
        found = client.list_workflows(workflow_id_prefix=_study_key(study_instance_uid) if study_instance_uid else None)
    except (OperationalError, ProgrammingError) as error:
        if "no such table" in str(error.orig) or "does not exist" in str(error.orig):
            return ()  # no node has started on this database yet, or the first is just making its tables
        raise
    else:
        return fold(Row(**{field.name: getattr(status, field.name) for field in fields(Row)}) for status in found)
    finally:
        client.destroy()


def pause_s(attempt: int) -> float:
    """Return the seconds to wait after the `attempt`-th failed delivery (from 1): 1, 2, 4, ... up to five minutes."""
    return float(min(2 ** min(attempt - 1, 16), _LONGEST_PAUSE_S))


_running: Jobs | None = None


@DBOS.workflow(name=JOB, max_recovery_attempts=RECOVERIES)
def _job(study_instance_uid: str, revision: str) -> list[str]:
    """Plan, analyse with each pipeline and queue each parcel's delivery; returns what failed, a sentence each."""
    jobs = _current()
    plan = _step("plan", partial(jobs.work.plan, study_instance_uid, revision))
    if "done" not in plan:
        return [f"which pipelines to run could not be decided: {plan['failed']}"]
    failures = []
    for pipeline in plan["done"]:
        parcel = _step("analyse", partial(jobs.work.analyse, study_instance_uid, revision, pipeline))
        if "done" in parcel:
            _queue_delivery(_job_id(study_instance_uid, revision), pipeline, parcel["done"], attempt=1)
        else:
            failures.append(f"{pipeline}: {parcel['failed']}")
    return failures


@DBOS.workflow(name=DELIVERY, max_recovery_attempts=RECOVERIES)
def _delivery(job_id: str, pipeline: str, parcel_id: str, attempt: int, waits_for: str) -> list[str]:  # noqa: ARG001
    """Offer the parcel to the archive once; when it cannot take it now, queue the next attempt. Returns as `_job`.

    `waits_for` stands in the row, where the list of jobs reads it. Each attempt is a workflow of its own that deletes
    the one before: a durable sleep inside one workflow would hold a thread and gather a row for each of thousands of
    attempts.
    """
    jobs = _current()
    if attempt > 1:
        DBOS.delete_workflow(_delivery_id(job_id, pipeline, attempt - 1))
    answer = _step("deliver", partial(jobs.work.deliver, parcel_id))
    if "done" in answer:
        return []
    if "failed" in answer:
        return [f"{pipeline}: {answer['failed']}"]
    if attempt >= _attempts():
        return [f"{pipeline}: given up after {RETRY_LIMIT_S // 86400} days: {answer['later']}"]
    _queue_delivery(job_id, pipeline, parcel_id, attempt + 1, answer["later"])
    return []


def _step(name: str, act: Callable[[], Any]) -> dict[str, Any]:
    """Do `act` as a step that is kept once done: {"done": value}, {"failed": reason} or {"later": reason}."""

    def kept() -> dict[str, Any]:
        if _current().stopping:
            raise Interrupted
        faults.point(f"jobs.{name}.before")
        try:
            done = {"done": act()}
            faults.point(f"jobs.{name}.done")
            return done
        except ArchiveUnavailable as error:
            log.warning("delivery postponed", reason=str(error))
            return {"later": str(error)}
        except Exception as error:
            # The trace as text: a logger's own rendering may add local variables, and with them patient data.
            log.error("step failed", step=name, reason=str(error), trace=traceback.format_exc())
            return {"failed": str(error) or type(error).__name__}

    outcome: dict[str, Any] = DBOS.run_step({"name": name}, kept)
    faults.point(f"jobs.{name}.recorded")
    return outcome


def _queue_delivery(job_id: str, pipeline: str, parcel_id: str, attempt: int, waits_for: str = "") -> None:
    pause = pause_s(attempt - 1) if attempt > 1 else None
    with SetWorkflowID(_delivery_id(job_id, pipeline, attempt)), SetEnqueueOptions(delay_seconds=pause):
        DBOS.enqueue_workflow(DELIVERIES, _delivery, job_id, pipeline, parcel_id, attempt, waits_for)


def _attempts() -> int:
    """Return how many attempts fill RETRY_LIMIT_S; counted, not timed, so that a replay decides alike."""
    attempt, waited_s = 1, 0.0
    while waited_s < RETRY_LIMIT_S:
        waited_s += pause_s(attempt)
        attempt += 1
    return attempt


def _current() -> Jobs:
    if _running is None:
        raise Interrupted
    return _running


def _job_id(study_instance_uid: str, revision: str) -> str:
    return f"{_study_key(study_instance_uid)}-{hashlib.sha256(revision.encode()).hexdigest()[:16]}"


def _study_key(study_instance_uid: str) -> str:
    return hashlib.sha256(study_instance_uid.encode()).hexdigest()[:16]


def _delivery_id(job_id: str, pipeline: str, attempt: int) -> str:
    return f"{job_id}/{pipeline}/{attempt}"


def _quiet_engine() -> None:
    """Let the engine's warnings go where this process logs: with a handler present DBOS adds none of its own."""
    engine = logging.getLogger("dbos")
    if not engine.handlers:
        engine.addHandler(logging.NullHandler())
