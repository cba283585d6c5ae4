"""What is done with studies: when they are complete, with which pipelines they are analysed, how jobs are kept."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pacsai.config.base import AbsolutePath, Settings

ResultKind = Literal["SEG", "SR", "GSPS", "SC", "KO"]


def _database(value: str) -> str:
    if value != "sqlite" and not re.match(r"postgres(ql)?(\+\w+)?://\S+", value):
        raise ValueError("expected 'sqlite' or a postgresql:// URL")
    return value


class StudySettings(Settings):
    """When a study counts as complete: after `quiet_s` seconds without a new instance."""

    quiet_s: float = Field(default=10, gt=0)


class JobsSettings(Settings):
    """Where jobs are remembered: `sqlite` (a file in the data folder) or a postgresql:// URL."""

    database: Annotated[str, AfterValidator(_database)] = "sqlite"


class PipelineSettings(Settings):
    """What a pipeline sends back, and where it lies if it did not come with pacsai or an installed package."""

    folder: AbsolutePath | None = None
    results: tuple[ResultKind, ...] = Field(default=("SEG", "SR", "GSPS"), min_length=1)
