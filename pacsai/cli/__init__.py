"""The command `pacsai`: thin words over the rooms. JSON goes to standard output, logs to standard error."""

from __future__ import annotations

import sys

import typer

from pacsai.cli import bench, certs, demo, jobs, node, offline, pipelines, retention, story
from pacsai.cli.common import CommandError, errors
from pacsai.logs import configure_logs

app = typer.Typer(
    name="pacsai",
    help="The node beside the PACS: AI results in standard DICOM. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(node.serve)
app.command()(offline.analyse)
app.command()(offline.evaluate)
app.command()(offline.wrap)
app.command()(story.studies)
app.command()(story.study)
app.command()(retention.retention)
app.add_typer(jobs.app, name="jobs")
app.add_typer(pipelines.app, name="pipelines")
app.command()(certs.certs)
app.command()(demo.demo)
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command; what a person can act on ends in one line on standard error, status 2."""
    configure_logs()
    try:
        app()
    except CommandError as error:
        errors.print(f"[bold red]pacsai:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
