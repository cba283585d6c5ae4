"""`pacsai retention`: what the node would delete of its local copies, and what not, and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from pacsai.cli.common import CommandError, ConfigOption, JsonOption, load_site, out, print_json
from pacsai.cli.story import STUDY_COLUMN


def retention(
    config: ConfigOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell; the running node deletes by itself.")] = False,
    json: JsonOption = False,
) -> None:
    """Tell which studies' local copies would go by the site's retention settings, and why the others stay."""
    if not dry_run:
        raise CommandError("the running node deletes by itself, as the settings say; --dry-run tells what and why")
    from pacsai.commitment import Ledger
    from pacsai.jobs import database_url, list_jobs
    from pacsai.retention import Retention
    from pacsai.spool import Spool

    site = load_site(config)
    spool, ledger = Spool(site.node.data), Ledger(site.node.data / "commitment.db")
    url = database_url(site.jobs.database, site.node.data)
    verdicts = Retention(site, spool, ledger, lambda: list_jobs(url)).verdicts()
    ledger.close()
    spool.close()
    if json:
        print_json([asdict(verdict) for verdict in verdicts])
        return
    table = Table(STUDY_COLUMN, "last arrival", "goes", "MB", "why")
    for one in verdicts:
        size = f"{one.bytes / 1e6:.1f}" if one.bytes else ""
        table.add_row(
            one.study_instance_uid, f"{one.last_arrival:%Y-%m-%d %H:%M}", "yes" if one.goes else "no", size, one.reason
        )
    out.print(table)
