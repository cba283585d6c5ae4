"""TLS for associations: the BCP 195 profile of PS3.15 B.9 to B.11, with certificates on both sides.

TLS 1.2 with the forward-secret AEAD suites that RFC 9325 recommends, and TLS 1.3; nothing older, no compression, no
renegotiation. A peer without a certificate that our authorities signed gets no further than the handshake.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from pacsai.config import Tls

TLS_1_2_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
)
"""By OpenSSL's names, the preferred one first (RFC 9325 4.2, PS3.15 B.9)."""


class TlsError(OSError):
    """Our own TLS settings cannot be used; the message names the file."""


def server_context(settings: Tls) -> ssl.SSLContext:
    """Return the context of a port that asks every peer for a certificate; raises TlsError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # associations are long, and a resumed session would not show its certificate again
    return context


def client_context(settings: Tls) -> ssl.SSLContext:
    """Return the context with which we call others. Their certificate must carry the host name; raises TlsError."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, settings)


def certificate_names(certificate: bytes) -> frozenset[str]:
    """Return the common names and DNS names of a certificate (DER)."""
    read = x509.load_der_x509_certificate(certificate)
    names = {str(attribute.value) for attribute in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    try:
        alternatives = read.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return frozenset(names)
    assert isinstance(alternatives, x509.SubjectAlternativeName)  # noqa: S101
    return frozenset(names | {str(name) for name in alternatives.get_values_for_type(x509.DNSName)})


def expiry(settings: Tls) -> datetime:
    """Return when our own certificate ends, in UTC; raises TlsError."""
    try:
        return x509.load_pem_x509_certificate(settings.certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise TlsError(f"the certificate {settings.certificate} cannot be read: {_reason(error)}") from error


def check(settings: Tls) -> str:
    """Return what is wrong with our own certificate and peers will refuse it for, '' for nothing.

    Raises
    ------
    TlsError
        The files cannot be used at all.
    """
    server_context(settings)
    ends = expiry(settings)
    if ends < datetime.now(UTC):
        return f"this node's TLS certificate has expired on {ends.date().isoformat()}"
    return ""


def _context(protocol: int, settings: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(TLS_1_2_SUITES))
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
        reason = _reason(error)
        raise TlsError(f"{settings.certificate} and {settings.key} are no certificate and its key: {reason}") from error
    try:
        context.load_verify_locations(settings.authorities)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"the authorities {settings.authorities} are no certificates: {_reason(error)}") from error


def _readable(path: Path, kind: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise TlsError(f"the TLS {kind} {path} cannot be read: {error.strerror}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return getattr(error, "strerror", None) or "not PEM"
