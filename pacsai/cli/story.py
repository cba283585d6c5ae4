"""`pacsai studies`, `study`: what the node did, told while it runs or after."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Column, Table

from pacsai.cli.common import CommandError, ConfigOption, JsonOption, load_site, out, print_json
from pacsai.cli.offline import findings_table
from pacsai.spool import Spool
from pacsai.state import state_of

STUDY_COLUMN = Column("study", overflow="fold", ratio=1)
"""UIDs are for copying: folded in a narrow window, never cut."""
APART = ("at", "event", "revision", "quarantine")
"""What of an event is not told among its words; lists are told below them."""


def studies(config: ConfigOption, json: JsonOption = False) -> None:
    """List the studies this node holds, each with the state it is in."""
    spool = Spool(load_site(config).node.data)
    rows = [_row(spool, uid) for uid in spool.studies()]
    if json:
        print_json(rows)
        return
    table = Table(STUDY_COLUMN, "instances", "state")
    for row in rows:
        table.add_row(row["study_instance_uid"], str(row["instances"]), row["state"])
    out.print(table)


def study(uid: Annotated[str, typer.Argument(metavar="UID")], config: ConfigOption, json: JsonOption = False) -> None:
    """Tell one study's whole story: arrivals, verdicts on its series, jobs, findings, deliveries."""
    spool = Spool(load_site(config).node.data)
    if uid not in spool.studies():
        raise CommandError(f"{uid}: no such study here; `pacsai studies` lists them")
    events = spool.story_of(uid).read()
    if json:
        print_json({"study_instance_uid": uid, "state": state_of(events), "events": events})
        return
    out.print(f"[bold]{uid}[/]: {state_of(events)}")
    for event in events:
        _print_event(event)


def _row(spool: Spool, uid: str) -> dict[str, Any]:
    return {
        "study_instance_uid": uid,
        "instances": len(spool.instances(uid)),
        "state": state_of(spool.story_of(uid).read()),
    }


def _print_event(event: dict[str, Any]) -> None:
    details = {key: value for key, value in event.items() if key not in APART and not isinstance(value, list)}
    words = "  ".join(f"{key}={value}" for key, value in details.items() if value not in ("", None))
    out.print(f"[dim]{event['at']}[/]  [bold]{event['event']}[/]  {words}", soft_wrap=True)
    for series in event.get("series", []):
        out.print(f"    {'taken' if series['taken'] else 'left '}  {series['description']}: {series['reason']}")
    if event.get("findings"):
        out.print(findings_table(event["findings"]))
    for one in event["objects"] if event["event"] == "analysed" else ():
        kept_back = f"  [red]kept back: {'; '.join(one['problems'])}[/]" if one["problems"] else ""
        out.print(f"    {one['kind']:5} {one['sop_instance_uid']}{kept_back}", soft_wrap=True)
