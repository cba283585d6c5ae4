"""`pacsai demo`: the whole way of a study, in front of one's eyes."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pacsai.cli.common import CommandError, JsonOption, errors, out, print_json, told_plainly
from pacsai.cli.offline import findings_table


def demo(
    study: Annotated[Path | None, typer.Option(help="A folder with one's own study, in place of a phantom.")] = None,
    pipeline: Annotated[str, typer.Option(help="The pipeline to show.")] = "chest_ct_nodules",
    out_folder: Annotated[Path, typer.Option("--out", help="Made anew; everything of the demo goes here.")] = Path(
        "demo-out"
    ),
    wait_s: Annotated[float, typer.Option(help="How long to wait for the result.")] = 300,
    json: JsonOption = False,
) -> None:
    """Send a generated chest CT with known nodules through a node, and show what the archive holds afterwards.

    Runs a node and an archive (Orthanc where installed, pynetdicom's qrscp elsewhere) on free loopback ports, and
    stops both. Ends with 1 when nothing came back, or when a nodule of 6 mm or more was missed.
    """
    from pacsai.demo import DemoError
    from pacsai.peers import PeerError

    try:
        with told_plainly():
            told = _run(study, pipeline, out_folder, wait_s)
    except (DemoError, PeerError) as error:
        raise CommandError(str(error)) from error
    print_json(told) if json else _show(told)
    if told["missed"] or not told["report"]["objects"]:
        raise typer.Exit(1)


def _run(own: Path | None, pipeline: str, folder: Path, wait_s: float) -> dict[str, Any]:
    from pacsai import demo as steps
    from pacsai.peers import archive, free_port

    _made_anew(folder)
    case = (
        steps.Case(own, steps.only_study(own)) if own else _told("generating a chest CT with known nodules",
        lambda: steps.generated_case(pipeline, folder / "study"))
    )  # fmt: skip
    uid, port = case.study.study_instance_uid, free_port()
    with archive(folder / "archive", steps.AE_TITLE, port) as peer, steps.node(folder, pipeline, peer, port) as node:
        errors.print(f"  archive {peer.name} on port {peer.port}, node on port {port}")
        for name, ae_title, at in (("archive", peer.ae_title, peer.port), ("node", steps.AE_TITLE, port)):
            _told(f"sending {len(case.paths)} images to the {name}", partial(steps.send, case.paths, ae_title, at))
        start = time.monotonic()
        with errors.status("waiting for the study to be complete ...") as status:
            for state in steps.states(node, uid, wait_s):
                status.update(f"{state} ({time.monotonic() - start:.0f} s)")
        seconds = time.monotonic() - start
        errors.print(f"  {state} after {seconds:.0f} s")
        report = steps.report_of(node)
        held = steps.objects_in(peer, uid)
        picture = folder / "findings.png"
        if report["findings"]:
            steps.picture(node, case, report).save(picture)
    return {
        "state": state,
        "seconds": round(seconds, 1),
        "archive": peer.name,
        "held": dict(held),
        "report": report,
        "truth": _truth(steps.matched(report["findings"], case.lesions)),
        "missed": steps.missed(report["findings"], case.lesions),
        "picture": str(picture.resolve()) if picture.exists() else None,
    }


def _made_anew(folder: Path) -> None:
    """Empty the demo's folder; one that something else lies in is left alone."""
    mark = folder / ".pacsai-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise CommandError(f"{folder} is not empty and not a demo's folder; give another with --out")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


def _told(what: str, act: Any) -> Any:
    with errors.status(f"{what} ..."):
        start = time.monotonic()
        answer = act()
    errors.print(f"  {what}: {time.monotonic() - start:.1f} s")
    return answer


def _truth(pairs: Any) -> list[dict[str, Any]]:
    return [
        {
            "centre_mm": lesion.centre_mm,
            "diameter_mm": lesion.diameter_mm,
            "kind": lesion.kind,
            "found_as": finding["label"] if finding else None,
            "long_axis_mm": finding.get("long_axis_mm") if finding else None,
        }
        for lesion, finding in pairs
    ]


def _show(told: dict[str, Any]) -> None:
    report = told["report"]
    out.print(f"\n[bold]{report['pipeline']} {report['version']}: {told['state']}[/]")
    if told["truth"]:
        table = Table("nodule in the phantom", "diameter mm", "found as", "long axis mm", title="truth and findings")
        for one in told["truth"]:
            found = one["found_as"] or "[red]missed[/]"
            axis = f"{one['long_axis_mm']:.1f}" if one["long_axis_mm"] else ""
            table.add_row(one["kind"], f"{one['diameter_mm']:.1f}", found, axis)
        out.print(table)
    if report["findings"]:
        out.print(findings_table(report["findings"]))
    held = Table("series", "instances", title=f"the study in {told['archive']}")
    for name, count in sorted(told["held"].items()):
        held.add_row(name, str(count))
    out.print(held)
    if told["picture"]:
        out.print(f"picture: {told['picture']}", soft_wrap=True)
    out.print(report["intended_use"])
