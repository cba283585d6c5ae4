"""One receiver process: it takes connections from the node, and holds their associations, each in a thread.

`python -m pacsai.dicom.scp.worker DESCRIPTOR`: the descriptor is its end of a channel; when the channel ends, the node
wants it to, or is dead. Nothing is decided here that concerns more than this process: whether there is room for one
more association, the node is asked.
"""

from __future__ import annotations

import gc
import itertools
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import structlog

from pacsai import faults, notices
from pacsai.dicom.callers import permitted
from pacsai.dicom.scp import wire
from pacsai.dicom.scp.association import Conversation, Services
from pacsai.dicom.scp.channel import Channel, Ended
from pacsai.dicom.scp.doorstep import Caller, Unsafe
from pacsai.dicom.scp.negotiation import Negotiator, titles
from pacsai.dicom.scp.setup import Setup
from pacsai.dicom.scp.storing import Store, Visit
from pacsai.dicom.scp.telling import Teller
from pacsai.dicom.scp.wire import Bounds, Gone, PduReader, PlainWire, TlsWire, Violation, Wire
from pacsai.dicom.tls import certificate_names, server_context
from pacsai.logs import configure_logs
from pacsai.spool.index import IndexReader
from pacsai.spool.intake import Intake, Kept, key
from pacsai.story import Story

log = structlog.get_logger()

_TICK_S = 1.0
_REPORT_S = 0.2
_REPORT_AT_ONCE = 200
"""So many fit into one message of the channel."""

_LAST_WORDS_S = 2.0
"""How long a thread may take to finish what it keeps when the process ends."""


