"""A job's state and words, from the rows that the engine keeps."""

from __future__ import annotations

import pytest

from pacsai.jobs.listing import DELIVERY, JOB, Row, failed_parts, fold, next_attempt


def job_row(status: str = "SUCCESS", output: object = (), error: Exception | None = None) -> Row:
    return Row("j1", JOB, status, {"args": ["1.2", "r1", False, 1]}, output, error, 1000, 3000, 2000)


def delivery_row(pipeline: str, status: str, output: object = None, waits_for: str = "") -> Row:
    arguments = {"args": ["j1", pipeline, "parcel", 2, waits_for, False]}
    return Row(f"j1/{pipeline}/2", DELIVERY, status, arguments, output, None, 4000, 5000, None)


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([job_row("ENQUEUED")], "waiting"),
        ([job_row("PENDING")], "running"),
        ([job_row()], "done"),
        ([job_row(), delivery_row("a", "PENDING"), delivery_row("b", "DELAYED")], "running"),
        ([job_row(), delivery_row("a", "SUCCESS", []), delivery_row("b", "DELAYED")], "waiting"),
        ([job_row(output=["a: no"]), delivery_row("b", "ENQUEUED")], "waiting"),
        ([job_row(output=["a: no"]), delivery_row("b", "SUCCESS", [])], "failed"),
        ([job_row(), delivery_row("a", "SUCCESS", ["a: refused"])], "failed"),
        ([job_row("MAX_RECOVERY_ATTEMPTS_EXCEEDED")], "failed"),
        ([job_row("CANCELLED")], "failed"),
        ([job_row("ERROR", error=Exception("the disk is full"))], "failed"),
    ],
)
def test_state(rows: list[Row], state: str) -> None:
    [job] = fold(rows)
    assert job.state == state
    assert bool(job.detail) == (state == "failed" or any(row.output for row in rows))


def test_a_job_of_the_version_before_is_told_and_cannot_be_tried_again() -> None:
    old = Row("j1", JOB, "SUCCESS", {"args": ["1.2", "r1"]}, ["a: no"], None, 1000, 3000, 2000)
    [job] = fold([old])
    assert (job.state, job.urgent, failed_parts("j1", [old])) == ("failed", False, ())


def test_the_latest_attempt_at_each_part_counts() -> None:
    first = job_row(output=["the plan broke"])
    again, arguments = next_attempt(first)
    assert (again, arguments) == ("j1#2", ["1.2", "r1", False, 2])
    second = Row(again, JOB, "SUCCESS", {"args": arguments}, [], None, 4000, 5000, 4500)
    refused = delivery_row("a", "SUCCESS", ["a: refused"])
    assert [job.state for job in fold([first, second])] == ["done"]
    assert failed_parts("j1", [first, second, refused]) == (refused,)
    assert next_attempt(refused) == ("j1/a/3", ["j1", "a", "parcel", 3, "", False])


def test_what_a_delivery_waits_for_is_told() -> None:
    [job] = fold([job_row(), delivery_row("chest", "DELAYED", waits_for="the archive cannot be reached")])
    assert job.detail == "chest: waits for delivery 2: the archive cannot be reached"


def test_a_job_is_as_old_as_its_latest_part() -> None:
    [job] = fold([job_row(), delivery_row("chest", "SUCCESS", [])])
    assert job.started is not None
    assert (job.submitted.timestamp(), job.started.timestamp(), job.updated.timestamp()) == (1, 2, 5)


def test_a_study_that_kills_the_node_is_given_up_and_says_so() -> None:
    [job] = fold([job_row("MAX_RECOVERY_ATTEMPTS_EXCEEDED")])
    assert job.detail == "the node stopped each time it ran this; it is not tried again"
