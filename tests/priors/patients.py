"""Studies of one patient at several dates, for the tests of priors."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pydicom

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.dicom import part10
from pacsai.spool import Arrival, Spool
from pacsai.story import utc_now
from tests.phantoms import edit, write_ct_series
from tests.toys import toy_pipeline

SLICES = 8
BORN = {"PatientBirthDate": "19700101", "PatientSex": "F"}


def study(folder: Path, day: str, **header: Any) -> Path:
    """Write a CT of 8 slices with one bright ball, made on `day`; each patient, day and time is a study of its own."""
    array = np.full((SLICES, 24, 32), -800, np.int16)
    array[3:6, 10:16, 12:18] = 40
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    affine[:3, 3] = (
        crc32(str(header.get("PatientID")).encode()) % 1000 + int(day[:4]) % 100,
        int(day[4:]),
        int(header.get("StudyTime", 0)) / 1e3,
    )
    path = folder / f"study-{day}"
    write_ct_series(path, array, affine, **{**BORN, "StudyDate": day, **header})
    return path


def uid_of(folder: Path) -> str:
    """Return the Study Instance UID of a folder's files."""
    return str(pydicom.dcmread(files(folder)[0], stop_before_pixels=True).StudyInstanceUID)


def files(folder: Path) -> list[Path]:
    """Return a folder's files."""
    return sorted(folder.rglob("*.dcm"))


def result_of_ours(folder: Path) -> Path:
    """Add to a study an SR as this node writes it, as far as headers go."""
    first = files(folder)[0]
    path = first.with_name("sr.dcm")
    path.write_bytes(first.read_bytes())
    ours = {"Manufacturer": MANUFACTURER, "ManufacturerModelName": MODEL_NAME}
    uids = {"SOPInstanceUID": "2.25.77", "SeriesInstanceUID": "2.25.78", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.34"}
    edit(path, Modality="SR", **uids, **ours, PixelData=None, Rows=None, Columns=None)
    return path


def spooled(spool: Spool, folder: Path, *, handed_on: bool = True) -> str:
    """Let a folder's files arrive in a spool; return their Study Instance UID."""
    for path in files(folder):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        data = path.read_bytes()
        syntax, start = part10.locate(data)
        arrival = Arrival(
            study_instance_uid=str(header.StudyInstanceUID),
            sop_class_uid=str(header.SOPClassUID),
            sop_instance_uid=str(header.SOPInstanceUID),
            transfer_syntax_uid=syntax,
            dataset=data[start:],
        )
        spool.receive(arrival, utc_now())
    uid = uid_of(folder)
    if handed_on:
        spool.mark_submitted(uid, spool.revision(uid))
    return uid


def comparing_toy(parent: Path, note: Path | None = None) -> Path:
    """Write the toy pipeline, as one that wants a prior; it writes the names of the prior's files into `note`."""
    look = "pass"
    if note:
        here = str(note.parent / "data" / "work")
        names = f"' '.join(path.name for path in pathlib.Path({here!r}).glob('*-prior/*.dcm'))"
        look = f"import pathlib; pathlib.Path({str(note)!r}).write_text({names})"
    folder = toy_pipeline(parent, misbehave=look)
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text() + "prior: true\n")
    return folder
