"""Jobs as a person reads them: one line per job from the rows that the job engine keeps. Pure; opens no database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

JOB = "job"
DELIVERY = "delivery"
"""The names of the two kinds of rows: one per job, and one per parcel, its latest delivery."""

State = Literal["waiting", "running", "done", "failed"]

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
    """Return one Job for each job row, with what became of its deliveries; in the order of the rows."""
    jobs: list[Row] = []
    deliveries: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.name == JOB:
            jobs.append(row)
        elif row.name == DELIVERY:
            job_id, pipeline, *_ = row.input["args"]
            deliveries.setdefault(job_id, {})[pipeline] = row
    return tuple(_job(row, deliveries.get(row.workflow_id, {})) for row in jobs)


def _job(row: Row, deliveries: Mapping[str, Row]) -> Job:
    parts = [row, *deliveries.values()]
    study_instance_uid, revision = row.input["args"]
    return Job(
        id=row.workflow_id,
        study_instance_uid=study_instance_uid,
        revision=revision,
        state=_state(parts),
        submitted=_time(row.created_at),
        started=_time(row.dequeued_at) if row.dequeued_at else None,
        updated=max(_time(part.updated_at) for part in parts),
        detail="; ".join(sentence for part in parts for sentence in _sentences(part)),
    )


def _state(parts: Iterable[Row]) -> State:
    parts = tuple(parts)
    statuses = {part.status for part in parts}
    if "PENDING" in statuses:
        return "running"
    if statuses & {"ENQUEUED", "DELAYED"}:
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
    if part.name == JOB:
        return []
    _, pipeline, _, attempt, reason = part.input["args"]
    return [f"{pipeline}: waits for delivery {attempt}: {reason}"] if reason else []


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
