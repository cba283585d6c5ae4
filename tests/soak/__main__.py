"""`python -m tests.soak`: the long soak. Prints its figures; ends with status 1 where something must not be."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.soak.soak import Outcome, soak


def main() -> int:
    """Run the soak that the options describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the disk to use, 2 GB; the system's temporary one if not given")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pacsai-soak-", dir=options.folder) as folder:
        outcome = soak(Path(folder), instances=options.instances, senders=options.senders, seed=options.seed)
    violations = outcome.violations()
    sys.stdout.write((as_json(outcome) if options.json else table(outcome)) + "\n")
    for line in violations:
        sys.stderr.write(f"must not be: {line}\n")
    return 1 if violations else 0


def as_json(outcome: Outcome) -> str:
    """Return everything as JSON."""
    return json.dumps({**asdict(outcome), "violations": outcome.violations()}, indent=2)


def table(outcome: Outcome) -> str:
    """Return the figures as a Markdown table."""
    before, after, memory = outcome.before, outcome.after, outcome.memory
    rate = f"{outcome.megabytes / outcome.seconds:.0f} MB/s, {outcome.instances / outcome.seconds:.0f} images/s"
    trend = f"{memory.median_mb:.0f} MB median, {memory.highest_mb:.0f} at most, line gains {memory.gain_mb:+.0f}"
    unfinished = f"{outcome.most_unfinished} / {len(outcome.left_unfinished)} / {len(outcome.left_temporary)}"
    rows = [
        ("instances", f"{outcome.instances}, {outcome.megabytes:.0f} MB, in {outcome.seconds:.0f} s: {rate}"),
        ("never acknowledged / lost", f"{outcome.unacknowledged} / {outcome.lost}"),
        ("memory of all processes", f"{before.rss_mb:.0f} MB before; {trend}"),
        ("descriptors at rest", f"{before.descriptors} before, {after.descriptors} after"),
        ("threads at rest", f"{before.threads} before, {after.threads} after"),
        ("unfinished files: most / left / temporary left", unfinished),
        *sorted(outcome.events.items()),
    ]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    sys.exit(main())
