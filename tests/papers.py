"""Certificates for tests of TLS: an authority, its children, and strangers."""

from __future__ import annotations

from pathlib import Path

from pacsai import certs
from pacsai.config import Tls

NAMES = ("localhost", "127.0.0.1")


class Papers:
    """A folder of certificates and keys: ca, node, client, archive, one that has expired and one of somebody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = certs.new_authority()
        certs.write(folder, "ca", self.authority.certificate, self.authority.key)
        for name in ("node", "client", "archive"):
            self.issue(name)
        self.issue("expired", days=-1)
        self.issue("foreign", authority=certs.new_authority("somebody else"))

    def issue(
        self,
        name: str,
        authority: certs.Authority | None = None,
        days: float = 90,
        holds_for: tuple[str, ...] = NAMES,
    ) -> None:
        """Add a certificate of that common name."""
        certs.write(self.folder, name, *certs.issue(authority or self.authority, name, holds_for, days=days))

    def pair(self, name: str) -> tuple[Path, Path]:
        """Return the certificate and the key of that name."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    @property
    def authorities(self) -> Path:
        """Return the certificate of the authority that everybody here believes."""
        return self.folder / "ca.pem"

    def settings(self, name: str = "node", port: int | None = 0) -> Tls:
        """Return the node's settings where it shows the certificate of that name."""
        certificate, key = self.pair(name)
        return Tls(certificate=certificate, key=key, authorities=self.authorities, port=port)
