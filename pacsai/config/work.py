"""What is done with studies: when they are complete, with which pipelines they are analysed, how jobs are kept."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pacsai.config.base import AbsolutePath, Settings

ResultKind = Literal["SEG", "SR", "GSPS", "SC", "KO", "CADSR"]


def _database(value: str) -> str:
    if value != "sqlite" and not re.match(r"postgres(ql)?(\+\w+)?://\S+", value):
        raise ValueError("expected 'sqlite' or a postgresql:// URL")
    return value


def _keyword(value: str) -> str:
    from pydicom.datadict import tag_for_keyword

    if tag_for_keyword(value) is None:
        raise ValueError("expected a DICOM keyword, such as RequestedProcedurePriority")
    return value


class PriorityRule(Settings):
    """Studies are urgent whose images have one of `values` in `attribute` (a DICOM keyword), in whatever case."""

    attribute: Annotated[str, AfterValidator(_keyword)]
    values: tuple[str, ...] = Field(min_length=1)


class StudySettings(Settings):
    """When a study counts as complete, and which studies overtake the others.

    Attributes
    ----------
    quiet_s : float
        A study is complete after this long without a new instance.
    evidence : bool
        Whether the archive is asked what it lists of a quiet study, and what is missing is fetched before it is
        analysed. For archives of kind dimse, which must know this node as a C-MOVE destination, and dicomweb.
    fetch_wait_s : float
        How long a study may be held up by that.
    mpps_wait_s : float
        How long a quiet study waits for a procedure step that is in progress (MPPS), and for images that a modality
        (MPPS) or an archive (IAN) announced; a new image starts this time anew.
    priority : tuple of PriorityRule
        Any of them makes a study urgent.
    """

    quiet_s: float = Field(default=10, gt=0)
    evidence: bool = False
    fetch_wait_s: float = Field(default=120, gt=0)
    mpps_wait_s: float = Field(default=600, gt=0)
    priority: tuple[PriorityRule, ...] = (
        PriorityRule(attribute="RequestedProcedurePriority", values=("STAT", "HIGH")),
    )


class JobsSettings(Settings):
    """Where jobs are remembered, and when a node that shares that place counts as dead.

    Attributes
    ----------
    database : str
        `sqlite` (a file in the data folder) or a postgresql:// URL, which nodes may share.
    lease_s : float
        Without a sign of life for so long a node is dead to those that share database and data folder with it.
    """

    database: Annotated[str, AfterValidator(_database)] = "sqlite"
    lease_s: float = Field(default=10, ge=1)


class PipelineSettings(Settings):
    """What a pipeline sends back, and where it lies if it did not come with pacsai or an installed package.

    `at_once` is how many studies it analyses at the same time; each takes the memory that its manifest names.
    """

    folder: AbsolutePath | None = None
    at_once: int = Field(default=1, ge=1, le=64)
    results: tuple[ResultKind, ...] = Field(default=("SEG", "SR", "GSPS"), min_length=1)
