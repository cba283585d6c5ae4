"""Connections to the web port that have not asked for anything yet, or not for a while.

uvicorn 0.54 gives a connection all the time it wants for its first request, and counts idle ones into its limit: a few
sockets that say nothing would keep everybody out. Here each has its time, and the longest idle one makes room.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from pacsai.dicom.scp.telling import Teller


class Door(H11Protocol):
    """One connection.

    Attributes
    ----------
    idle_since : float, optional
        By the event loop's clock; None while the connection has a request.
    """

    most: ClassVar[int]
    patience_s: ClassVar[float]
    teller: ClassVar[Teller]
    _patience: asyncio.TimerHandle | None = None
    idle_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, and let go of the longest idle one where there are too many; uvicorn answers 503 else."""
        super().connection_made(transport)
        idle = [one for one in self.connections if isinstance(one, Door) and one.idle_since is not None]
        self._wait()
        if len(self.connections) <= self.most:
            return
        if idle:
            min(idle, key=lambda one: one.idle_since or 0).turn_away("made room for another connection")
        else:
            self._tell(f"there are {self.most} connections with a request already")

    def data_received(self, data: bytes) -> None:
        """Take bytes; once they are a request, the doorstep is behind them."""
        super().data_received(data)
        if self._has_request():
            self._end_waiting()
        elif self.idle_since is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self._has_request():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that has ended."""
        self._end_waiting()
        super().connection_lost(exc)

    def turn_away(self, reason: str) -> None:
        """Close the connection, and tell why."""
        self._end_waiting()
        self._tell(reason)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and tell of it."""
        self._end_waiting()
        self._tell("what came is no HTTP request")
        super().send_400_response(msg)

    def _tell(self, reason: str) -> None:
        self.teller.tell("web connection closed", address=self.client[0] if self.client else "", reason=reason)

    def _has_request(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's annotation says
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._end_waiting()
        self.idle_since = self.loop.time()
        self._patience = self.loop.call_later(self.patience_s, self.turn_away, "no whole request came in time")

    def _end_waiting(self) -> None:
        self.idle_since = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def door(most: int, patience_s: float, teller: Teller) -> type[H11Protocol]:
    """Return the kind of connection that a server with these bounds has."""
    return type("BoundedDoor", (Door,), {"most": most, "patience_s": patience_s, "teller": teller})
