"""The archive: where results go, and where what is missing is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pacsai.config.base import AbsolutePath, AETitle, HttpUrl, Port, Settings


class DimseArchive(Settings):
    """An archive that takes C-STORE; with `tls`, over TLS with the certificate of `node.tls`.

    `certificate` is the DNS name that the archive's certificate must carry, where that is not `host`.
    """

    kind: Literal["dimse"]
    ae_title: AETitle
    host: str = Field(min_length=1)
    port: Port
    tls: bool = False
    certificate: str | None = Field(default=None, min_length=1)


class DicomWebArchive(Settings):
    """An archive that takes STOW-RS; `url` is the base of its services, e.g. http://host:8042/dicom-web.

    With `tls`, an https:// URL is called with the certificate of `node.tls`, and its authorities are believed.
    """

    kind: Literal["dicomweb"]
    url: HttpUrl
    tls: bool = False

    @model_validator(mode="after")
    def _tls_needs_https(self) -> DicomWebArchive:
        if self.tls and not self.url.startswith("https://"):
            raise ValueError("tls needs an https:// URL")
        return self


class OrthancArchive(Settings):
    """An Orthanc, through its own REST interface."""

    kind: Literal["orthanc"]
    url: HttpUrl


class FolderArchive(Settings):
    """A folder that results are written into."""

    kind: Literal["folder"]
    path: AbsolutePath


ArchiveSettings = Annotated[
    DimseArchive | DicomWebArchive | OrthancArchive | FolderArchive,
    Field(discriminator="kind"),
]
