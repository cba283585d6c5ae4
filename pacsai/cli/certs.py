"""`pacsai certs`: a test authority, and certificates to try TLS with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pacsai.cli.common import CommandError


def certs(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    name: Annotated[list[str] | None, typer.Option(help="A host name or address they hold for; repeat it.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How long they hold.")] = 365,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The files as JSON.")] = False,
) -> None:
    """Make a test authority and certificates of the node, an archive and a client. Not for patients' data."""
    from pacsai import certs as making

    names = [f"{one}.{kind}" for one in (making.AUTHORITY, *making.HOLDERS) for kind in ("pem", "key")]
    if force:
        for file in names:
            (folder / file).unlink(missing_ok=True)
    try:
        written = making.make(folder, name or ("localhost", "127.0.0.1"), days)
    except FileExistsError as error:
        raise CommandError(f"{error.filename} is there already; --force makes all anew") from error
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}") from error
    if as_json:
        sys.stdout.write(json.dumps([str(path) for path in written]) + "\n")
        return
    where = folder.resolve()
    sys.stdout.write(
        "".join(f"{path}\n" for path in written)
        + "\nFor the site file, under node:\n"
        + f"  tls: {{port: 2762, certificate: {where}/node.pem, key: {where}/node.key, authorities: {where}/ca.pem}}\n"
        + "To store with DCMTK:\n"
        + f"  storescu +tls {where}/client.key {where}/client.pem +cf {where}/ca.pem -aec PACSAI 127.0.0.1 2762 FILE\n"
    )
