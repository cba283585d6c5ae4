"""Jobs as a person reads them: one line per job from the rows that the job engine keeps. Pure; opens no database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

JOB = "job"
ANALYSIS = "analysis"
DELIVERY = "delivery"
"""The names of the kinds of rows: one per job, one per pipeline, and one per parcel, its latest delivery.

What failed and is tried again is a row of its own, whose attempt is one higher.
"""

State = Literal["waiting", "running", "done", "failed"]

_ATTEMPT = {JOB: 3, ANALYSIS: 5, DELIVERY: 3}
"""Which argument of a row is its attempt."""

_ARGUMENTS = {JOB: 4, ANALYSIS: 6, DELIVERY: 6}
"""How many arguments a row has; those of earlier versions of the workflows have fewer, and cannot be tried again."""

_UNDER_WAY = {"PENDING", "ENQUEUED", "DELAYED"}

_GIVEN_UP = {
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "the node stopped each time it ran this; it is not tried again",
    "CANCELLED": "cancelled by hand",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One revision of one study on its way.

    Attributes
    ----------
    revision : str
        Digest of the instances that the study held when it was submitted.
    urgent : bool
        Whether it overtakes others.
    state : "waiting", "running", "done" or "failed"
        A job waits for its turn or for the archive; it has failed when all is over and something went wrong.
    submitted, started, updated : datetime
        UTC; `started` is None before its first turn.
    detail : str
        What went wrong, or what it waits for; empty when all is well.
    """

    id: str
    study_instance_uid: str
    revision: str
    urgent: bool
    state: State
    submitted: datetime
    started: datetime | None
    updated: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """What is read of a row of the engine (a DBOS WorkflowStatus). Times are milliseconds since 1970."""

    workflow_id: str
    name: str
    status: str
    input: Any
    output: Any | None
    error: Exception | None
    created_at: int | None
    updated_at: int | None
    dequeued_at: int | None


def fold(rows: Iterable[Row]) -> tuple[Job, ...]:
    """Return one Job for each job, with what became of its parts; in the order of the rows, which is that of time."""
    return tuple(_job(job_id, tuple(parts.values())) for job_id, parts in _parts(rows).items())


def failed_parts(job_id: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the latest attempts at each part of the job that ended in failure."""
    parts = _parts(rows).get(job_id, {})
    ended = (part for part in parts.values() if part.status not in _UNDER_WAY)
    return tuple(part for part in ended if _sentences(part) and len(part.input["args"]) == _ARGUMENTS[part.name])


def next_attempt(row: Row) -> tuple[str, list[Any]]:
    """Return the workflow id and the arguments of one more attempt at what `row` stands for."""
    arguments = list(row.input["args"])
    place = _ATTEMPT[row.name]
    attempt = arguments[place] = arguments[place] + 1
    if row.name == DELIVERY:
        job_id, pipeline, *_ = arguments
        return delivery_id(job_id, pipeline, attempt), arguments
    return f"{row.workflow_id.partition('#')[0]}#{attempt}", arguments


def study_key(study_instance_uid: str) -> str:
    """Return what the ids of a study's jobs begin with."""
    return hashlib.sha256(study_instance_uid.encode()).hexdigest()[:16]


def job_id_of(study_instance_uid: str, revision: str, place: str = "") -> str:
    """Return the id of a revision's job; `place` tells apart nodes with one database and data of their own."""
    words = (study_key(study_instance_uid), hashlib.sha256(revision.encode()).hexdigest()[:16], place)
    return "-".join(word for word in words if word)


def analysis_id(job_id: str, pipeline: str) -> str:
    """Return the workflow id of the first attempt at an analysis."""
    return f"{job_id}/{pipeline}"


def delivery_id(job_id: str, pipeline: str, attempt: int) -> str:
    """Return the workflow id of a delivery."""
    return f"{job_id}/{pipeline}/{attempt}"


def _parts(rows: Iterable[Row]) -> dict[str, dict[tuple[str, str], Row]]:
    """Return the latest attempt at each part of each job: (kind, pipeline) by job id."""
    jobs: dict[str, dict[tuple[str, str], Row]] = {}
    for row in rows:
        job_id, _, rest = row.workflow_id.partition("#")[0].partition("/")
        pipeline = rest if row.name == ANALYSIS else rest.rpartition("/")[0]
        jobs.setdefault(job_id, {})[row.name, pipeline] = row
    return {job_id: parts for job_id, parts in jobs.items() if (JOB, "") in parts}


def _job(job_id: str, parts: Sequence[Row]) -> Job:
    row = next(part for part in parts if part.name == JOB)
    study_instance_uid, revision, *more = row.input["args"]
    started = [part.dequeued_at for part in parts if part.dequeued_at]
    return Job(
        id=job_id,
        study_instance_uid=study_instance_uid,
        revision=revision,
        urgent=bool(more and more[0]),  # pacsai-jobs-1 knew nothing urgent
        state=_state(parts),
        submitted=_time(row.created_at),
        started=_time(min(started)) if started else None,
        updated=max(_time(part.updated_at) for part in parts),
        detail="; ".join(sentence for part in parts for sentence in _sentences(part)),
    )


def _state(parts: Sequence[Row]) -> State:
    statuses = {part.status for part in parts}
    if "PENDING" in statuses:
        return "running"
    if statuses & _UNDER_WAY:
        return "waiting"
    return "failed" if any(_sentences(part) for part in parts) else "done"


def _sentences(part: Row) -> list[str]:
    """Return what went wrong in a part that is over, or what a waiting delivery waits for."""
    if part.status == "SUCCESS":
        return list(part.output or ())
    if part.status == "ERROR":
        return [str(part.error) or "the job engine failed without saying why"]
    if part.status in _GIVEN_UP:
        return [_GIVEN_UP[part.status]]
    return _waits_for(part)


def _waits_for(part: Row) -> list[str]:
    if part.name != DELIVERY:
        return []
    _, pipeline, _, attempt, reason, *_ = part.input["args"]
    return [f"{pipeline}: waits for delivery {attempt}: {reason}"] if reason else []


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
