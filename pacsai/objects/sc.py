"""SC: the summary page of a result as a Secondary Capture image (PS3.3 A.8.1), its words burned into the pixels."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pacsai.finding import Result
from pacsai.objects.common import (
    NODE,
    Author,
    contributing_equipment,
    description,
    evidence,
    finish,
    identity,
    provenance_of,
    software_versions,
)
from pacsai.objects.exam_page import exam_page
from pacsai.objects.page import page
from pacsai.objects.source import Source


def build(result: Result, source: Source, author: Author = NODE) -> Dataset:
    """Return the RGB page of a result, of any outcome.

    Raises
    ------
    ValueError
        The images name no study or series that a result could be filed with.
    """
    provenance, headers = provenance_of(result), evidence(source)
    ends = description(provenance, author), ", ".join(software_versions(provenance))
    picture = exam_page(result, source.views, *ends) if source.views else page(result, source.volume, *ends)
    capture: Dataset = hd.sc.SCImage.from_ref_dataset(
        headers[0],
        pixel_array=np.asarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=[contributing_equipment(source, result, author)],
        **identity("SC", result, author),
    )
    capture.copy_patient_and_study_information(headers[0])
    capture.PatientOrientation = ""  # type 2C: a page of pictures and words has none, and highdicom asks for one
    capture.Laterality = ""  # type 2C as well; see gsps.py
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BurnedInAnnotation = "YES"
    capture.DateOfSecondaryCapture = f"{source.now:%Y%m%d}"
    capture.TimeOfSecondaryCapture = f"{source.now:%H%M%S}"
    return finish(capture, source)
