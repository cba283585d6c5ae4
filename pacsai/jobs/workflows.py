"""The workflows of a job, as the engine runs and repeats them: plan, an analysis for each pipeline, deliveries.

They are module-level functions, since the engine finds them by registered name; they reach the started engine through
`running`. What is changed here in order or name of steps needs another `APPLICATION_VERSION`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import structlog
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from pacsai import faults
from pacsai.archive.base import ArchiveUnavailable
from pacsai.jobs.listing import ANALYSIS, DELIVERY, JOB, analysis_id, delivery_id, job_id_of

PLANS, ANALYSES, DELIVERIES = "plans", "analyses", "deliveries"
"""The queues: an analysis takes its turn among those of its pipeline; a delivery that waits holds none up."""

URGENT, ROUTINE = 1, 10
"""Priorities in a queue; the engine takes the lower number first."""

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


class Engine(Protocol):
    """What the workflows ask of the started `Jobs`."""

    work: Work
    stopping: bool
    place: str

    def check_lease(self) -> None:
        """Raise `Interrupted` where another node has taken over."""

    def queue(self, name: str, pipeline: str = "") -> str:
        """Return what a queue is called in the database."""


def pause_s(attempt: int) -> float:
    """Return the seconds to wait after the `attempt`-th failed delivery (from 1): 1, 2, 4, ... up to five minutes."""
    return float(min(2 ** min(attempt - 1, 16), _LONGEST_PAUSE_S))


running: Engine | None = None


@DBOS.workflow(name=JOB, max_recovery_attempts=RECOVERIES)
def job(study_instance_uid: str, revision: str, urgent: bool, attempt: int) -> list[str]:  # noqa: ARG001
    """Plan and queue the analysis of each pipeline; returns what failed, a sentence each.

    `attempt` stands in the row, for who tries again.
    """
    jobs = _current()
    plan = _step("plan", partial(jobs.work.plan, study_instance_uid, revision))
    if "done" not in plan:
        return [f"which pipelines to run could not be decided: {plan['failed']}"]
    job_id = job_id_of(study_instance_uid, revision, jobs.place)
    for pipeline in plan["done"]:
        with SetWorkflowID(analysis_id(job_id, pipeline)), SetEnqueueOptions(priority=priority_of(urgent)):
            queue = jobs.queue(ANALYSES, pipeline)
            DBOS.enqueue_workflow(queue, analysis, job_id, study_instance_uid, revision, pipeline, urgent, 1)
    return []


@DBOS.workflow(name=ANALYSIS, max_recovery_attempts=RECOVERIES)
def analysis(
    job_id: str,
    study_instance_uid: str,
    revision: str,
    pipeline: str,
    urgent: bool,
    attempt: int,  # noqa: ARG001
) -> list[str]:
    """Analyse with one pipeline and queue the parcel's delivery. Returns as `job`."""
    parcel = _step("analyse", partial(_current().work.analyse, study_instance_uid, revision, pipeline))
    if "done" not in parcel:
        return [f"{pipeline}: {parcel['failed']}"]
    _queue_delivery(job_id, pipeline, parcel["done"], 1, "", urgent)
    return []


@DBOS.workflow(name=DELIVERY, max_recovery_attempts=RECOVERIES)
def delivery(
    job_id: str,
    pipeline: str,
    parcel_id: str,
    attempt: int,
    waits_for: str,  # noqa: ARG001
    urgent: bool,
) -> list[str]:
    """Offer the parcel to the archive once; when it cannot take it now, queue the next attempt. Returns as `job`.

    `waits_for` stands in the row, where the list of jobs reads it. Each attempt is a workflow of its own that deletes
    the one before: a durable sleep inside one workflow would hold a thread and gather a row for each of thousands of
    attempts.
    """
    jobs = _current()
    if attempt > 1:
        DBOS.delete_workflow(delivery_id(job_id, pipeline, attempt - 1))
    answer = _step("deliver", partial(jobs.work.deliver, parcel_id))
    if "done" in answer:
        return []
    if "failed" in answer:
        return [f"{pipeline}: {answer['failed']}"]
    if attempt >= _attempts():
        return [f"{pipeline}: given up after {RETRY_LIMIT_S // 86400} days: {answer['later']}"]
    _queue_delivery(job_id, pipeline, parcel_id, attempt + 1, answer["later"], urgent)
    return []


def _step(name: str, act: Callable[[], Any]) -> dict[str, Any]:
    """Do `act` as a step that is kept once done: {"done": value}, {"failed": reason} or {"later": reason}."""

    def kept() -> dict[str, Any]:
        jobs = _current()
        if jobs.stopping:
            raise Interrupted
        jobs.check_lease()
        faults.point(f"jobs.{name}.before")
        try:
            done = {"done": act()}
            faults.point(f"jobs.{name}.done")
            return done
        except ArchiveUnavailable as error:
            log.warning("delivery postponed", reason=str(error))
            return {"later": str(error)}
        except Exception as error:
            jobs.check_lease()  # what went wrong may be that another node does the same
            # The trace as text: a logger's own rendering may add local variables, and with them patient data.
            log.error("step failed", step=name, reason=str(error), trace=traceback.format_exc())
            return {"failed": str(error) or type(error).__name__}

    outcome: dict[str, Any] = DBOS.run_step({"name": name}, kept)
    faults.point(f"jobs.{name}.recorded")
    return outcome


def _queue_delivery(job_id: str, pipeline: str, parcel_id: str, attempt: int, waits_for: str, urgent: bool) -> None:
    options = SetEnqueueOptions(
        delay_seconds=pause_s(attempt - 1) if attempt > 1 else None, priority=priority_of(urgent)
    )
    with SetWorkflowID(delivery_id(job_id, pipeline, attempt)), options:
        queue = _current().queue(DELIVERIES)
        DBOS.enqueue_workflow(queue, delivery, job_id, pipeline, parcel_id, attempt, waits_for, urgent)


def priority_of(urgent: bool) -> int:
    """Return the place in a queue of what is urgent or not."""
    return URGENT if urgent else ROUTINE


def _attempts() -> int:
    """Return how many attempts fill RETRY_LIMIT_S; counted, not timed, so that a replay decides alike."""
    attempt, waited_s = 1, 0.0
    while waited_s < RETRY_LIMIT_S:
        waited_s += pause_s(attempt)
        attempt += 1
    return attempt


def _current() -> Engine:
    if running is None:
        raise Interrupted
    return running
