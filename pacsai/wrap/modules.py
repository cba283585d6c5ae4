"""The modules of a wrapped or generated image: what a data set of each modality must carry (PS3.3 A.2 - A.26).

Pure: labels in, data sets out. Nothing is claimed that the foreign file does not say; attributes that must have a
value get the one that says "derived", those that may be empty stay empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
)

from pacsai.wrap.foreign import WrapError

VIEWS: Mapping[str, Code] = {
    "PA": codes.cid4010.PosteroAnterior,
    "AP": codes.cid4010.AnteroPosterior,
    "LL": codes.cid4010.LeftLateral,
    "RL": codes.cid4010.RightLateral,
    "CC": codes.cid4014.CranioCaudal,
    "MLO": codes.cid4014.MedioLateralObliqueProjection,
    "ML": codes.cid4014.MedioLateralProjection,
    "LM": codes.cid4014.LateroMedial,
}
_MAMMOGRAPHY_VIEWS = ("CC", "MLO", "ML", "LM")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of the patient, the study and the images; nothing here is read from the files.

    Attributes
    ----------
    study : str
        A name for the study: calls with the same `patient_id` and `study` write into one study. Empty: the study
        belongs to this call's files.
    body_part : str
        BodyPartExamined, e.g. CHEST.
    laterality : str
        L or R, needed for MG.
    view : str
        CC, MLO, ML or LM for MG (needed); AP, PA, LL, RL, ... for CR and DX.
    patient_orientation : tuple of str
        PatientOrientation of a projection image, e.g. ("L", "F"): where rows and columns run. Empty when not known.
    spacing_mm : tuple of two floats, or None
        Of flat images at the detector: between rows, between columns.
    burned_in_annotation : bool
        Names or other text stand in the pixels of a flat image.
    contrast_agent : str
        ContrastBolusAgent of CT and MR; empty: nothing is said.
    acquired : datetime or None
        Study, series and content date and time; they stay empty when not known.
    """

    patient_id: str = "WRAPPED"
    patient_name: str = ""
    accession_number: str = ""
    study: str = ""
    study_description: str = ""
    series_description: str = ""
    series_number: int = 1
    body_part: str = ""
    laterality: str = ""
    view: str = ""
    patient_orientation: tuple[str, ...] = ()
    spacing_mm: tuple[float, float] | None = None
    burned_in_annotation: bool = False
    contrast_agent: str = ""
    acquired: datetime | None = None


def base(modality: str, about: About, derivation: str) -> Dataset:
    """Return the data set that all instances of a wrapped series share, without UIDs, place and pixels.

    Raises
    ------
    WrapError
        A modality that is not wrapped, or one that needs a laterality or view and has none.
    """
    if modality not in _MODALITIES:
        raise WrapError(f"modality {modality!r} is not wrapped; one of {', '.join(_MODALITIES)} is")
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.Modality = modality
    _common(data, about, derivation)
    sop_class_uid, module = _MODALITIES[modality]
    data.SOPClassUID = sop_class_uid
    module(data, about)
    return data


def _common(data: Dataset, about: About, derivation: str) -> None:
    """Add Patient, General Study, General Series, General Equipment and General Image modules (PS3.3 C.7)."""
    data.PatientName, data.PatientID = about.patient_name, about.patient_id
    data.PatientBirthDate = data.PatientSex = ""
    date, time = (about.acquired.strftime(form) if about.acquired else "" for form in ("%Y%m%d", "%H%M%S"))
    data.StudyDate, data.StudyTime = date, time
    data.ContentDate, data.ContentTime = date, time
    data.ReferringPhysicianName, data.StudyID = "", ""
    data.AccessionNumber = about.accession_number
    data.StudyDescription, data.SeriesDescription = about.study_description[:64], about.series_description[:64]
    data.SeriesNumber = about.series_number
    data.Manufacturer = "pacsai wrap"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.DerivationDescription = derivation[:1024]
    data.PatientOrientation = list(about.patient_orientation)
    data.AcquisitionNumber = None
    if about.contrast_agent:
        data.ContrastBolusAgent = about.contrast_agent[:64]
    if about.body_part:
        data.BodyPartExamined = about.body_part
    elif data.Modality not in ("MG", "DX"):  # these have ImageLaterality
        data.Laterality = ""  # asked for where no body part says that there is no left and right of it


def _ct(data: Dataset, _about: About) -> None:
    data.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    data.PatientPosition = ""
    data.KVP = None
    data.RescaleType = "HU"


def _mr(data: Dataset, _about: About) -> None:
    data.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    data.PatientPosition = ""
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions = "RM", "NONE", ""
    data.MRAcquisitionType = ""
    data.RepetitionTime = data.EchoTime = data.EchoTrainLength = None


def _cr(data: Dataset, about: About) -> None:
    data.BodyPartExamined, data.ViewPosition = about.body_part, about.view


def _dx(data: Dataset, about: About) -> None:
    data.ViewPosition = about.view
    data.ImageLaterality = about.laterality or "U"
    _digital_projection(data, about)


def _mg(data: Dataset, about: About) -> None:
    if about.laterality not in ("L", "R") or about.view not in _MAMMOGRAPHY_VIEWS:
        raise WrapError(f"a mammogram needs its laterality (L or R) and its view ({', '.join(_MAMMOGRAPHY_VIEWS)})")
    data.ImageLaterality, data.ViewPosition = about.laterality, about.view
    data.BodyPartExamined = "BREAST"
    _digital_projection(data, about)
    data.OrganExposed, data.PositionerType, data.BreastImplantPresent = "BREAST", "MAMMOGRAPHIC", ""
    data.PartialView = "NO"
    data.AnatomicRegionSequence = [_coded(codes.cid4031.Breast)]
    data.ViewCodeSequence[0].ViewModifierCodeSequence = []


def _digital_projection(data: Dataset, about: About) -> None:
    """Add what the DX and Mammography image modules ask of every image for presentation (PS3.3 C.8.11)."""
    data.BurnedInAnnotation = "YES" if about.burned_in_annotation else "NO"
    data.PresentationIntentType = "FOR PRESENTATION"
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1
    data.PresentationLUTShape, data.LossyImageCompression = "IDENTITY", "00"
    data.DetectorType, data.PositionerType = "", ""
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, 0, "US"
    data.AcquisitionContextSequence = []
    region = getattr(codes.cid4031, about.body_part.title(), None) if about.body_part else None
    data.AnatomicRegionSequence = [_coded(region)] if region else []
    if about.view in VIEWS:
        data.ViewCodeSequence = [_coded(VIEWS[about.view])]


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


_MODALITIES: Mapping[str, tuple[str, Callable[[Dataset, About], None]]] = {
    "CT": (CTImageStorage, _ct),
    "MR": (MRImageStorage, _mr),
    "MG": (DigitalMammographyXRayImageStorageForPresentation, _mg),
    "CR": (ComputedRadiographyImageStorage, _cr),
    "DX": (DigitalXRayImageStorageForPresentation, _dx),
}
