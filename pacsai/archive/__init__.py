"""Archives: where results go. One protocol, four ways to speak to one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from pacsai.archive.base import Archive, ArchiveUnavailable, Sent

if TYPE_CHECKING:
    from pacsai.config import Site

__all__ = ["Archive", "ArchiveUnavailable", "Sent", "open_archive"]


def open_archive(site: Site) -> Archive:
    """Return the archive that the site's settings name. Nothing is contacted before something is sent.

    Only that archive's client is imported: each brings a library of its own, and a site has one archive.
    """
    settings = site.archive
    if settings.kind == "dimse":
        from pacsai.archive.dimse import CStoreArchive

        tls = _tls(site) if settings.tls else None
        return CStoreArchive(site.node.ae_title, settings.ae_title, settings.host, settings.port, tls)
    if settings.kind == "dicomweb":
        from pacsai.archive.dicomweb import StowArchive

        return StowArchive(settings.url, _tls(site) if settings.tls else None)
    if settings.kind == "orthanc":
        from pacsai.archive.orthanc import OrthancArchive

        return OrthancArchive(settings.url)
    from pacsai.archive.folder import FolderArchive

    return FolderArchive(settings.path)


def _tls(site: Site) -> ssl.SSLContext:
    """Return how the node calls others by TLS; raises TlsError where its files cannot be used."""
    from pacsai.dicom.tls import client_context

    assert site.node.tls is not None  # noqa: S101 - the site's settings see to it
    return client_context(site.node.tls)
