"""The site's settings: one YAML file, read once into frozen models. The only reader of YAML settings and environment.

Knows which keys exist and what they may hold, a module for each part of the file; knows nothing of what the rooms do
with them.
"""

from __future__ import annotations

from pathlib import Path

from pacsai.config.archive import ArchiveSettings, DicomWebArchive, DimseArchive, FolderArchive, OrthancArchive
from pacsai.config.base import Settings
from pacsai.config.node import Caller, Limits, Node, Tls
from pacsai.config.web import Web
from pacsai.config.work import JobsSettings, PipelineSettings, PriorityRule, ResultKind, StudySettings
from pacsai.yamlfile import FileError, read_model

__all__ = [
    "ArchiveSettings",
    "Caller",
    "DicomWebArchive",
    "DimseArchive",
    "FolderArchive",
    "JobsSettings",
    "Limits",
    "Node",
    "OrthancArchive",
    "PipelineSettings",
    "PriorityRule",
    "ResultKind",
    "Site",
    "SiteError",
    "StudySettings",
    "Tls",
    "Web",
    "load",
]


class SiteError(ValueError):
    """The settings cannot be used. The message has one line per problem: where, what was given, what is expected."""


class Site(Settings):
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
