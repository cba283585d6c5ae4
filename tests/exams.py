"""Small generated mammograms on disk: a breast at its chest wall, marks at known pixels, stored in many ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DigitalMammographyXRayImageStorageForProcessing, generate_uid

from pacsai.study import Study
from pacsai.study.reading import read_folder
from pacsai.wrap import About, wrap
from tests.objects.samples import NOW
from tests.phantoms import edit

VIEWS = ("R CC", "L CC", "R MLO", "L MLO")
SHAPES = {"R CC": (240, 180), "L CC": (250, 190), "R MLO": (260, 200), "L MLO": (270, 210)}
"""Rows and columns, different for each view, so that a mark on the wrong image shows."""
ORIENTATIONS = {"R CC": ("P", "L"), "L CC": ("A", "R"), "R MLO": ("P", "FL"), "L MLO": ("A", "FR")}
OPPOSITE = {"A": "P", "P": "A", "L": "R", "R": "L", "FL": "HR", "FR": "HL"}
AIR, FAT, DENSE, MARK = 40, 1200, 2400, 4000
Dot = tuple[int, int, int]
"""Row, column and half the side of a bright square."""
MARKS: Mapping[str, Sequence[Dot]] = {"L CC": ((100, 60, 6),), "L MLO": ((120, 71, 5), (180, 40, 1))}
"""A mass on both left views, and a cluster on one."""


def breast(name: str, marks: Sequence[Dot] = (), shape: tuple[int, int] | None = None) -> NDArray[np.uint16]:
    """Return a half ellipse at the chest wall, which is right in a right breast, with bright squares in it."""
    rows, columns = shape or SHAPES[name]
    j, i = np.mgrid[0:rows, 0:columns]
    from_wall = (columns - 1 - i if name[0] == "R" else i) / columns
    inside = ((j - rows / 2) / (0.45 * rows)) ** 2 + (from_wall / 0.8) ** 2 < 1
    texture = FAT + (DENSE - FAT) * (0.5 + 0.5 * np.sin(j / 9) * np.cos(i / 7)) * (1 - from_wall)
    image = np.where(inside, texture, AIR)
    for row, column, half in marks:
        image[row - half : row + half + 1, column - half : column + half + 1] = MARK
    return image.astype(np.uint16)


def write_view(
    folder: Path,
    name: str,
    array: NDArray[Any],
    *,
    flipped: str = "",
    tag: str = "",
    spacing_mm: tuple[float, float] | None = (0.1, 0.1),
    **header: Any,
) -> Path:
    """Write one view and return its file.

    Parameters
    ----------
    array : integers [j, i]
        Already as it is stored; 16 bits are written as 12.
    flipped : str
        "across", "down" or both: says how `array` departs from the usual orientation, for Patient Orientation.
    header
        DICOM keywords on top; None removes one.
    """
    side, view = name.split()
    folder.mkdir(parents=True, exist_ok=True)
    png = folder.parent / f"{folder.name}-{side}{view}{tag}.png"
    Image.fromarray(array).save(png)
    row, column = ORIENTATIONS[name]
    orientation = (OPPOSITE[row] if "across" in flipped else row, OPPOSITE[column] if "down" in flipped else column)
    about = About(
        patient_id="P1",
        patient_name="Test^Anna",
        study="exam",
        laterality=side,
        view=view,
        series_number=VIEWS.index(name) + 1,
        series_description=f"{name}{tag}",
        spacing_mm=spacing_mm,
        patient_orientation=orientation,
        acquired=NOW.replace(year=2025),
    )
    (path,) = wrap([png], "MG", folder / f"{side}{view}{tag}", about)
    bits = {"BitsStored": 12, "HighBit": 11} if array.dtype == np.uint16 else {}
    about_it = {"SpecificCharacterSet": "ISO_IR 100", "PatientSex": "F", "StudyID": "1", "AccessionNumber": "A1"}
    edit(path, **{**about_it, **bits, **header})
    return path


def write_exam(
    folder: Path,
    names: Sequence[str] = VIEWS,
    marks: Mapping[str, Sequence[Dot]] = MARKS,
    **options: Any,
) -> Study:
    """Write the named views with their marks and return the study."""
    for name in names:
        write_view(folder, name, breast(name, marks.get(name, ())), **options)
    return study_in(folder)


def study_in(folder: Path) -> Study:
    """Return the one study of a folder."""
    (study,) = read_folder(folder)
    return study


def for_processing(path: Path) -> Path:
    """Write beside an image for presentation the raw one that it was made of, and return its file.

    Fewer X-rays, lower values (sign 1): the raw image is the negative.
    """
    data = dcmread(path)
    data.PixelData = (4095 - data.pixel_array).astype(np.uint16).tobytes()
    data.SOPClassUID, data.SOPInstanceUID = DigitalMammographyXRayImageStorageForProcessing, generate_uid()
    data.SeriesInstanceUID = generate_uid()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PresentationIntentType, data.PixelIntensityRelationship = "FOR PROCESSING", "LIN"
    data.PixelIntensityRelationshipSign = 1
    raw = path.with_name(f"{path.stem}-raw.dcm")
    data.save_as(raw)
    return raw
