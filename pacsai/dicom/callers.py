"""Who may call: AE titles, addresses and certificates of the settings, compared with those of a peer."""

from __future__ import annotations

import socket
from collections.abc import Collection
from functools import lru_cache

import structlog

from pacsai.config.node import Callers

log = structlog.get_logger()


def permitted(
    callers: Callers, calling_ae_title: str, address: str, certificate_names: Collection[str] | None
) -> str | None:
    """Return why a peer may not call, None where it may.

    Parameters
    ----------
    certificate_names : collection of str or None
        The names that the peer's verified certificate carries, None on a connection without TLS.
    """
    if callers == "any":
        return None
    here = [one for one in callers if one.ae_title == calling_ae_title and address in _addresses(one.address)]
    if not here:
        return "calling AE title and address are not among the callers in the settings"
    names = {name.casefold() for name in certificate_names or ()}  # as DNS names are compared
    if any(one.certificate is None or one.certificate.casefold() in names for one in here):
        return None
    if certificate_names is None:
        return "this caller must call by TLS, with its certificate"
    carried = ", ".join(sorted(certificate_names))[:200] or "none that can be read"
    return f"the caller's certificate carries another name than the settings ask for: {carried}"


def _addresses(address: str) -> frozenset[str]:
    """Return the addresses that a host name stands for, none where the name is unknown now."""
    try:
        return _resolved(address)
    except OSError as error:
        log.error("a caller's address is unknown, it cannot call", address=address, reason=error.strerror)
        return frozenset()


@lru_cache(maxsize=256)
def _resolved(address: str) -> frozenset[str]:
    """Look a name up, once for a process; a failure (OSError) is not kept, since name servers come back."""
    return frozenset(str(found[4][0]) for found in socket.getaddrinfo(address, None))
