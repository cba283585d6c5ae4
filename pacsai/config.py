"""The site's settings: one YAML file, read once into frozen models. The only reader of YAML settings and environment.

Knows which keys exist and what they may hold; knows nothing of what the rooms do with them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo

from pacsai.yamlfile import FileError, read_model

ResultKind = Literal["SEG", "SR", "GSPS", "SC", "KO"]


class SiteError(ValueError):
    """The settings cannot be used. The message has one line per problem: where, what was given, what is expected."""


def _ae_title(value: str) -> str:
    if not re.fullmatch(r"(?! )[ -\[\]-~]{1,16}(?<! )", value):
        raise ValueError("expected 1 to 16 printable ASCII characters, no backslash, no space at either end")
    return value


def _absolute(value: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return (Path(folder) / value.expanduser()).resolve()


def _http_url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError("expected an http:// or https:// URL")
    return value.rstrip("/")


def _database(value: str) -> str:
    if value != "sqlite" and not re.match(r"postgres(ql)?(\+\w+)?://\S+", value):
        raise ValueError("expected 'sqlite' or a postgresql:// URL")
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
ListeningPort = Annotated[int, Field(ge=0, le=65535, strict=True)]
"""A port to listen on; 0 lets the system choose a free one, which `pacsai serve` prints."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Caller(_Settings):
    """A peer that may store here: its AE title, and the address it calls from."""

    ae_title: AETitle
    address: str = Field(min_length=1)


class Limits(_Settings):
    """What the receiver allows one peer to take; the defaults suit a department's modalities.

    Attributes
    ----------
    pdu_kb : int
        Largest PDU that peers are asked to send (PS3.8 D.1).
    dataset_mb : float
        Largest data set that is read; the connection of a peer that sends more is closed.
    associations : int
        Associations at the same time; one more is rejected as *local limit exceeded*, and a modality tries again.
    network_timeout_s : float
        Silence after which an association is aborted, and the longest that one PDU may take to arrive.
    free_gb : float
        Space on the data disk below which nothing more is taken (0xA700).
    """

    pdu_kb: int = Field(default=128, ge=4, le=1024)
    dataset_mb: float = Field(default=4096, gt=0)
    associations: int = Field(default=20, ge=1)
    network_timeout_s: float = Field(default=60, gt=0)
    free_gb: float = Field(default=1, ge=0)


def _form_of_callers(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "any"


Callers = Annotated[
    Annotated[Literal["any"], Tag("any")] | Annotated[tuple[Caller, ...], Tag("list")],
    Discriminator(_form_of_callers),
]


class Node(_Settings):
    """The DICOM side of this node and the folder it keeps everything in."""

    ae_title: AETitle = "PACSAI"
    host: str = "127.0.0.1"
    port: ListeningPort = 11112
    data: AbsolutePath
    callers: Callers = "any"
    limits: Limits = Limits()


class StudySettings(_Settings):
    """When a study counts as complete: after `quiet_s` seconds without a new instance."""

    quiet_s: float = Field(default=10, gt=0)


class DimseArchive(_Settings):
    """An archive that takes C-STORE."""

    kind: Literal["dimse"]
    ae_title: AETitle
    host: str = Field(min_length=1)
    port: Port


class DicomWebArchive(_Settings):
    """An archive that takes STOW-RS; `url` is the base of its services, e.g. http://host:8042/dicom-web."""

    kind: Literal["dicomweb"]
    url: HttpUrl


class OrthancArchive(_Settings):
    """An Orthanc, through its own REST interface."""

    kind: Literal["orthanc"]
    url: HttpUrl


class FolderArchive(_Settings):
    """A folder that results are written into."""

    kind: Literal["folder"]
    path: AbsolutePath


ArchiveSettings = Annotated[
    DimseArchive | DicomWebArchive | OrthancArchive | FolderArchive,
    Field(discriminator="kind"),
]


class JobsSettings(_Settings):
    """Where jobs are remembered: `sqlite` (a file in the data folder) or a postgresql:// URL."""

    database: Annotated[str, AfterValidator(_database)] = "sqlite"


class PipelineSettings(_Settings):
    """What a pipeline sends back, and where it lies if it did not come with pacsai or an installed package."""

    folder: AbsolutePath | None = None
    results: tuple[ResultKind, ...] = Field(default=("SEG", "SR", "GSPS"), min_length=1)


class Web(_Settings):
    """The status pages."""

    port: ListeningPort = 8080


class Site(_Settings):
    """Everything a site decides."""

    node: Node
    study: StudySettings = StudySettings()
    archive: ArchiveSettings
    jobs: JobsSettings = JobsSettings()
    pipelines: dict[str, PipelineSettings]
    web: Web = Web()


def load(path: Path) -> Site:
    """Return the settings that stand in the YAML file `path`; relative paths in it start at its folder.

    Raises
    ------
    SiteError
        With one line per problem.
    """
    try:
        return read_model(path, Site)
    except FileError as error:
        raise SiteError(str(error)) from None
