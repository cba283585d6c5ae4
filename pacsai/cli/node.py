"""`pacsai serve`: run the node until it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer

from pacsai.cli.common import CommandError, ConfigOption, load_site, told_plainly


def serve(config: ConfigOption, quiet: Annotated[bool, typer.Option(help="No line when ready.")] = False) -> None:
    """Run the node: receive studies, analyse them, send the results to the archive.

    Prints one line that starts with `ready` once it accepts associations. SIGTERM or Ctrl-C drains it: no new
    associations, running ones end, and what is left undone is taken up at the next start.
    """
    from pacsai.node import Node

    site = load_site(config)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with told_plainly(), Node(site, on_lost=ending.set) as node:
        if not quiet:
            names = ",".join(package.name for package in node.packages)
            ports = " ".join(f"{kind}={site.node.host}:{port}" for kind, port in node.receiver.ports.items())
            if node.web:
                ports += f" web={site.web.host}:{node.web.port}"
            sys.stdout.write(f"ready ae_title={site.node.ae_title} {ports} pipelines={names}\n")
            sys.stdout.flush()
        ending.wait()
    if node.lost:
        raise CommandError("this node was away for too long and another took its jobs over; start it again")
