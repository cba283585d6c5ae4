"""Jobs seen from outside the engine: listed, and run again, beside a running node or without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions
from sqlalchemy import URL, make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from pacsai.jobs.listing import Job, Row, failed_parts, fold, next_attempt, study_key


class JobsUnreachable(OSError):  # noqa: N818 (reads as what happened)
    """The jobs' database does not answer; the message says where it was looked for."""


def database_url(database: str, data: Path) -> str:
    """Return the database's URL; `database` is "sqlite" or a postgresql:// URL."""
    if database != "sqlite":
        return database
    return URL.create("sqlite", database=str(data.resolve() / "jobs.db")).render_as_string()


def list_jobs(url: str, study_instance_uid: str | None = None) -> tuple[Job, ...]:
    """Return the jobs kept at `database_url`, oldest first. Reads only, beside a running node or without one."""
    with _client(url) as client:
        prefix = study_key(study_instance_uid) if study_instance_uid else None
        return fold(row for row, _ in _rows(client, prefix))


def retry_jobs(url: str, which: str | None = None) -> tuple[Job, ...]:
    """Queue what failed once more: of all jobs, or of those whose id or Study Instance UID is `which`; return these.

    What succeeded is not repeated: a refused delivery sends the parcel that is packed, a failed analysis is analysed.
    """
    with _client(url) as client:
        found = _rows(client)
        if client is None:
            return ()
        failed = [
            job
            for job in fold(row for row, _ in found)
            if job.state == "failed" and which in (None, job.id, job.study_instance_uid)
        ]
        statuses = {row.workflow_id: status for row, status in found}
        for job in failed:
            for row in failed_parts(job.id, (row for row, _ in found)):
                _queue_again(client, row, statuses[row.workflow_id])
        return tuple(failed)


def _queue_again(client: DBOSClient, row: Row, status: Any) -> None:
    workflow_id, arguments = next_attempt(row)
    options: EnqueueOptions = {
        "workflow_name": row.name,
        "queue_name": status.queue_name,
        "workflow_id": workflow_id,
        "app_version": status.app_version,
        "application_name": status.application_name,
        "priority": status.priority,
    }
    client.enqueue(options, *arguments)


def _rows(client: DBOSClient | None, prefix: str | None = None) -> list[tuple[Row, Any]]:
    """Return the engine's rows, oldest first, each with all that the engine says of it."""
    if client is None:
        return []
    try:
        found = client.list_workflows(workflow_id_prefix=prefix)
    except (OperationalError, ProgrammingError) as error:
        if "no such table" in str(error.orig) or "does not exist" in str(error.orig):
            return []  # no node has started on this database yet, or the first is just making its tables
        raise
    return [(Row(**{one.name: getattr(status, one.name) for one in fields(Row)}), status) for status in found]


@contextmanager
def _client(url: str) -> Iterator[DBOSClient | None]:
    """Give a client of the engine's database, None where there is no such database yet.

    Raises
    ------
    JobsUnreachable
        The database does not answer.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).is_file():
        yield None
        return
    try:
        client = DBOSClient(
            system_database_url=url, serializer=DBOSPortableJSONSerializer(), retry_connection_errors=False
        )
    except OperationalError as error:
        if "does not exist" not in str(error.orig):
            raise JobsUnreachable(f"the jobs' database {address.host}:{address.port} cannot be reached") from error
        client = None
    if client is None:
        yield None
        return
    try:
        yield client
    finally:
        client.destroy()
