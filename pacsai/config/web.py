"""The web port: who may use it, and what a request may take."""

from __future__ import annotations

import ipaddress
import os

from pydantic import Field, model_validator

from pacsai.config.base import AbsolutePath, ListeningPort, Settings

_TOKEN_CHARACTERS = 16


class Web(Settings):
    """The web port, which takes instances by STOW-RS.

    Attributes
    ----------
    port : int, optional
        Where it listens; none where it is not given.
    host : str
        The address it listens on. Any but loopback asks for a token.
    token_file, token_env : optional
        A file, or the name of an environment variable, that holds the bearer token every upload must show
        (RFC 6750). Where neither is given, everybody on this machine may upload.
    certificate, key : optional
        PEM files: the port then speaks TLS (1.2 or newer) alone.
    body_mb : float
        Largest body of a request (413); one instance in it may be as large as `node.limits.dataset_mb`.
    uploads : int
        Uploads at the same time; one more is told to try again (503).
    connections : int
        Connections at the same time; of more, the one that has been idle longest is closed.
    request_timeout_s : float
        Time from connecting to the end of a request's header, and the longest silence within a body (408).
    min_kb_s : float
        Slowest that a body may arrive, judged after `request_timeout_s` of waiting for it (408).
    """

    port: ListeningPort | None = None
    host: str = Field(default="127.0.0.1", min_length=1)
    token_file: AbsolutePath | None = None
    token_env: str | None = Field(default=None, min_length=1)
    certificate: AbsolutePath | None = None
    key: AbsolutePath | None = None
    body_mb: float = Field(default=16384, gt=0)
    uploads: int = Field(default=8, ge=1)
    connections: int = Field(default=64, ge=2)
    request_timeout_s: float = Field(default=30, gt=0)
    min_kb_s: float = Field(default=16, ge=0)

    @model_validator(mode="after")
    def _agree(self) -> Web:
        if self.token_file and self.token_env:
            raise ValueError("expected token_file or token_env, not both")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("expected certificate and key together, or neither")
        if not (_is_loopback(self.host) or self.token_file or self.token_env):
            raise ValueError("a host that is not loopback needs token_file or token_env")
        return self

    def token(self) -> bytes | None:
        """Return the bearer token, None where none is asked for.

        Raises
        ------
        OSError
            It is not there or too short. The message does not hold it.
        """
        if self.token_file:
            return _sound(self.token_file.read_text(encoding="utf-8"), f"the file {self.token_file}")
        if self.token_env:
            return _sound(os.environ.get(self.token_env, ""), f"the environment variable {self.token_env}")
        return None


def _sound(text: str, where: str) -> bytes:
    token = text.strip()
    if len(token) < _TOKEN_CHARACTERS or not token.isascii() or any(character <= " " for character in token):
        needed = f"{_TOKEN_CHARACTERS} or more ASCII characters without spaces"
        raise OSError(f"{where} should hold the web port's token: {needed}")
    return token.encode()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
