"""Fault injection: points at which a test lets the node die as by a power cut. Nothing happens unless one is armed.

`PACSAI_FAULT=NAME` arms a point, `NAME:3` its third passing; the environment is read once, at import. The process that
comes by is killed with SIGKILL, or with PACSAI_FAULT_GROUP=1 its whole process group: a test that sets this has started
the node in a session of its own. Knows nothing of what happens at the points.
"""

from __future__ import annotations

import os
import signal
from itertools import count

POINTS = {
    "intake.arrived": "all bytes of an instance are in its file, and not on the disk",
    "intake.flushed": "the bytes are on the disk, and have no name",
    "intake.named": "the file has its name, which is not flushed",
    "intake.kept": "file and name are flushed",
    "receiver.before_answer": "an instance is kept, its sender has no answer",
    "receiver.before_report": "senders have their answers, the gate knows nothing of what was kept",
    "gate.before_enter": "the gate knows what was kept, the index does not",
    "gate.entered": "the index knows what was kept",
    "completion.before_submit": "a study is complete, there is no job",
    "completion.submitted": "there is a job, the spool does not know that it was handed on",
    "completion.marked": "the spool knows that the study was handed on",
    "jobs.plan.before": "a job has begun and nothing is planned",
    "jobs.plan.done": "the plan is made and not recorded",
    "jobs.plan.recorded": "the plan is recorded, no analysis is queued",
    "jobs.analyse.before": "an analysis is about to begin",
    "jobs.analyse.done": "the results are packed, the analysis is not recorded",
    "jobs.analyse.recorded": "the analysis is recorded, the delivery is not queued",
    "jobs.deliver.before": "a delivery is about to begin",
    "jobs.deliver.done": "the results are delivered, the job does not know",
    "jobs.deliver.recorded": "the delivery is recorded, the job is not over",
    "withdrawal.before_pack": "our rejection note is made and not packed",
    "withdrawal.packed": "our rejection note is packed, the results that it names are not marked",
    "outbox.before_manifest": "the objects are copied, the parcel has no manifest",
    "outbox.before_rename": "the parcel is whole and not in its place",
    "outbox.renamed": "the parcel is in its place, the outbox is not flushed",
    "outbox.before_send": "nothing of a parcel is sent",
    "outbox.sent": "the archive has all, there is no record of its answers",
    "outbox.recorded": "the archive's answers are recorded, the study's story does not tell of them",
    "commitment.noted": "a question about commitment is noted and not put",
    "commitment.put": "the archive has the question, nothing of its answer is here",
    "commitment.told": "the story tells of commitment, the ledger does not know",
    "commitment.before_send_again": "the archive has not committed an object, it is not sent again",
    "commitment.sent_again": "the archive has the object again, the ledger does not know",
    "notice.kept": "a notice (here: an answer about commitment) is kept, its sender has no answer",
    "notice.dealt": "a notice is dealt with and not forgotten",
    "purge.told": "the story tells that images go, nothing is written down or deleted",
    "purge.planned": "what is to go is written down, all of it is there",
    "purge.forgotten": "an image is out of the index and still on the disk",
    "purge.images": "the images are deleted, the plan stands",
    "purge.results": "the results are deleted, the outbox does not say so",
    "stow.kept": "an instance that came by STOW-RS is kept, the index does not know",
    "stow.entered": "the index knows it, the body is not over",
    "stow.before_answer": "all instances of the body are kept, its sender has no answer",
}
"""Every point, and what is so when the node dies there."""


class UnknownPoint(ValueError):  # noqa: N818 (reads as what happened)
    """PACSAI_FAULT names no point: it would never fire."""


def _armed(wanted: str) -> tuple[str, int]:
    """Return the point that `wanted` arms, and at which passing it fires."""
    name, _, passing = wanted.partition(":")
    if name and name not in POINTS:
        raise UnknownPoint(f"PACSAI_FAULT={wanted}: no such point; there are {', '.join(POINTS)}")
    return name, int(passing or 1)


_NAME, _PASSING = _armed(os.environ.get("PACSAI_FAULT", ""))
_GROUP = os.environ.get("PACSAI_FAULT_GROUP") == "1"
_passings = count(1)


def point(name: str) -> None:
    """Die here if this point is armed."""
    if name == _NAME and next(_passings) >= _PASSING:
        _die()


def _die() -> None:
    if _GROUP:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