class Worker:
    """The process: a loop over the channel and the doorstep, and a thread for each association."""

    def __init__(self, channel: Channel, setup: Setup, context: ssl.SSLContext | None) -> None:
        node, limits = setup.node, setup.node.limits
        self._node = node
        self._channel = channel
        self._context = context
        self._selector = selectors.DefaultSelector()
        self._callers: dict[int, Caller] = {}
        self._asking: dict[int, Caller] = {}
        self._share = max(1, limits.connections // node.receivers)
        self._kept: deque[Kept] = deque()
        self._posts: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._associations: dict[threading.Thread, Caller] = {}
        self._teller = Teller(Story(node.data / "story.jsonl"))
        self._negotiator = Negotiator(limits.pdu_kb * 1024, setup.transfer_syntaxes)
        self._bounds = Bounds(limits.pdu_kb * 1024, int(limits.association_gb * 1e9), limits.network_timeout_s)
        self._intake = Intake(node.data, IndexReader(node.data / "index.db").study_of, flushed=setup.flushed)
        self._services = Services(
            Store(limits, self._intake, self._kept.append, self._story_of), partial(notices.keep, node.data / "notices")
        )

    def run(self) -> None:
        """Serve until the channel ends; then abort what is left."""
        for task in (self._post_all, self._report_now_and_then):
            threading.Thread(target=task, daemon=True).start()
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._channel.send({"ready": True})
        try:
            while True:
                for selected, _ in self._selector.select(_TICK_S):
                    if selected.data is None:
                        self._on_message(*self._channel.receive())
                    else:
                        self._on_caller(selected.data)
                self._drop_late()
                self._teller.tell_rest()
                self._intake.tidy()
        except Ended:
            self._abort_all()

    # From the node

    def _on_message(self, message: dict[str, Any], connection: socket.socket | None) -> None:
        if connection is not None:
            self._welcome(message, connection)
            return
        caller = self._asking.pop(message["slot"])
        if message["refusal"]:
            self._reject(caller, wire.LOCAL_LIMIT_EXCEEDED, message["refusal"])
            self._part(caller)
        else:
            thread = threading.Thread(target=self._associate, args=(caller,), daemon=True)
            self._associations[thread] = caller
            thread.start()

    def _welcome(self, message: dict[str, Any], connection: socket.socket) -> None:
        deadline = time.monotonic() + self._node.limits.request_timeout_s
        context = self._context if message["tls"] else None
        try:
            caller = Caller.arrived(message["call"], message["address"], connection, deadline, context)
        except Gone:
            self._posts.put({"gone": message["call"]})
            return
        self._callers[caller.id] = caller
        self._selector.register(caller.connection, caller.events, caller)
        if len(self._callers) > self._share:
            oldest = next(iter(self._callers.values()))
            self._drop(oldest, "there are too many connections that ask for no association")

    # The doorstep

    def _on_caller(self, caller: Caller) -> None:
        if caller.id not in self._callers:
            return  # dropped in this same round
        events = caller.events
        try:
            whole = caller.advance()
        except Violation as violation:
            self._drop(caller, str(violation), wire.abort(violation.reason))
        except Unsafe as unsafe:
            self._drop(caller, f"TLS handshake failed: {unsafe}")
        except Gone:
            self._drop(caller, "")
        else:
            if whole:
                self._leave_doorstep(caller)
                self._asking[caller.id] = caller
                self._posts.put({"ask": caller.id})
            elif caller.events != events:
                self._selector.modify(caller.connection, caller.events, caller)

    def _drop_late(self) -> None:
        now = time.monotonic()
        for caller in [*itertools.takewhile(lambda one: one.deadline <= now, self._callers.values())]:
            self._drop(caller, "no association was asked for in time")

    def _drop(self, caller: Caller, reason: str, last_words: bytes = b"") -> None:
        """Close a connection at the door; '' is a peer that left by itself, of which nothing need be told."""
        self._leave_doorstep(caller)
        if last_words:
            with suppress(OSError):
                caller.connection.send(last_words)
        if reason:
            self._teller.tell("connection dropped", address=caller.address, reason=reason)
        self._part(caller)

    def _leave_doorstep(self, caller: Caller) -> None:
        del self._callers[caller.id]
        self._selector.unregister(caller.connection)

    def _part(self, caller: Caller) -> None:
        with suppress(OSError):
            caller.connection.close()
        self._posts.put({"gone": caller.id})

    # Associations

    def _associate(self, caller: Caller) -> None:
        """Hold the association of `caller`; the whole life of a thread."""
        calling, _ = titles(bytes(caller.request[:80]))
        visit = Visit(calling, caller.address)
        try:
            self._converse(caller, visit)
        except Violation as violation:
            self._abort(caller, visit, str(violation), violation.reason)
        except TimeoutError:
            self._abort(caller, visit, f"nothing came for {self._node.limits.network_timeout_s:g} s")
        except Gone:
            visit.outcomes["broken off"] += 1
        except Exception:
            log.exception("an association broke")
            self._abort(caller, visit, "an error of this node's own; its log says more")
        finally:
            if visit.outcomes:
                log.info("association ended", address=visit.address, **visit.outcomes)
            del self._associations[threading.current_thread()]
            self._part(caller)

    def _converse(self, caller: Caller, visit: Visit) -> None:
        line = self._wire(caller)
        if not self._may_call(caller):
            return
        try:
            agreement = self._negotiator.agree(bytes(caller.request))
        except ValueError as error:
            raise Violation(str(error), wire.INVALID_PARAMETER) from error
        caller.request.clear()
        line.send(agreement.answer)
        Conversation(line, PduReader(line, self._bounds), agreement.contexts, self._services, visit).hold()

    def _wire(self, caller: Caller) -> Wire:
        timeout_s = self._node.limits.network_timeout_s
        if isinstance(caller.connection, ssl.SSLSocket):
            return TlsWire(caller.connection, timeout_s)
        return PlainWire(caller.connection, timeout_s)

    def _may_call(self, caller: Caller) -> bool:
        calling, called = titles(bytes(caller.request[:80]))
        if called != self._node.ae_title:
            reason = f"called AE title is not {self._node.ae_title}"
            self._reject(caller, wire.CALLED_AE_TITLE_NOT_RECOGNIZED, reason)
            return False
        refusal = permitted(self._node.callers, calling, caller.address, _names(caller))
        if refusal:
            self._reject(caller, wire.CALLING_AE_TITLE_NOT_RECOGNIZED, refusal)
        return not refusal

    def _reject(self, caller: Caller, why: tuple[int, int, int], reason: str) -> None:
        calling, called = titles(bytes(caller.request[:80]))
        self._teller.tell(
            "association rejected",
            address=caller.address,
            reason=reason,
            calling_ae_title=calling,
            called_ae_title=called,
        )
        with suppress(OSError):
            caller.connection.send(wire.rejection(*why))

    def _abort(self, caller: Caller, visit: Visit, reason: str, code: int = 0) -> None:
        """Send A-ABORT, and read on for a moment: closing on unread bytes would take the words back."""
        visit.outcomes["aborted here"] += 1
        self._teller.tell(
            "connection dropped", address=caller.address, reason=reason, calling_ae_title=visit.calling_ae_title
        )
        with suppress(OSError):
            caller.connection.settimeout(1)
            caller.connection.send(wire.abort(code))
            caller.connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 1
            while time.monotonic() < end and caller.connection.recv(1 << 16):
                pass

    def _abort_all(self) -> None:
        """Tell the peers that are left that it ends, and let their threads finish what they are keeping."""
        threads = dict(self._associations)
        for caller in threads.values():
            with suppress(OSError):
                if not isinstance(caller.connection, ssl.SSLSocket):  # OpenSSL does not serve two threads at once
                    caller.connection.send(wire.abort())
                socket.socket.shutdown(caller.connection, socket.SHUT_RDWR)
        end = time.monotonic() + _LAST_WORDS_S
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._teller.tell_rest(at_once=True)
        with suppress(Ended):
            self._report()

    # To the node

    def _report_now_and_then(self) -> None:
        """Report what was kept, many at once: no sender waits for it, and what is lost the gate finds in the spool."""
        with suppress(Ended):
            while True:
                time.sleep(_REPORT_S)
                self._report()

    def _report(self) -> None:
        while some := [*itertools.islice(iter(self._next_kept, None), _REPORT_AT_ONCE)]:
            faults.point("receiver.before_report")
            told = [[kept.study_instance_uid, kept.sop_instance_uid, kept.reception] for kept in some]
            self._channel.send({"kept": told})

    def _next_kept(self) -> Kept | None:
        try:
            return self._kept.popleft()
        except IndexError:
            return None

    def _post_all(self) -> None:
        """Send what the loop has to say: it must not wait itself, since the node may be waiting for it to read."""
        with suppress(Ended):
            while True:
                self._channel.send(self._posts.get())

    def _story_of(self, study_instance_uid: str) -> Story:
        """Return the story of the study if anything of it is here, else the node's own."""
        folder = self._node.data / "spool" / key(study_instance_uid)
        return Story((folder if folder.is_dir() else self._node.data) / "story.jsonl")


def _names(caller: Caller) -> frozenset[str] | None:
    """Return the names of the peer's certificate, None without TLS."""
    certificate = caller.certificate()
    return None if certificate is None else certificate_names(certificate)


def main() -> None:
    """Serve on the channel whose descriptor is the argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the node is told as well, and ends the channel when it has drained
    configure_logs()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    with suppress(Ended):
        message, _ = channel.receive()
        setup = Setup.of(message)
        gc.freeze()  # what was imported stays: looking through it again and again took a sixth of the time of an image
        gc.set_threshold(50_000, 20, 20)
        tls = setup.node.tls
        Worker(channel, setup, server_context(tls) if tls and tls.port is not None else None).run()


if __name__ == "__main__":
    main()
