"""Archives: where results go. One protocol, four ways to speak to one."""

from __future__ import annotations

from pacsai import config
from pacsai.archive.base import Archive, ArchiveUnavailable, Sent
from pacsai.archive.dicomweb import StowArchive
from pacsai.archive.dimse import CStoreArchive
from pacsai.archive.folder import FolderArchive
from pacsai.archive.orthanc import OrthancArchive

__all__ = ["Archive", "ArchiveUnavailable", "Sent", "open_archive"]


def open_archive(site: config.Site) -> Archive:
    """Return the archive that the site's settings name. Nothing is contacted before something is sent."""
    match site.archive:
        case config.DimseArchive(ae_title=ae_title, host=host, port=port):
            return CStoreArchive(site.node.ae_title, ae_title, host, port)
        case config.DicomWebArchive(url=url):
            return StowArchive(url)
        case config.OrthancArchive(url=url):
            return OrthancArchive(url)
        case config.FolderArchive(path=path):
            return FolderArchive(path)
