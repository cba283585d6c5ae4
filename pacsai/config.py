"""The site's settings: one YAML file, read once into frozen models. The only reader of YAML settings and environment.

Knows which keys exist and what they may hold; knows nothing of what the rooms do with them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, ValidationInfo

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
        Largest data set that is kept; a larger one is answered with 0xA700 (out of resources).
    associations : int
        Associations at the same time; one more is rejected as *local limit exceeded*, and a modality tries again.
    network_timeout_s : float
        Silence after which an association is aborted.
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
    """What a pipeline sends back."""

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

    def configuration_digest(self, pipeline: str) -> str:
        """Return the SHA-256 (hex) of the settings that change what `pipeline` sends back.

        The kinds of result are among them: an SR names the SEG that is sent with it, and only then.
        """
        settings = self.pipelines[pipeline]
        text = json.dumps({"results": sorted(set(settings.results))}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path) -> Site:
    """Return the settings that stand in the YAML file `path`; relative paths in it start at its folder.

    Raises
    ------
    SiteError
        With one line per problem.
    """
    given = _read(path)
    try:
        return Site.model_validate(given, context={"folder": path.resolve().parent})
    except ValidationError as error:
        lines = [_sentence(dict(problem), given) for problem in error.errors(include_url=False)]
        raise SiteError("\n".join(lines)) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise SiteError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SiteError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise SiteError(f"{path}: expected a mapping with the keys {', '.join(Site.model_fields)}")
    return given


def _sentence(problem: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return one line on a pydantic problem: where, what was given, what is expected."""
    where = _dotted_key(problem["loc"], given)
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_suggestion(problem['loc'])}"
    expected = re.sub(r"^(Value error, |Input )", "", problem["msg"])
    if problem["type"] == "missing":
        return f"{where}: missing; it must be given"
    return f"{where}: given {_shown(problem['input'])}; {expected}"


def _dotted_key(loc: tuple[int | str, ...], given: object) -> str:
    """Return `loc` as people write it, without pydantic's names of union members, which are no keys of the file."""
    parts: list[str] = []
    for number, part in enumerate(loc, start=1):
        if isinstance(given, dict) and (part in given or number == len(loc)):
            given = given.get(part)
        elif isinstance(given, list) and isinstance(part, int):
            given = given[part]
        else:
            continue
        parts.append(str(part))
    return ".".join(parts)


def _suggestion(loc: tuple[int | str, ...]) -> str:
    known = _known_keys(loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    listed = f"known here: {', '.join(known)}"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section at `loc`; an archive's `kind`, part of the location, says which one it is."""
    models: list[type[BaseModel]] = [Site]
    for part in loc:
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        elif len(models) > 1:
            models = [model for model in models if get_args(model.model_fields["kind"].annotation) == (part,)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _shown(value: object) -> str:
    """Return `value` for an error line: short, and without the password of a URL."""
    text = re.sub(r"//[^/@]*@", "//…@", repr(value))
    return text if len(text) <= 80 else text[:79] + "…"
