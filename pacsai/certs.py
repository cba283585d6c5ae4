"""A test authority and certificates of its making, so that TLS can be tried before the hospital's own are there."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pacsai import durable

AUTHORITY = "ca"
HOLDERS = ("node", "archive", "client")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: what it signs with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make(folder: Path, names: Sequence[str] = ("localhost", "127.0.0.1"), days: float = 365) -> tuple[Path, ...]:
    """Write a new authority, and certificates of node, archive and client, into `folder`; return the files.

    Parameters
    ----------
    names : sequence of str
        Host names and addresses that the certificates hold for; their common names are node, archive and client.
    days : float
        How long they hold.

    Raises
    ------
    FileExistsError
        One of the files is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = new_authority(days=days)
    written = [*_write(folder, AUTHORITY, authority.certificate, authority.key)]
    for holder in HOLDERS:
        written += _write(folder, holder, *issue(authority, holder, names, days=days))
    return tuple(written)


def new_authority(name: str = "pacsai test authority", days: float = 365) -> Authority:
    """Return a new authority (EC P-256), which signs certificates and nothing above them."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(name), key, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return Authority(builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key)


def issue(
    authority: Authority, common_name: str, names: Sequence[str], *, days: float = 365
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a certificate for calling and being called, and its key. Negative `days`: one that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(common_name), authority.certificate.subject, key, days)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(alternatives, critical=False).add_extension(issuer, critical=False)
    return builder.sign(authority.key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begins = min(now, now + timedelta(days=days)) - timedelta(days=1)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> list[Path]:
    encoded_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = [folder / f"{name}.pem", folder / f"{name}.key"]
    contents = [certificate.public_bytes(serialization.Encoding.PEM), encoded_key]
    for path, content, mode in zip(paths, contents, (0o644, 0o600), strict=True):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    durable.sync_folder(folder)
    return paths
