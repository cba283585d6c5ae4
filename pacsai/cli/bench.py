"""`pacsai bench`: how fast this node is beside other programs, on this machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pacsai.cli.common import CommandError, JsonOption, errors, out, print_json

if TYPE_CHECKING:
    from pacsai.bench.ingest import Run

app = typer.Typer(help="Measure this node beside other programs.", no_args_is_help=True)

_ONLY = "Measure these receivers alone."
_FOLDER = "A folder on the disk to measure; the system's temporary one where not given."


@app.callback()
def bench() -> None:
    """Measure this node beside other programs."""


@app.command()
def ingest(
    json: JsonOption = False,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each receiver; medians are told.")] = 5,
    instances: Annotated[int, typer.Option(min=1, help="CT slices of 525 kB that each run sends.")] = 300,
    associations: Annotated[str, typer.Option(help="How many senders at the same time, one or more.")] = "1,4,16",
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help=_ONLY)] = None,
    folder: Annotated[Path | None, typer.Option(help=_FOLDER)] = None,
    check: Annotated[bool, typer.Option("--check", help="End with status 1 where a target is missed.")] = False,
) -> None:
    """Send generated CT slices to this node, storescp, Orthanc, pynetdicom and a bare loop, and compare.

    Receivers alternate; each run starts one afresh in an empty folder. The floor is a loop that only reads a socket and
    makes the same files equally durable: what disk and loopback allow.
    """
    from pacsai.bench import figures
    from pacsai.bench.ingest import BenchError, measure, sender_start_s
    from pacsai.peers import PeerError
    from pacsai.spool.flushing import file_system

    names, counts = _receivers(only), _counts(associations, instances)
    place = folder or Path(tempfile.gettempdir())
    if file_system(place)[0] == "tmpfs":
        errors.print(f"[yellow]{figures.TMPFS_WARNING}[/]", highlight=False)
    try:
        runs = measure(names, counts, instances=instances, repeats=repeats, folder=place, told=_tell)
        start_s = {count: sender_start_s(count) for count in counts}
    except (BenchError, PeerError, OSError) as error:
        raise CommandError(str(error)) from error
    if json:
        print_json(figures.as_json(runs, start_s, place))
    else:
        out.print(figures.table(runs), soft_wrap=True)
        starts = ", ".join(f"{count}: {seconds:.2f} s" for count, seconds in start_s.items())
        out.print(f"Each time holds the start of the senders; that alone, by associations: {starts}", soft_wrap=True)
    _check(figures.missed(figures.ratios(runs)), fail=check)


def _check(missed: list[str], *, fail: bool) -> None:
    for line in missed:
        errors.print(f"[yellow]missed:[/] {line}", highlight=False)
    if fail and missed:
        raise typer.Exit(1)


def _tell(run: Run) -> None:
    words = f"{run.receiver}, {run.associations} associations: {run.mb_per_s:.0f} MB/s"
    errors.print(f"[dim]{words}[/]", highlight=False)


def _receivers(only: list[str] | None) -> list[str]:
    """Return the receivers to measure; without `only`, those whose programs are here."""
    from pacsai.bench.receivers import KINDS, PROGRAMS

    for name in only or ():
        if name not in KINDS:
            raise CommandError(f"{name}: no such receiver; there are {', '.join(KINDS)}")
    chosen = only or list(KINDS)
    lacking = [name for name in chosen if name in PROGRAMS and shutil.which(PROGRAMS[name]) is None]
    for name in lacking:
        errors.print(f"[yellow]{name} is left out: {PROGRAMS[name]} is not on this machine[/]", highlight=False)
    return [name for name in chosen if name not in lacking]


def _counts(associations: str, instances: int) -> list[int]:
    try:
        counts = [int(part) for part in associations.split(",")]
    except ValueError:
        raise CommandError(f"--associations {associations}: numbers with commas between them are wanted") from None
    if any(not 1 <= count <= instances for count in counts):
        raise CommandError(f"--associations {associations}: each from 1 to the number of instances, {instances}")
    return counts
