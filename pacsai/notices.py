"""Notices: what peers tell the node besides images, kept durably before success is answered, dealt with afterwards.

Commitment requests and answers, Modality Performed Procedure Steps, instance availability: small data sets that must
survive a crash as images do. A notice is one file; it is deleted once dealt with. Knows nothing of what they mean.
"""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode

from pacsai import durable, faults
from pacsai.story import Story

log = structlog.get_logger()

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
    faults.point("notice.kept")
    return path


def pending(folder: Path) -> tuple[Path, ...]:
    """Return the notices that wait, oldest first."""
    return tuple(sorted(folder.glob("[0-9]*.json")))


def read(path: Path) -> Notice:
    """Return the notice that `path` holds."""
    said = json.loads(path.read_bytes())
    return Notice(**said | {"dataset": b64decode(said["dataset"])})


Handler = Callable[[Notice], None]
"""Deals with one notice. It may be called again after a crash, and must then lead to the same end."""


class Desk:
    """Brings each notice to who deals with it.

    Parameters
    ----------
    folder : Path
        Where the receiver keeps notices.
    handlers : mapping
        Who deals with what: handlers by service and SOP class UID.
    story : Story
        Told of notices that nobody can deal with.
    """

    def __init__(self, folder: Path, handlers: Mapping[tuple[Service, str], Handler], story: Story) -> None:
        self._folder = folder
        self._handlers = handlers
        self._story = story

    def deal(self) -> None:
        """Deal with the notices that wait, oldest first. What a handler raises as OSError is tried again later."""
        for path in pending(self._folder):
            try:
                self._deal_with(read(path))
            except OSError as error:
                log.warning("a notice waits", reason=str(error.strerror))
                return
            except Exception as error:  # a peer's data set can break its reader in any way
                log.exception("a notice could not be dealt with")
                self._story.tell("notice refused", reason=type(error).__name__, notice=path.name)
            faults.point("notice.dealt")
            settle(path)

    def _deal_with(self, notice: Notice) -> None:
        handler = self._handlers.get((notice.service, notice.sop_class_uid))
        if handler is None:
            self._story.tell("notice ignored", service=notice.service, sop_class_uid=notice.sop_class_uid)
        else:
            handler(notice)


def settle(path: Path) -> None:
    """Forget a notice that was dealt with."""
    path.unlink(missing_ok=True)
    durable.sync_folder(path.parent)
