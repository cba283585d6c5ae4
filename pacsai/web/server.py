"""The thread that listens on the web port: uvicorn, with every bound it has set, and started so that failures are seen.

Knows nothing of what is asked for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from functools import partial

import structlog
import uvicorn

from pacsai.config import Site, Web
from pacsai.dicom.scp.telling import Teller
from pacsai.spool import Spool
from pacsai.web.app import Uploads, application
from pacsai.web.doorstep import door
from pacsai.web.keeper import Keeper

log = structlog.get_logger()

HEADER_BYTES = 32 << 10
"""Longest header of a request."""
KEEP_ALIVE_S = 5
DRAIN_S = 10


class WebServer:
    """Serves the web port of one site from a thread.

    Parameters
    ----------
    site : Site
        With `web.port`.
    spool : Spool
        Where instances go.
    """

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool
        self._teller = Teller(spool.story)
        self._keeper: Keeper | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """Return the port it listens on, which the system chose where the settings say 0."""
        return self._port

    def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            The address cannot be listened on; token, certificate or key cannot be used.
        """
        token = self._site.web.token()
        self._keeper = Keeper(self._site.node.limits, self._spool)
        uploads = Uploads(self._site.web, token, self._keeper, self._teller)
        config = _configuration(self._site, uploads, self._teller)
        listening = _listening(self._site.web.host, self._site.web.port or 0)
        self._port = int(listening.getsockname()[1])
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._serve, args=(self._server, listening), name="web port", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no new connection, give running requests 10 s to end, and cut off those left."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(DRAIN_S + 5)
        self._teller.tell_rest(at_once=True)
        if self._keeper:
            self._keeper.close()

    def _serve(self, server: uvicorn.Server, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=partial(_loop, self._site.web)) as runner:
            runner.run(server.serve(sockets=[listening]))


def _loop(web: Web) -> asyncio.AbstractEventLoop:
    """Return an event loop whose TLS handshakes must end in time: uvicorn 0.54 cannot be told, and waits 60 s."""
    loop = asyncio.new_event_loop()
    if web.certificate:
        patient = partial(loop.create_server, ssl_handshake_timeout=web.request_timeout_s)
        setattr(loop, "create_server", patient)  # noqa: B010 (a method, which mypy protects)
    return loop


def _configuration(site: Site, uploads: Uploads, teller: Teller) -> uvicorn.Config:
    web = site.web
    config = uvicorn.Config(
        application(uploads),
        http=door(web.connections, web.request_timeout_s, teller),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=web.connections + 1,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
    config.load()
    config.ssl = _tls(site)
    return config


def _tls(site: Site) -> ssl.SSLContext | None:
    if site.web.certificate is None or site.web.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(site.web.certificate, site.web.key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "not a certificate and its key"
        raise OSError(f"web.certificate and web.key cannot be used: {reason}") from None
    return context


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        raise OSError(error.errno, f"the web port cannot listen on {host}:{port}: {error.strerror}") from None
    return listening
