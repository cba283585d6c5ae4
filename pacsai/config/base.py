"""What the settings are made of: the strict frozen model, and the kinds of values that people write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


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


AETitle = Annotated[str, AfterValidator(_ae_title)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
ListeningPort = Annotated[int, Field(ge=0, le=65535, strict=True)]
"""A port to listen on; 0 lets the system choose a free one, which `pacsai serve` prints."""


class Settings(BaseModel):
    """Settings that cannot change once read, and know no key but their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")
