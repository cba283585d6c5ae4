"""One Store transaction (PS3.18 10.5): the body's parts go to the spool while it streams in, then each is answered.

An instance is named in the answer as stored only once it is durable. Where the body breaks off or turns out malformed,
what had come whole before is kept and nothing is claimed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

import structlog

from pacsai import faults
from pacsai.dicom.identity import Refusal
from pacsai.web.answer import CANNOT_UNDERSTAND, Outcome
from pacsai.web.instance import Instance
from pacsai.web.keeper import Keeper
from pacsai.web.multipart import Parser, media_type

log = structlog.get_logger()

TOLD_REASONS = 20
"""How many different reasons for refusal one upload puts into stories: some hold what the peer sent."""


class Upload:
    """Takes one body, in any pieces; the methods block, and may be called by any thread, one after the other.

    Parameters
    ----------
    keeper : Keeper
        Where instances go.
    boundary : str
        From the Content-Type; raises MalformedBody where it can be none.
    study_instance_uid : str
        The study in the URL, '' for none.
    address : str
        Of the peer, for stories.
    service : str
        By which the body came, for stories.
    """

    def __init__(
        self, keeper: Keeper, boundary: str, study_instance_uid: str, address: str, service: str = "STOW-RS"
    ) -> None:
        self._keeper = keeper
        self._study_instance_uid = study_instance_uid
        self._address = address
        self._service = service
        self._parser = Parser(boundary, self)
        self._instance: Instance | None = None
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._ended = False
        self.outcomes: list[Outcome] = []

    def take(self, block: bytes) -> None:
        """Take the next bytes of the body; raises MalformedBody."""
        with self._lock:
            if not self._ended:
                self._parser.feed(block)

    def finish(self) -> None:
        """Say that the body has ended; raises MalformedBody where its last boundary has not come."""
        with self._lock:
            self._parser.finish()

    def close(self) -> None:
        """Forget what has begun and not ended."""
        with self._lock:
            self._ended = True
            if self._instance is not None:
                self._instance.close()
                self._instance = None

    def stored(self) -> int:
        """Return how many instances have been kept."""
        return sum(not outcome.failure for outcome in self.outcomes)

    def counts(self) -> dict[str, int]:
        """Return how many parts ended in which way."""
        return Counter(_word(outcome) for outcome in self.outcomes)

    # What the parser calls

    def part(self, headers: Mapping[str, str]) -> None:
        """Begin a part."""
        self._instance = Instance(self._keeper, self._study_instance_uid)
        kind, _ = media_type(headers.get("content-type", "application/dicom"))
        if kind != "application/dicom":
            self._instance.refuse(Refusal(CANNOT_UNDERSTAND, "a part is not application/dicom"))

    def data(self, view: memoryview) -> None:
        """Take the next bytes of the part."""
        if self._instance is not None:
            self._instance.write(view)

    def part_end(self) -> None:
        """End the part; only now is it kept."""
        instance, self._instance = self._instance, None
        if instance is None:
            return
        outcome = instance.end()
        self.outcomes.append(outcome)
        faults.point("stow.entered")
        if instance.refusal is not None:
            self._tell(outcome, instance.refusal)

    def _tell(self, outcome: Outcome, refusal: Refusal) -> None:
        """Tell of a refusal where a person will look for it; each reason once for an upload."""
        if refusal.reason in self._told or len(self._told) >= TOLD_REASONS:
            return
        self._told.add(refusal.reason)
        details = {"reason": refusal.reason, "status": f"0x{refusal.status:04X}"}
        log.warning("instance refused", **details)
        self._keeper.story_of(refusal.study_instance_uid).tell(
            "refused",
            **details,
            sop_instance_uid=outcome.sop_instance_uid,
            study_instance_uid=refusal.study_instance_uid,
            service=self._service,
            address=self._address,
        )


def _word(outcome: Outcome) -> str:
    if outcome.failure:
        return "refused"
    return "conflict" if outcome.warning else "kept"
