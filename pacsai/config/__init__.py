"""The site's settings: one YAML file, read once into frozen models. The only reader of YAML settings and environment.

Knows which keys exist and what they may hold, a module for each part of the file; knows nothing of what the rooms do
with them.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from pacsai.config.archive import ArchiveSettings, DicomWebArchive, DimseArchive, FolderArchive, OrthancArchive
from pacsai.config.base import Settings
from pacsai.config.node import Caller, CommitmentPeer, Limits, Node, Tls
from pacsai.config.priors import PriorSettings
from pacsai.config.retention import RetentionSettings
from pacsai.config.web import Web
from pacsai.config.work import JobsSettings, PipelineSettings, PriorityRule, ResultKind, StudySettings
from pacsai.yamlfile import FileError, read_model

__all__ = [
    "ArchiveSettings",
    "Caller",
    "CommitmentPeer",
    "DicomWebArchive",
    "DimseArchive",
    "FolderArchive",
    "JobsSettings",
    "Limits",
    "Node",
    "OrthancArchive",
    "PipelineSettings",
    "PriorSettings",
    "PriorityRule",
    "ResultKind",
    "RetentionSettings",
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
    retention: RetentionSettings = RetentionSettings()
    priors: PriorSettings = PriorSettings()

    @model_validator(mode="after")
    def _tls_has_a_certificate(self) -> Site:
        if getattr(self.archive, "tls", False) and self.node.tls is None:
            raise ValueError("archive.tls needs the certificate, key and authorities of node.tls")
        if any(peer.tls for peer in self.node.commitment_peers) and self.node.tls is None:
            raise ValueError("node.commitment_peers with tls need the certificate, key and authorities of node.tls")
        return self

    @model_validator(mode="after")
    def _evidence_is_asked_for(self) -> Site:
        if self.study.evidence and self.archive.kind not in ("dimse", "dicomweb"):
            raise ValueError(f"study.evidence needs an archive of kind dimse or dicomweb, not {self.archive.kind}")
        return self


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
