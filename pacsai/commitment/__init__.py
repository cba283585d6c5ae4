"""Storage commitment (PS3.4 annex J), both ways: the archive commits what it was sent, peers learn what is safe here.

ledger    what was asked, answered and promised, durably
wire      one N-ACTION or N-EVENT-REPORT on one association
ask       as SCU: when the archive is asked, sent to again, given up
answer    as SCP: what a peer is told, and when
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from pacsai import notices
from pacsai.archive.base import Archive
from pacsai.commitment.answer import Answering
from pacsai.commitment.ask import Asking
from pacsai.commitment.ledger import Ledger, Request
from pacsai.commitment.wire import SOP_CLASS_UID, Requestor
from pacsai.config import DimseArchive, OrthancArchive, Site
from pacsai.dicom.tls import client_context
from pacsai.outbox import Outbox
from pacsai.spool import Spool

__all__ = ["Commitment", "Ledger", "Request", "asks"]

log = structlog.get_logger()

_PERIOD_S = 1.0
_LOOK_AGAIN_S = 300.0
_GRACE_S = 10.0


class Commitment:
    """Everything about commitment in one node: a thread that asks and answers, and who deals with its notices."""

    def __init__(self, site: Site, spool: Spool, archive: Archive) -> None:
        self._spool = spool
        self.ledger = Ledger(site.node.data / "commitment.db")
        requestor = Requestor(site.node.ae_title, client_context(site.node.tls) if site.node.tls else None)
        self.leads: Callable[[], bool] = lambda: True
        """Whether this node asks and answers for all on its data folder; asked right before each thing others see."""
        leads = lambda: self.leads()  # noqa: E731
        self._answering = Answering(site.node, requestor, ledger=self.ledger, spool=spool, leads=leads)
        self._asking = _asking(site, archive, requestor, spool, self.ledger, leads)
        self._ending = threading.Event()
        self._look_through_at = 0.0  # at once, for what was delivered before the site asked for commitment
        self._thread = threading.Thread(target=self._run, name="storage commitment", daemon=True)

    def start(self) -> None:
        """Begin to ask and to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Put no more questions, and close the ledger; what is left goes on at the next start."""
        self._ending.set()
        self._thread.join(_GRACE_S)
        if not self._thread.is_alive():  # a peer that does not answer must not hold the node up
            self.ledger.close()

    def delivered(self, parcel_id: str) -> None:
        """Take up a parcel that was delivered; a second time changes nothing."""
        if self._asking is None:
            return
        try:
            self._asking.expect(parcel_id)
        except OSError as error:  # it is delivered all the same
            log.error("a delivered parcel is not entered yet", reason=error.strerror)
            self._look_through_at = time.monotonic() + _LOOK_AGAIN_S

    def handlers(self) -> dict[tuple[notices.Service, str], notices.Handler]:
        """Return who deals with which notice."""
        return {("N-ACTION", SOP_CLASS_UID): self._answering.hear, ("N-EVENT-REPORT", SOP_CLASS_UID): self._hear}

    def _hear(self, notice: notices.Notice) -> None:
        if self._asking is not None:
            self._asking.hear(notice)
            return
        reason = "the settings ask no archive for commitment"
        who = notice.calling_ae_title
        self._spool.story.tell("commitment answer ignored", calling_ae_title=who, reason=reason)

    def _run(self) -> None:
        while not self._ending.wait(_PERIOD_S):
            if self._asking is not None:
                self._look_through(self._asking)
                _guarded(self._asking.round)
            _guarded(self._answering.round)

    def _look_through(self, asking: Asking) -> None:
        if time.monotonic() >= self._look_through_at:
            self._look_through_at = float("inf")
            if not _guarded(asking.expect_delivered):
                self._look_through_at = time.monotonic() + _LOOK_AGAIN_S


def _guarded(act: Callable[[], None]) -> bool:
    """Do `act` and tell whether it went well; a full disk or an odd peer must not end the thread."""
    try:
        act()
    except Exception:
        log.exception("storage commitment stumbled; it goes on")
        return False
    return True


def asks(site: Site) -> bool:
    """Return whether the site's archive is asked for commitment."""
    return isinstance(site.archive, DimseArchive | OrthancArchive) and site.archive.commitment


def _asking(
    site: Site, archive: Archive, requestor: Requestor, spool: Spool, ledger: Ledger, leads: Callable[[], bool]
) -> Asking | None:
    if not isinstance(site.archive, DimseArchive | OrthancArchive) or not site.archive.commitment:
        return None
    return Asking(
        site.archive,
        archive,
        requestor,
        outbox=Outbox(site.node.data / "outbox"),
        ledger=ledger,
        spool=spool,
        keep=partial(notices.keep, site.node.data / "notices"),
        leads=leads,
    )
