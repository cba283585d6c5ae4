"""As SCU: the archive is asked to commit what it was sent, until it has, or it is plain that it does not.

A delivered parcel is asked for at once. No answer: asked anew with a new transaction after growing pauses; old
transactions stay answerable, so that one which comes days later still counts. Not committed: sent again, asked anew, a
few times, then told in the study's story.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httpx
import structlog
from pydicom.uid import generate_uid

from pacsai import faults
from pacsai.archive.base import Archive, ArchiveUnavailable
from pacsai.archive.fenced import Fenced
from pacsai.commitment import wire
from pacsai.commitment.ledger import Ledger, Reference, Request, pause_s
from pacsai.commitment.wire import Declined, Peer, Requestor, Unreachable
from pacsai.config import DimseArchive, OrthancArchive
from pacsai.notices import Notice
from pacsai.outbox import Outbox, ParcelError
from pacsai.spool import Spool
from pacsai.story import Story

log = structlog.get_logger()

_DAY_S = 86400
_DOWN_S, _DOWN_LONGEST_S = 1.0, 300.0
"""Pauses while the archive cannot be reached: that is no question put, and soon over."""


class NotLeading(Exception):  # noqa: N818 (reads as what happened)
    """Another node asks for all by now, or may do so soon."""


Committer = DimseArchive | OrthancArchive


class Asking:
    """Asks one archive about the parcels of one outbox.

    Parameters
    ----------
    settings : DimseArchive or OrthancArchive
        The archive, and how patient to be with it.
    archive : Archive
        Takes objects again that it has not committed.
    keep : callable
        Keeps a notice durably; answers are dealt with as notices, wherever they came.
    leads : callable
        Whether this node asks, of those that share the outbox; asked right before each thing that others see.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        settings: Committer,
        archive: Archive,
        requestor: Requestor,
        *,
        outbox: Outbox,
        ledger: Ledger,
        spool: Spool,
        keep: Callable[[Notice], object],
        leads: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._archive = Fenced(archive, self._check_lead)
        self._requestor = requestor
        self._outbox = outbox
        self._ledger = ledger
        self._spool = spool
        self._keep = keep
        self._leads = leads
        self._clock = clock
        self._answers_at_once = True
        self._failures = 0
        self._told = ""
        self._not_before = 0.0

    def expect(self, parcel_id: str) -> None:
        """Enter a delivered parcel, durably; a second time changes nothing."""
        parcel = self._outbox.read(parcel_id)
        objects = [Reference(one.sop_class_uid, one.sop_instance_uid) for one in parcel.objects]
        if objects and not self._outbox.withdrawn(parcel_id):
            self._ledger.expect(parcel_id, parcel.study_instance_uid, objects, self._clock())

    def expect_delivered(self) -> None:
        """Enter the parcels that were delivered and never entered, as before the site asked for commitment."""
        for parcel in self._outbox.parcels():
            delivery = self._outbox.delivery(parcel.id)
            if delivery is not None and not delivery.refused and self._ledger.request(parcel.id) is None:
                self.expect(parcel.id)

    def round(self) -> None:
        """Ask about every parcel whose turn it is."""
        if self._clock() < self._not_before or not self._ledger.due(self._clock()) or not self._leads():
            return
        self._answers_at_once = True
        for request in self._ledger.due(self._clock()):
            try:
                self._ask_about(request)
                self._failures, self._told = 0, ""
            except NotLeading:
                return
            except (Unreachable, ArchiveUnavailable) as error:
                self._failures += 1
                pause = min(pause_s(_DOWN_S, self._failures), _DOWN_LONGEST_S)
                self._not_before = self._clock() + pause
                log.warning("the archive cannot be asked for commitment now", reason=str(error), pause_s=pause)
                self._tell_once(str(error))
                return

    def _tell_once(self, reason: str) -> None:
        """Tell the node's story why the archive cannot be asked, once for as long as it lasts."""
        if reason != self._told:
            self._told = reason
            self._spool.story.tell("commitment waits", reason=reason)

    def _check_lead(self) -> None:
        if not self._leads():
            raise NotLeading

    def _ask_about(self, request: Request) -> None:
        self._check_lead()
        if self._outbox.withdrawn(request.parcel_id):  # the archive may have deleted it, as it should
            self._ledger.settle(request.parcel_id, "withdrawn")
            return
        if self._clock() - request.since > self._settings.commitment_days * _DAY_S:
            self._give_up(request, f"no answer in {self._settings.commitment_days:g} days")
            return
        if request.failed:
            self._send_again(request)
        try:
            self._put(request)
        except Declined as declined:
            # Asked about as if it had not answered: the archive may be made to know us meanwhile.
            self._story(request).tell("commitment refused", parcel=request.parcel_id, reason=str(declined))
            asked = request.asked + 1
            self._ledger.postpone(request.parcel_id, self._next_at(asked), asked)

    def _put(self, request: Request) -> None:
        """Ask, and wait a little for the answer; while the archive does not answer at once, later parcels do not."""
        peer = self._peer()
        self._check_lead()
        with self._requestor.question(peer, self._keep) as question:
            transaction_uid = str(generate_uid(prefix=None))
            self._ledger.asking(request, transaction_uid, peer.ae_title, self._next_at(request.asked + 1))
            self._story(request).tell(
                "commitment asked", parcel=request.parcel_id, objects=len(request.waiting), times=request.asked + 1
            )
            faults.point("commitment.noted")
            question.put(transaction_uid, request.waiting)
            faults.point("commitment.put")
            if self._answers_at_once:
                self._answers_at_once = question.wait(self._settings.commitment_wait_s)

    def _send_again(self, request: Request) -> None:
        reasons = _reasons(request.failed)
        faults.point("commitment.before_send_again")
        try:
            answers = self._outbox.send_again(request.parcel_id, set(request.failed), self._archive)
        except ParcelError as error:
            self._give_up(request, f"{reasons}; {error}")
            return
        faults.point("commitment.sent_again")
        refused = sum(not answer.accepted for answer in answers)
        self._ledger.resent(request.parcel_id)
        self._story(request).tell(
            "sent again", parcel=request.parcel_id, objects=len(answers), refused=refused, reason=reasons
        )

    def _next_at(self, asked: int) -> float:
        return self._clock() + pause_s(self._settings.commitment_retry_s, asked)

    def _give_up(self, request: Request, reason: str) -> None:
        self._story(request).tell("not committed", parcel=request.parcel_id, reason=reason)
        self._ledger.settle(request.parcel_id, "not committed")

    def _peer(self) -> Peer:
        settings = self._settings
        if isinstance(settings, DimseArchive):
            return Peer(settings.ae_title, settings.host, settings.port, settings.tls, settings.certificate)
        try:
            said = httpx.get(f"{settings.url}/system", timeout=10, trust_env=False).raise_for_status().json()
            return Peer(str(said["DicomAet"]), str(urlsplit(settings.url).hostname), int(said["DicomPort"]))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise Unreachable(f"Orthanc at {settings.url} does not tell its DICOM port: {error}") from error

    # The answer

    def hear(self, notice: Notice) -> None:
        """Deal with an N-EVENT-REPORT, on whichever association it came."""
        answer = notice.content()
        transaction_uid = str(answer.get("TransactionUID", ""))
        who = notice.calling_ae_title
        if self._ledger.asked(transaction_uid, who) is None:
            reason = "no such transaction with this AE title"
            self._spool.story.tell("commitment answer ignored", calling_ae_title=who, reason=reason)
            return
        committed = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence", ())}
        failed = {
            str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", wire.PROCESSING_FAILURE))
            for item in answer.get("FailedSOPSequence", ())
        }
        self._take(transaction_uid, who, committed, failed)

    def _take(self, transaction_uid: str, who: str, committed: set[str], failed: dict[str, int]) -> None:
        """Enter an answer; told before it is kept: a crash between tells it twice rather than never."""
        with self._ledger.changes():  # in which no other node may do the same
            asked = self._ledger.asked(transaction_uid, who)
            assert asked is not None  # noqa: S101 - a question is never taken out
            parcel_id, answered = asked
            before = self._ledger.request(parcel_id)
            self._ledger.answered(transaction_uid, parcel_id, committed, {} if answered else failed)
            after = self._ledger.request(parcel_id)
            if before and after and not answered and before.state != "committed":
                self._conclude(after)

    def _conclude(self, request: Request) -> None:
        settings = self._settings
        if not request.waiting:
            self._story(request).tell("committed", parcel=request.parcel_id)
            faults.point("commitment.told")
            self._ledger.settle(request.parcel_id, "committed")
        elif request.failed and request.state == "open":
            if request.resent >= settings.commitment_resends:
                times = f", sent again {request.resent} times" if request.resent else ""
                self._give_up(request, f"{_reasons(request.failed)}{times}")
            else:
                pause = pause_s(settings.commitment_retry_s, request.resent) if request.resent else 0
                self._ledger.postpone(request.parcel_id, self._clock() + pause)

    def _story(self, request: Request) -> Story:
        return self._spool.story_of(request.study_instance_uid)


def _reasons(failed: Mapping[str, int]) -> str:
    """Return why so many objects failed, in words."""
    return f"{len(failed)} objects: {'; '.join(sorted({wire.reason_in_words(code) for code in failed.values()}))}"
