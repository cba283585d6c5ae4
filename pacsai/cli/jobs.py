"""`pacsai jobs`: what waits, runs, is done or has failed; `pacsai jobs retry`: run again what failed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from pacsai.cli.common import CommandError, ConfigOption, JsonOption, load_site, out, print_json, told_plainly

if TYPE_CHECKING:
    from pacsai.jobs import Job

app = typer.Typer(invoke_without_command=True, help="Jobs: waiting, running, done, failed with the reason.")

_STUDY = Column("study", overflow="fold", ratio=1)


@app.callback()
def jobs(
    context: typer.Context,
    config: Annotated[str | None, typer.Option("--config", "-c", help="The site's YAML file.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    json: JsonOption = False,
) -> None:
    """List the jobs: waiting, running, done, failed with the reason."""
    from pacsai.jobs import list_jobs

    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise CommandError("--config is missing: which site's jobs?")
    with told_plainly():
        found = list_jobs(_database(Path(config)))
    _print([job for job in found if not failed or job.state == "failed"], json)


@app.command()
def retry(
    config: ConfigOption,
    which: Annotated[str | None, typer.Argument(metavar="ID", help="A job's id or a Study Instance UID.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
    json: JsonOption = False,
) -> None:
    """Run again what failed, from the step that failed; the node may be running or not."""
    from pacsai.jobs import retry_jobs

    if (which is None) != everything:
        raise CommandError("give the id of a job, a Study Instance UID, or --all")
    with told_plainly():
        again = retry_jobs(_database(config), which)
    if which is not None and not again:
        raise CommandError(f"{which}: no job of this id or study has failed; `pacsai jobs --failed` lists them")
    _print(again, json)


def _database(config: Path) -> str:
    from pacsai.jobs import database_url

    site = load_site(config)
    return database_url(site.jobs.database, site.node.data)


def _print(found: list[Job] | tuple[Job, ...], json: bool) -> None:
    rows: list[dict[str, Any]] = [asdict(job) for job in found]
    if json:
        print_json(rows)
        return
    table = Table(_STUDY, "state", "updated", "detail")
    for row in rows:
        state = f"{row['state']}, urgent" if row["urgent"] else row["state"]
        table.add_row(row["study_instance_uid"], state, f"{row['updated']:%Y-%m-%d %H:%M:%S}", row["detail"])
    out.print(table)
