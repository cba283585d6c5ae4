"""The gate: it listens, shares connections out among the receiver processes, and keeps the limits of the whole node.

Connections are accepted here and handed over as open descriptors, each to the process that has the fewest: so load is
even, limits are exact, and a process that dies takes no listening socket with it. It is started anew, and the spool
looked through for what it kept and could not report any more. One that cannot come up is tried again after growing
pauses; where the TLS files are at fault, it serves the plain port until they are in order.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any

import structlog

from pacsai.config import Node
from pacsai.dicom.decoders import decodable_syntaxes
from pacsai.dicom.scp.backoff import FIRST_S, Backoff
from pacsai.dicom.scp.channel import Channel, Ended, pair
from pacsai.dicom.scp.setup import Setup
from pacsai.dicom.scp.tlswatch import TlsWatch
from pacsai.spool import Kept, Reception, Spool
from pacsai.story import utc_now

log = structlog.get_logger()

_BACKLOG = 1024
_START_S = 60
_TICK_S = 0.25
_MESSAGES_AT_ONCE = 256
_RETRY_S = 5.0
_GRACE_S = 5.0


@dataclass(slots=True, eq=False)
class Helper:
    """One receiver process as the gate sees it.

    Attributes
    ----------
    connections : dict
        The peer's address of each connection it holds, by number.
    slots : set
        The connections of these that are associations.
    tls, retired : bool
        Whether it can take TLS connections; whether it takes no new ones at all, and ends when it has none.
    """

    process: subprocess.Popen[bytes]
    channel: Channel
    ready: bool = False
    connections: dict[int, str] = field(default_factory=dict)
    slots: set[int] = field(default_factory=set)
    tls: bool = True
    retired: bool = False

    def takes(self, kind: str) -> bool:
        """Return whether it can be given a connection of the port `kind`."""
        return self.ready and not self.retired and (self.tls or kind == "plain")


class Receiver:
    """Listens for one node and keeps what arrives in its spool.

    Parameters
    ----------
    node : Node
        AE title, address, callers and limits.
    spool : Spool
        Where arrivals go.
    clock : callable
        The present moment in UTC.
    flushed : bool
        False only to measure what flushing costs: then nothing survives a power cut.
    """

    def __init__(
        self, node: Node, spool: Spool, clock: Callable[[], datetime] = utc_now, *, flushed: bool = True
    ) -> None:
        self._node = node
        self._spool = spool
        self._clock = clock
        self._flushed = flushed
        self._listeners: dict[str, socket.socket] = {}
        self._listening: set[str] = set()
        self._missing = 0
        self._start_again = Backoff()
        self._tls = TlsWatch(node.tls, spool.story)
        self._helpers: list[Helper] = []
        self._numbers = count(1)
        self._selector = selectors.DefaultSelector()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._drained_by = 0.0
        self._look_through_at = float("inf")
        self._setup: Setup | None = None

    @property
    def port(self) -> int:
        """Return the plain port this receiver listens on, which the system chose where the settings say 0."""
        return self._port("plain")

    @property
    def tls_port(self) -> int:
        """Return the TLS port this receiver listens on."""
        return self._port("tls")

    @property
    def ports(self) -> dict[str, int]:
        """Return the ports that are listened on: `dicom` the plain one, `dicom_tls` the other."""
        names = {"plain": "dicom", "tls": "dicom_tls"}
        return {names[kind]: self._port(kind) for kind in self._listeners}

    def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            When an address cannot be listened on.
        RuntimeError
            When no receiver process comes up.
        TlsError
            When the TLS settings cannot be used.
        """
        self._tls.check()
        if self._node.port is not None:
            self._listeners["plain"] = self._listener(self._node.port)
        if self._node.tls is not None and self._node.tls.port is not None:
            self._listeners["tls"] = self._listener(self._node.tls.port)
        self._setup = Setup(self._node, tuple(map(str, decodable_syntaxes())), self._flushed)
        self._helpers = [self._started() for _ in range(self._node.receivers)]
        self._await_ready()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    def stop(self, drain_s: float = 15) -> None:
        """Take no new association, give the running ones `drain_s` seconds to end, and abort those left."""
        if self._thread is None:
            return
        self._drained_by = time.monotonic() + drain_s
        self._stopping.set()
        self._thread.join()
        self._thread = None

    # Starting

    def _listener(self, port: int) -> socket.socket:
        address = (self._node.host, port)
        try:
            listener = socket.create_server(address, backlog=_BACKLOG)
        except OSError as error:
            self._close_listeners()
            raise OSError(error.errno, f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from None
        listener.setblocking(False)
        return listener

    def _started(self, *, with_tls: bool = True) -> Helper:
        """Start a receiver process; it is ready once it says so."""
        assert self._setup is not None  # noqa: S101
        plain = self._node.model_copy(update={"tls": None})
        setup = self._setup if with_tls else replace(self._setup, node=plain)
        channel, theirs = pair()
        with theirs:
            command = [sys.executable, "-m", "pacsai.dicom.scp.worker", str(theirs.fileno())]
            # Its output goes to the log: the node's standard output has one line, "ready".
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[theirs.fileno()])
        helper = Helper(process, channel, tls=with_tls)
        channel.send(setup.as_message())
        self._selector.register(channel, selectors.EVENT_READ, helper)
        return helper

    def _await_ready(self) -> None:
        end = time.monotonic() + _START_S
        while self._missing or not all(helper.ready for helper in self._helpers):
            died = self._missing or any(helper.process.poll() is not None for helper in self._helpers)
            if died or time.monotonic() > end:
                self._end()
                raise RuntimeError("the receiver's processes do not come up; the log says more")
            self._round()

    # Running

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._listen({kind for kind in self._listeners if any(helper.takes(kind) for helper in self._helpers)})
            self._guarded_round()
        self._listen(set())
        self._close_listeners()
        while any(helper.slots for helper in self._helpers) and time.monotonic() < self._drained_by:
            self._guarded_round()
        self._end()

    def _guarded_round(self) -> None:
        try:
            self._round()
        except Exception:
            log.exception("the receiver's gate stumbled; it goes on")
            time.sleep(_TICK_S)

    def _round(self) -> None:
        kept: list[Kept] = []
        for selected, _ in self._selector.select(_TICK_S):
            if isinstance(selected.data, Helper):
                self._hear(selected.data, kept)
            else:
                self._accept(selected.data)
        self._enter(kept)
        if time.monotonic() > self._look_through_at:
            self._look_through()
        self._tls.check_daily()
        if not self._stopping.is_set():
            self._look_after_tls()
            self._start_missing()

    def _listen(self, wanted: set[str]) -> None:
        """Accept connections of the ports `wanted`; others wait while there is nobody to hand them to."""
        for kind in wanted - self._listening:
            self._selector.register(self._listeners[kind], selectors.EVENT_READ, kind)
        for kind in self._listening - wanted:
            self._selector.unregister(self._listeners[kind])
        self._listening = wanted

    def _accept(self, kind: str) -> None:
        """Hand a new connection to the process that has the fewest."""
        with suppress(BlockingIOError, ConnectionError):
            connection, address = self._listeners[kind].accept()
            with connection:
                ready = [helper for helper in self._helpers if helper.takes(kind)]
                if not ready:
                    return
                helper = min(ready, key=lambda one: len(one.connections))
                number = next(self._numbers)
                helper.connections[number] = address[0]
                with suppress(Ended):  # its own message tells of its end
                    helper.channel.send({"call": number, "address": address[0], "tls": kind == "tls"}, connection)

    def _hear(self, helper: Helper, kept: list[Kept]) -> None:
        """Take the messages that have come from a process, not more than a round should last."""
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                message = helper.channel.receive_if_any()
            except Ended:
                self._bury(helper)
                return
            if message is None:
                return
            if "kept" in message:
                kept.extend(Kept(study, instance, Reception(became)) for study, instance, became in message["kept"])
            else:
                self._heed(helper, message)

    def _heed(self, helper: Helper, message: dict[str, Any]) -> None:
        if "ask" in message:
            number = message["ask"]
            refusal = self._refusal(helper.connections[number])
            if not refusal:
                helper.slots.add(number)
            with suppress(Ended):
                helper.channel.send({"slot": number, "refusal": refusal})
        elif "gone" in message:
            helper.connections.pop(message["gone"], None)
            helper.slots.discard(message["gone"])
        else:
            helper.ready = True
            self._start_again.worked()

    def _refusal(self, address: str) -> str:
        """Return why there is no room for one more association from `address`, '' where there is."""
        limits = self._node.limits
        held = Counter(helper.connections[number] for helper in self._helpers for number in helper.slots)
        if held.total() >= limits.associations:
            return f"there are {limits.associations} associations already"
        if held[address] >= limits.associations_per_peer:
            return f"there are {limits.associations_per_peer} associations of this address already"
        return ""

    # What was kept

    def _enter(self, kept: list[Kept]) -> None:
        """Enter what is durable; where that fails, the folders still hold it and are looked through later."""
        if not kept:
            return
        try:
            self._spool.enter(kept, self._clock())
        except Exception as error:  # a full or failing disk
            log.error("instances are kept and not entered yet", instances=len(kept), reason=type(error).__name__)
            self._look_through_at = time.monotonic() + _RETRY_S

    def _look_through(self) -> None:
        """Enter what the folders hold and nobody reported, without keeping peers waiting."""
        self._look_through_at = float("inf")

        def look() -> None:
            try:
                entered = self._spool.scan()
                log.info("spool looked through", instances_entered=entered)
            except Exception as error:
                log.error("the spool could not be looked through; trying again", reason=type(error).__name__)
                self._look_through_at = time.monotonic() + _RETRY_S

        threading.Thread(target=look, name="looking through the spool", daemon=True).start()

    # Ending

    def _bury(self, helper: Helper) -> None:
        """A process has died: its associations are gone, a new one takes its place."""
        status = self._reap(helper)
        self._helpers.remove(helper)
        if self._stopping.is_set():
            return
        if helper.ready:
            self._look_through_at = time.monotonic()
        if helper.retired:
            return
        self._missing += 1
        pause_s = 0.0 if helper.ready else self._start_again.pause_s
        if not helper.ready:  # it never came up: not in a circle as fast as it goes
            self._start_again.failed()
        details = {"status": status, "associations": len(helper.slots)}
        log.error("a receiver process ended; another is started", **details, pause_s=pause_s)
        if pause_s <= FIRST_S:  # of what goes on failing the story tells once
            self._spool.story.tell("receiver process ended", **details)

    def _start_missing(self) -> None:
        """Start processes for those that have died, without TLS while that cannot be spoken."""
        if not self._missing or not self._start_again.is_due():
            return
        usable = self._tls.usable()
        if not usable and "plain" not in self._listeners:
            self._start_again.failed()
            return
        while self._missing:
            self._helpers.append(self._started(with_tls=usable))
            self._missing -= 1

    def _look_after_tls(self) -> None:
        """Once TLS can be spoken again, replace the processes that cannot, as soon as they have nothing to do."""
        for helper in self._helpers:
            if helper.retired and not helper.connections:
                helper.channel.say_no_more()
        if not self._tls.recovered():
            return
        for helper in self._helpers:
            if not helper.tls:
                helper.retired = True
                self._missing += 1

    def _reap(self, helper: Helper) -> int:
        with suppress(KeyError):
            self._selector.unregister(helper.channel)
        helper.channel.close()
        try:
            return helper.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            helper.process.kill()
            return helper.process.wait()

    def _end(self) -> None:
        """End the processes, and enter what they still report."""
        kept: list[Kept] = []
        for helper in self._helpers:
            helper.channel.say_no_more()
        end = time.monotonic() + _GRACE_S
        while self._helpers and time.monotonic() < end:
            for selected, _ in self._selector.select(_TICK_S):
                if isinstance(selected.data, Helper):
                    self._hear(selected.data, kept)
        self._enter(kept)
        for helper in self._helpers:
            self._reap(helper)
        self._helpers.clear()
        self._close_listeners()
        self._selector.close()

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            listener.close()

    def _port(self, kind: str) -> int:
        if kind not in self._listeners:
            raise RuntimeError(f"the receiver has no {kind} port, or has not been started")
        return int(self._listeners[kind].getsockname()[1])
