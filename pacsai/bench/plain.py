"""`python -m pacsai.bench.plain FOLDER`: a receiver as pynetdicom's documentation writes it, raw bytes to a file.

Prints `ready PORT`. PDUs of any length, which is its fastest setting; no fsync, no index, no limits.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]


def main(folder: Path) -> None:
    """Receive until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def keep(event: Event) -> int:
        uid = event.request.AffectedSOPInstanceUID  # type: ignore[union-attr]
        with (folder / f"{uid}.dcm").open("wb") as file:  # ours alone: no peer but the bench's own sender
            file.write(event.encoded_dataset())
        return 0x0000

    entity = AE("PLAIN")
    entity.maximum_pdu_size = 0
    entity.maximum_associations = 100
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    sys.stdout.write(f"ready {server.server_address[1]}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
