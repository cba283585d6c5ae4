"""The web port as an ASGI application: its paths, who may use them, and with which status each request ends.

Every refusal is told in the node's story; what repeats itself is told with a count. Does not listen, and knows nothing
of what an upload holds.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive

from pacsai import faults
from pacsai.config import Web
from pacsai.dicom.scp.telling import Teller
from pacsai.web.answer import response, status
from pacsai.web.keeper import Keeper
from pacsai.web.lingering import Lingering
from pacsai.web.multipart import MalformedBody, media_type
from pacsai.web.stow import Upload

log = structlog.get_logger()

BLOCK_BYTES = 1 << 20
"""How much of a body is gathered before a thread writes it."""

_UID = re.compile(r"[0-9.]{1,64}")
_ACCEPTED = frozenset({"*/*", "application/*", "application/dicom+json", "application/json"})


class Refused(Exception):  # noqa: N818 (reads as what happened)
    """A request that ends with an error: its HTTP status, the reason for a person, and headers to answer with."""

    def __init__(self, code: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Gone(Exception):  # noqa: N818 (reads as what happened)
    """The peer closed the connection before the end of its body."""


class Uploads:
    """Takes the site's uploads.

    Parameters
    ----------
    settings : Web
        Of the site.
    token : bytes, optional
        What uploads must show; None where none is asked for.
    keeper : Keeper
        Where instances go.
    teller : Teller
        Told of every refused request.
    """

    def __init__(self, settings: Web, token: bytes | None, keeper: Keeper, teller: Teller) -> None:
        self._settings = settings
        self._token = token
        self._keeper = keeper
        self._teller = teller
        self._running = 0

    async def store(self, request: Request) -> Response:
        """Answer `POST /dicom-web/studies[/{study}]`."""
        address = request.client.host if request.client else ""
        try:
            return await self._stored(request, address)
        except Refused as refused:
            self._tell(address, refused.reason, status=refused.code)
            return PlainTextResponse(refused.reason + "\n", refused.code, refused.headers)
        except Gone:
            return Response(status_code=400)  # nobody is there to read it
        except Exception as error:
            log.exception("an upload could not be dealt with")
            self._tell(address, type(error).__name__, status=500)
            return PlainTextResponse("the upload could not be dealt with; send it again later\n", 500)
        finally:
            self._teller.tell_rest()

    async def _stored(self, request: Request, address: str) -> Response:
        check_token(request.headers.get("authorization"), self._token)
        boundary = _boundary(request)
        study_instance_uid = request.path_params.get("study", "")
        if study_instance_uid and not _UID.fullmatch(study_instance_uid):
            raise Refused(400, "the study in the URL is no UID")
        if int(request.headers.get("content-length", "0")) > self._settings.body_mb * 1e6:
            raise self._too_long()
        if self._running >= self._settings.uploads:
            raise Refused(503, f"there are {self._running} uploads already; try again later", retry_after="5")
        if not self._keeper.has_room():
            raise Refused(503, "the data disk is nearly full; try again later", retry_after="60")
        self._running += 1
        try:
            return await self._answered(request, boundary, study_instance_uid, address)
        finally:
            self._running -= 1

    async def _answered(self, request: Request, boundary: str, study_instance_uid: str, address: str) -> Response:
        upload = None
        try:
            upload = Upload(self._keeper, boundary, study_instance_uid, address)
            await self._pour(request, upload)
            await asyncio.to_thread(upload.finish)
        except MalformedBody as malformed:
            raise Refused(400, _with_count(str(malformed), upload)) from None
        except Refused as refused:
            raise Refused(refused.code, _with_count(refused.reason, upload), **refused.headers) from None
        except Gone:
            self._tell(address, "the peer closed the connection before the end of the body", **_counts(upload))
            raise
        finally:
            if upload is not None:
                upload.close()
                log.info("upload ended", address=address, **upload.counts())
        faults.point("stow.before_answer")
        code = status(upload.outcomes)
        headers = {"Retry-After": "60"} if code == 503 else None
        return JSONResponse(response(upload.outcomes), code, headers, "application/dicom+json")

    async def _pour(self, request: Request, upload: Upload) -> None:
        """Bring the body to `upload` as it comes, within the limits of size and pace; raises Refused."""
        pace = Pace(self._settings.request_timeout_s, self._settings.min_kb_s * 1e3)
        block = bytearray()
        more = True
        while more:
            message = await pace.next(request.receive)
            if message["type"] == "http.disconnect":
                raise Gone
            block += message.get("body", b"")
            more = message.get("more_body", False)
            if pace.received > self._settings.body_mb * 1e6:
                raise self._too_long()
            if len(block) >= BLOCK_BYTES or (block and not more):
                await asyncio.to_thread(upload.take, bytes(block))
                block.clear()

    def _too_long(self) -> Refused:
        return Refused(413, f"the body is longer than {self._settings.body_mb:g} MB; send it in several")

    def _tell(self, address: str, reason: str, **details: int) -> None:
        self._teller.tell("upload refused", address=address, reason=reason, **details)


class Pace:
    """Waits for a body, and loses patience with one that does not come.

    Only the time spent waiting for the peer counts, not what this node needs to write.
    """

    def __init__(self, patience_s: float, slowest: float) -> None:
        self._patience_s = patience_s
        self._slowest = slowest
        self._waited_s = 0.0
        self.received = 0

    async def next(self, receive: Receive) -> Message:
        """Return the next ASGI message; raises Refused (408)."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._patience_s):
                message = await receive()
        except TimeoutError:
            raise Refused(408, f"no byte of the body came for {self._patience_s:g} s") from None
        self._waited_s += time.monotonic() - begun
        body = message.get("body", b"")
        self.received += len(body)
        if self._waited_s > self._patience_s and self.received < self._waited_s * self._slowest:
            raise Refused(408, f"the body comes slower than {self._slowest / 1e3:g} kB/s")
        return message


