"""Notices: what peers tell the node besides images, kept durably before success is answered, dealt with afterwards.

Commitment requests and answers, Modality Performed Procedure Steps, instance availability: small data sets that must
survive a crash as images do. A notice is one file; it is deleted once dealt with. Knows nothing of what they mean.
"""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode

from pacsai import durable

Service = Literal["N-ACTION", "N-EVENT-REPORT", "N-CREATE", "N-SET"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One DIMSE-N request as it came (PS3.7 chapter 10).

    Attributes
    ----------
    type_id : int
        Action Type ID or Event Type ID, 0 for services without one.
    dataset : bytes
        The encoded data set, b"" where the request had none.
    """

    service: Service
    sop_class_uid: str
    sop_instance_uid: str
    type_id: int
    transfer_syntax_uid: str
    dataset: bytes
    calling_ae_title: str
    address: str
    at: str

    def content(self) -> Dataset:
        """Return the decoded data set."""
        syntax = UID(self.transfer_syntax_uid)
        return decode(BytesIO(self.dataset), syntax.is_implicit_VR, syntax.is_little_endian)


def keep(folder: Path, notice: Notice) -> Path:
    """Write `notice` into `folder`; when this returns it survives a power cut."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
    said = asdict(notice) | {"dataset": b64encode(notice.dataset).decode()}
    durable.write(path, json.dumps(said).encode())
    return path


def pending(folder: Path) -> tuple[Path, ...]:
    """Return the notices that wait, oldest first."""
    return tuple(sorted(folder.glob("[0-9]*.json")))


def read(path: Path) -> Notice:
    """Return the notice that `path` holds."""
    said = json.loads(path.read_bytes())
    return Notice(**said | {"dataset": b64decode(said["dataset"])})


def settle(path: Path) -> None:
    """Forget a notice that was dealt with."""
    path.unlink(missing_ok=True)
    durable.sync_folder(path.parent)
