"""A folder as archive: for a share that something else watches, or for looking at results by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info

from pacsai import durable
from pacsai.archive.base import ArchiveUnavailable, Sent

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class FolderArchive:
    """A folder that gets <SOP Instance UID>.dcm for each object; it is made when it is not there."""

    path: Path

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        """Copy the files, as `Archive.send` says. A file of that name with other bytes is kept and ours refused."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return tuple(self._keep(path) for path in paths)
        except OSError as error:
            raise ArchiveUnavailable(f"the folder {self.path} cannot be written: {error.strerror}") from error

    def _keep(self, path: Path) -> Sent:
        uid = str(read_file_meta_info(path).MediaStorageSOPInstanceUID)
        if len(uid) > 64 or not _UID.fullmatch(uid):
            return Sent(uid, accepted=False, detail="its SOP Instance UID is not a valid UID")
        data, target = path.read_bytes(), self.path / f"{uid}.dcm"
        if not target.exists():
            durable.write(target, data)
            return Sent(uid, accepted=True)
        if target.read_bytes() == data:
            return Sent(uid, accepted=True, detail="already there")
        return Sent(uid, accepted=False, detail="the folder holds another file of this name")
