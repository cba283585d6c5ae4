"""`python -m pacsai.bench.receiver FOLDER [--no-fsync]`: this node's receiver and spool alone, without jobs.

Prints `ready PORT` when it listens on 127.0.0.1, and drains at SIGTERM. Without fsync it breaks the spool's promise, to
show what the promise costs.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from pacsai.config import Limits, Node
from pacsai.dicom.scp import Receiver
from pacsai.logs import configure_logs
from pacsai.spool import Spool


def main() -> None:
    """Receive until SIGTERM."""
    parser = argparse.ArgumentParser(description="This node's receiver alone.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-fsync", action="store_true")
    options = parser.parse_args()
    configure_logs()
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    spool = Spool(folder)
    spool.start()
    node = Node(data=folder, port=0, limits=Limits(free_gb=0))
    receiver = Receiver(node, spool, flushed=not options.no_fsync)
    receiver.start()
    sys.stdout.write(f"ready {receiver.port}\n")
    sys.stdout.flush()
    ending.wait()
    receiver.stop()
    spool.close()


if __name__ == "__main__":
    main()
