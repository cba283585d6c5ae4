"""`pacsai pipelines list|check`: what is installed, and whether it keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pacsai.cli.common import JsonOption, out, print_json, told_plainly

app = typer.Typer(help="The pipelines of this installation.", no_args_is_help=True)


@app.command("list")
def list_pipelines(json: JsonOption = False) -> None:
    """List the pipelines, read from their manifests alone."""
    from pacsai.registry import discover

    with told_plainly():
        manifests = [package.manifest for package in discover()]
    if json:
        print_json([manifest.model_dump(mode="json") for manifest in manifests])
        return
    table = Table("name", "version", "title", "accepts", "writes")
    for manifest in manifests:
        table.add_row(
            manifest.name, manifest.version, manifest.title, ", ".join(manifest.accepts), " ".join(manifest.writes)
        )
    out.print(table)


@app.command()
def check(
    folder: Annotated[list[Path] | None, typer.Argument(help="Pipeline folders; all installed ones if none.")] = None,
    json: JsonOption = False,
) -> None:
    """Check manifest, weights' digest and shapes, signature, and run each pipeline's phantom through it."""
    from pacsai import registry

    with told_plainly():
        verdicts = {str(one): registry.check(one.resolve()) for one in folder or registry.folders()}
    if json:
        print_json({path: list(problems) for path, problems in verdicts.items()})
    else:
        for path, problems in verdicts.items():
            out.print(f"{Path(path).name}: {'; '.join(problems) or 'keeps the contract'}", soft_wrap=True)
    if any(verdicts.values()):
        raise typer.Exit(1)
