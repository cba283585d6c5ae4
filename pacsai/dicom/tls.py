"""TLS for associations: the BCP 195 RFC 8996, 9325 profile of PS3.15 B.12, with certificates on both sides.

TLS 1.3, and TLS 1.2 with the forward-secret AEAD suites that RFC 9325 recommends; nothing older, no compression, no
renegotiation, no resumption. A peer without a certificate that our authorities signed gets no further than the
handshake.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from pacsai.config import Tls

TLS_1_2_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
"""By OpenSSL's names, the preferred one first: the four of RFC 9325 4.2, whose 4.1 advises against DHE."""

SECURITY_LEVEL = "@SECLEVEL=2"
"""112 bits: RSA keys of 2048 bits or more, no SHA-1; OpenSSL 3.0 itself asks for less, Debian's build for this."""

WARNING_TIME = timedelta(days=30)
"""How long before our own certificate ends it is told of; a hospital's authority takes its time."""

NOT_PEM = "not PEM"


class TlsError(OSError):
    """Our own TLS settings cannot be used; the message names the file."""


def server_context(settings: Tls) -> ssl.SSLContext:
    """Return the context of a port that asks every peer for a certificate; raises TlsError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    context.verify_mode = ssl.CERT_REQUIRED
    # Associations are long and resuming saves nothing; a resumed session would outlive the certificate it began with.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def client_context(settings: Tls) -> ssl.SSLContext:
    """Return the context with which we call others. Their certificate must carry the host name; raises TlsError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings)
    context.sslsocket_class = CallingSocket
    return context


class CallingSocket(ssl.SSLSocket):
    """A TLS connection of ours that remembers why it failed: pynetdicom tells that to its log alone."""

    failure = ""
    shaken = False

    def connect(self, address: Any) -> None:
        """Connect and shake hands; closes itself where that fails, as pynetdicom 3.0.4 does not."""
        try:
            super().connect(address)
        except OSError:
            self.close()
            raise

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands."""
        with self._remembering():
            super().do_handshake(block)
        self.shaken = True

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive; by TLS 1.3 this is where a peer says that it does not take our certificate."""
        with self._remembering():
            return super().recv(buflen, flags)

    def shutdown(self, how: int) -> None:
        """Shut down what the peer may have already: were that an error, pynetdicom 3.0.4 would not close the socket."""
        with suppress(OSError):
            super().shutdown(how)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError as error:
            self.failure = f"cannot be called by TLS: {words(error)}"
            raise
        except OSError:
            if not self.shaken:
                self.failure = "cannot be called by TLS: it hung up in the handshake; does it speak TLS on this port?"
            raise


class Call:
    """Stands for the context in pynetdicom's `tls_args` during one call, and tells afterwards why it failed."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket: CallingSocket | None = None

    def wrap_socket(self, sock: socket.socket, *, server_side: bool, server_hostname: str) -> ssl.SSLSocket:
        """See `ssl.SSLContext.wrap_socket`."""
        wrapped = self._context.wrap_socket(sock, server_side=server_side, server_hostname=server_hostname)
        assert isinstance(wrapped, CallingSocket)  # noqa: S101
        self._socket = wrapped
        return wrapped

    @property
    def failure(self) -> str:
        """Return why TLS failed, '' where it did not."""
        return self._socket.failure if self._socket else ""

    @property
    def shaken(self) -> bool:
        """Tell whether hands were shaken, from our side."""
        return self._socket is not None and self._socket.shaken


def certificate_names(certificate: bytes) -> frozenset[str]:
    """Return the common names and DNS names of a certificate (DER).

    None of one that OpenSSL takes and `cryptography` finds ill-formed, as some old authorities' are: an authority of
    ours knows its holder, but not by name.
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
        names = {str(attribute.value) for attribute in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        alternatives = read.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return frozenset(names)
    except ValueError:
        return frozenset()
    assert isinstance(alternatives, x509.SubjectAlternativeName)  # noqa: S101
    return frozenset(names | {str(name) for name in alternatives.get_values_for_type(x509.DNSName)})


def check(settings: Tls, now: datetime | None = None) -> str:
    """Return what is wrong with our own certificate, which peers refuse or soon will; '' for nothing.

    Raises
    ------
    TlsError
        The files cannot be used at all.
    """
    server_context(settings)
    now = now or datetime.now(UTC)
    try:
        own = x509.load_pem_x509_certificate(settings.certificate.read_bytes())
        begins, ends = own.not_valid_before_utc, own.not_valid_after_utc
    except ValueError:  # OpenSSL took it, so peers may
        return ""
    named = f"this node's TLS certificate {settings.certificate.name}"
    if ends < now:
        return f"{named} has expired on {ends.date().isoformat()}: peers refuse it"
    if begins > now:
        return (
            f"{named} holds from {begins.date().isoformat()} on: peers refuse it until then, or the clock here is wrong"
        )
    if ends < now + WARNING_TIME:
        return f"{named} expires on {ends.date().isoformat()}: replace it and restart the node"
    return ""


def words(error: ssl.SSLError) -> str:
    """Return in words why TLS failed: what was wrong with the peer's certificate, or OpenSSL's reason."""
    said: str = getattr(error, "verify_message", "")
    if said:
        return f"the peer's certificate is refused: {said}"
    reason = error.reason or ""
    _, alert, rest = reason.partition("_ALERT_")
    if alert:
        return f"the peer says: {_spelt(rest)}"
    return _REASONS.get(reason) or _spelt(reason) or "it broke off"


_REASONS = {
    "HTTP_REQUEST": "what comes is HTTP, not TLS",
    "NO_SHARED_CIPHER": "no cipher suite in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "UNEXPECTED_EOF_WHILE_READING": "the peer hung up",
    "UNSUPPORTED_PROTOCOL": "the peer speaks nothing newer than TLS 1.1",
    "WRONG_VERSION_NUMBER": "what comes is not TLS",
}
"""OpenSSL's reasons that say little to who reads a story."""


def _spelt(reason: str) -> str:
    return reason.lower().replace("_", " ")


def _context(protocol: int, settings: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join([*TLS_1_2_SUITES, SECURITY_LEVEL]))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load(context, settings)
    return context


def _load(context: ssl.SSLContext, settings: Tls) -> None:
    for kind in ("certificate", "key", "authorities"):
        _readable(getattr(settings, kind), kind)
    try:
        # A key with a password would make OpenSSL ask at the terminal; a node has none.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsError(_why_no_pair(settings, error)) from error
    try:
        context.load_verify_locations(settings.authorities)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"the TLS authorities {settings.authorities} are no certificates: {_reason(error)}") from error


def _readable(path: Path, kind: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise TlsError(f"the TLS {kind} {path} cannot be read: {error.strerror}") from error


def _why_no_pair(settings: Tls, error: Exception) -> str:
    """Return which of our two files is wrong: OpenSSL says "PEM lib" of either."""
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"the TLS key {settings.key} is not the key of the certificate {settings.certificate}"
    if b"ENCRYPTED" in settings.key.read_bytes():
        return f"the TLS key {settings.key} has a password; the node needs one without, readable by itself alone"
    if (reason := _reason(error)) != NOT_PEM:
        return f"the TLS certificate {settings.certificate} cannot be used: {reason}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(settings.certificate)
    except (ssl.SSLError, OSError):
        return f"the TLS certificate {settings.certificate} is {NOT_PEM}"
    return f"the TLS key {settings.key} is {NOT_PEM}"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return words(error) if error.reason else NOT_PEM
    return getattr(error, "strerror", None) or NOT_PEM