def check_token(authorization: str | None, token: bytes | None) -> None:
    """Return if the header Authorization shows the token (RFC 6750 2.1), or none is asked for; raises Refused."""
    if token is None:
        return
    scheme, _, shown = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not shown.strip():
        raise Refused(401, "uploads must show a bearer token", www_authenticate='Bearer realm="pacsai"')
    if not hmac.compare_digest(shown.strip().encode(), token):
        challenge = 'Bearer realm="pacsai", error="invalid_token"'
        raise Refused(403, "the bearer token is not this node's", www_authenticate=challenge)


def _boundary(request: Request) -> str:
    """Return the body's boundary, if body and answer are of kinds that are spoken here; raises Refused."""
    kind, parameters = media_type(request.headers.get("content-type", ""))
    if kind != "multipart/related" or parameters.get("type", "application/dicom").lower() != "application/dicom":
        raise Refused(415, 'expected Content-Type: multipart/related; type="application/dicom"')
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "expected a body without Content-Encoding")
    asked = [one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "*/*").split(",")]
    if _ACCEPTED.isdisjoint(asked):
        raise Refused(406, "answers are application/dicom+json")
    return parameters.get("boundary", "")


def _counts(upload: Upload | None) -> dict[str, int]:
    return {"kept_before": upload.stored()} if upload else {}


def _with_count(reason: str, upload: Upload | None) -> str:
    kept = upload.stored() if upload else 0
    return f"{reason} (instances kept before that: {kept})" if kept else reason


async def health(_: Request) -> Response:
    """Answer `GET /health`: the node runs."""
    return JSONResponse({"status": "ok"})


def application(uploads: Uploads) -> Lingering:
    """Return the ASGI application."""
    routes = [
        Route("/health", health, methods=["GET"]),
        Route("/dicom-web/studies", uploads.store, methods=["POST"]),
        Route("/dicom-web/studies/{study}", uploads.store, methods=["POST"]),
    ]
    return Lingering(Starlette(routes=routes))
