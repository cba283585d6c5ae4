"""Real brains of open-ms, wrapped into DICOM studies."""

from __future__ import annotations

from pathlib import Path

from pacsai.wrap import About, wrap
from pipelines.brain_lesions.evaluate import AGENT
from pipelines.brain_lesions.registration_trials import FILES


def wrapped(folder: Path, data: Path, *names: str) -> Path:
    """Wrap sequences of patient26 into a study in `folder` and return it."""
    files = [data / "mr" / "open-ms" / "patient26" / FILES[name] for name in names]
    about = About(patient_id="patient26", study="brain", body_part="HEAD")
    wrap(files, "MR", folder, about, same_space=True, contrast=AGENT if "T1C" in names else {})
    return folder
