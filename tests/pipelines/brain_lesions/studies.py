"""Brain studies as DICOM folders: real ones of open-ms wrapped, generated ones written."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from pacsai.volume import Grid
from pacsai.wrap import About, wrap
from pipelines.brain_lesions.evaluate import AGENT, save_nifti
from pipelines.brain_lesions.phantom import BrainPhantom
from pipelines.brain_lesions.registration_trials import FILES

SMALL_MM = 2


def wrapped(folder: Path, data: Path, *names: str) -> Path:
    """Wrap sequences of patient26 into a study in `folder` and return it."""
    files = [data / "mr" / "open-ms" / "patient26" / FILES[name] for name in names]
    about = About(patient_id="patient26", study="brain", body_part="HEAD")
    wrap(files, "MR", folder, about, same_space=True, contrast=AGENT if "T1C" in names else {})
    return folder


def generated(folder: Path, brain: BrainPhantom, *names: str, day: datetime | None = None) -> Path:
    """Write sequences of a generated brain as a study of `day` into `folder` and return it."""
    files = []
    folder.mkdir(parents=True)
    for name in names:
        grid = Grid(brain.images[name], np.eye(4))
        files.append(save_nifti(grid, folder / f"{name}.nii.gz"))
    about = About(patient_id="GENERATED", study=f"{day}", body_part="HEAD", acquired=day)
    wrap(files, "MR", folder, about, same_space=True)
    return folder
