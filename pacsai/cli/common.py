"""What the commands share: consoles, options, JSON, logs, and errors a person can act on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pacsai.config import Site, SiteError, load
from pacsai.registry import PipelineError

out = Console(highlight=False)
errors = Console(stderr=True)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The site's YAML file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


class CommandError(Exception):
    """An error whose message is all that the person at the command line needs."""


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn the errors that a person can act on into one line, without a traceback."""
    try:
        yield
    except (SiteError, PipelineError, OSError) as error:
        raise CommandError(str(error)) from error
    except MemoryError as error:
        raise CommandError("this takes more memory than the manifest allows (resources.memory_gb)") from error


def load_site(path: Path) -> Site:
    """Return the site's configuration, or end the command with what is wrong in it."""
    with told_plainly():
        return load(path)


def print_json(value: Any) -> None:
    """Print `value` as JSON on standard output; moments in ISO 8601, paths as text."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
