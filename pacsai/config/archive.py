"""The archive: where results go, and where what is missing is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pacsai.config.base import AbsolutePath, AETitle, HttpUrl, Port, Settings


class Committing(Settings):
    """An archive that may be asked to commit what it was sent (PS3.4 annex J).

    Attributes
    ----------
    commitment : bool
        Whether it is asked.
    commitment_wait_s : float
        How long its answer is waited for on the association that asked; later ones come on one of its own.
    commitment_retry_s : float
        After this long without an answer it is asked anew; the pauses double, up to a day.
    commitment_days : float
        How long it is asked anew before the objects count as not committed.
    commitment_resends : int
        How often objects that it does not commit are sent again.
    """

    commitment: bool = False
    commitment_wait_s: float = Field(default=5, ge=0, le=60)
    commitment_retry_s: float = Field(default=3600, gt=0)
    commitment_days: float = Field(default=30, gt=0)
    commitment_resends: int = Field(default=3, ge=0)


class DimseArchive(Committing):
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


class OrthancArchive(Committing):
    """An Orthanc, through its own REST interface; for commitment it tells its DICOM port there."""

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
