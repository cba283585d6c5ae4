"""How a request ends whose body was not read to its end.

The connection is closed after such an answer: the server would otherwise read the rest of the body without any limit.
But a peer that is still sending when the connection closes gets a reset in place of the answer. So a moment's worth of
the body is thrown away first.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 2.0
LINGER_BYTES = 64 << 20


class Lingering:
    """An ASGI application around `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = _Body(scope, receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.ended:
                await body.throw_away()
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """A request's body, and whether it was read to its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])
        self._receive = receive
        self._is_held_back = headers.get(b"expect", b"").lower() == b"100-continue"
        self.ended = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers

    async def receive(self) -> Message:
        self._is_held_back = False
        message = await self._receive()
        self.ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def throw_away(self) -> None:
        """Read on for a moment; not where the peer waits for a word before it sends anything."""
        if self._is_held_back:
            return
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_S):
                while not self.ended and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return
