"""The rules by which images are left: small functions, each giving its reason in words, or None where it has none.

Data in order: `rules_for(modality)` are the rules for headers, `GRID_RULES` those that need the grid of slices. The
first rule with a reason decides. They follow the series-selection rules of the project's standards (loop guard,
localizers, derived images, kernels, body part, geometry before header); those of MR and MG join RULES by modality.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import numpy as np
from pydicom.dataset import Dataset

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.pipeline import Condition
from pacsai.selection.splitting import Part
from pacsai.selection.wording import (
    DESCRIPTIONS,
    LOCALIZER,
    QUALITY_ASSURANCE,
    REFORMAT,
    TIMING,
    folded,
    other_body_part,
    says,
)
from pacsai.study.header import as_number, items, number, texts, uid, uid_name, values
from pacsai.volume import Geometry

Accepts = Mapping[str, Condition]
Rule = Callable[[Part, Accepts], str | None]
GridRule = Callable[[Part, Geometry, Accepts], str | None]

IMAGE_CLASSES: Mapping[str, tuple[str, ...]] = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"),
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"),
    "CR": ("1.2.840.10008.5.1.4.1.1.1",),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"),
    "MG": ("1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.13.1.3"),
}
"""Modality -> SOP classes of its own images: as acquired, enhanced, converted to enhanced (PS3.4 B.5)."""
DERIVED_TOKENS = frozenset(
    {
        *("MPR", "CSA MPR", "REFORMATTED", "MIP", "MINIP", "MNIP", "MAX_IP", "MIN_IP", "MEAN_IP", "PROJECTION IMAGE"),
        *(
            "VRT",
            "SSD",
            "3D",
            "VOLUME_RENDER",
            "SURFACE_RENDER",
            "SUBTRACTION",
            "PERFUSION",
            "SCREEN SAVE",
            "DOSE_INFO",
        ),
    }
)
"""Values of ImageType (from the third on) that name a computed image (PS3.3 C.8.15.2, C.8.16.1.4, and vendors' own)."""
HUMAN = ("337915000", "L-85B00")
REJECTED = ("113001", "113037", "113038", "113039")
"""Titles of a Key Object Selection that withdraw what it names: quality, safety, wrong worklist entry, expired."""
AXIAL_LIMIT = 0.9
ADULT_YEARS = 18.0
OWN_RULES = ("Modality", "BodyPart", "instances", "SliceThickness")
"""Acceptance keys that have a rule of their own here; the others compare the header's attribute."""


def made_here(part: Part, _: Accepts) -> str | None:
    """Leave what this node made itself: a result is never analysed."""
    made = texts(part.header, "Manufacturer"), texts(part.header, "ManufacturerModelName")
    return "made by this node" if made == (MANUFACTURER, MODEL_NAME) else None


def other_modality(part: Part, accepts: Accepts) -> str | None:
    """Leave what is of another modality than the pipeline asks for."""
    wanted, modality = accepts.get("Modality"), part.modality
    if wanted is None or modality in wanted.values:
        return None
    return f"modality {modality or 'not given'}, and the pipeline asks for {asked(wanted)}"


def no_image(part: Part, _: Accepts) -> str | None:
    """Leave SOP classes that are no images of the series' modality: reports, presentations, secondary captures."""
    held = part.instances[0].sop_class_uid
    classes = IMAGE_CLASSES.get(part.modality)
    if held in classes if classes else part.series.is_image:
        return None
    return f"{uid_name(held)}: not an image as the {part.modality or 'unknown'} scanner acquires it"


def quality_assurance(part: Part, _: Accepts) -> str | None:
    """Leave calibration and quality assurance, told by the words of descriptions, never by a patient's name."""
    found = says(QUALITY_ASSURANCE, part.header, *DESCRIPTIONS)
    return "quality assurance or calibration by its description" if found else None


def not_human(part: Part, _: Accepts) -> str | None:
    """Leave animals (PS3.3 C.7.1.1, Patient Species and Breed)."""
    coded = any(texts(item, "CodeValue") not in HUMAN for item in items(part.header, "PatientSpeciesCodeSequence"))
    told = folded(texts(part.header, "PatientSpeciesDescription")) not in ("", "human", "homo sapiens", "mensch")
    return "the patient is not human" if coded or told or texts(part.header, "PatientBreedDescription") else None


def child(part: Part, accepts: Accepts) -> str | None:
    """Leave children, unless the pipeline has a rule for PatientAge itself; an unknown age is an adult's."""
    age = _age_years(part.header)
    if age is None or age >= ADULT_YEARS or "PatientAge" in accepts:
        return None
    return "the patient is a child, and the pipeline is made for adults"


def localizer(part: Part, _: Accepts) -> str | None:
    """Leave scouts."""
    if "LOCALIZER" in image_type(part.header):
        return "a localizer (ImageType LOCALIZER)"
    return "a localizer by its description" if says(LOCALIZER, part.header, "SeriesDescription") else None


def timing_run(part: Part, _: Accepts) -> str | None:
    """Leave the slices that only wait for the contrast medium."""
    return "a bolus timing run by its description" if says(TIMING, part.header, "SeriesDescription") else None


def derived(part: Part, _: Accepts) -> str | None:
    """Leave what was computed from other images; DERIVED, PRIMARY stays, as vendors' own axial images have it."""
    found = image_type(part.header)
    if "SECONDARY" in found[1:2]:
        return f"a secondary image (ImageType {backslashed(found[:2])})"
    if tokens := DERIVED_TOKENS.intersection(found[2:]):
        return f"computed from other images (ImageType {', '.join(sorted(tokens))})"
    if says(REFORMAT, part.header, "SeriesDescription"):
        return "a reformat, projection or report page by its description"
    return None


def colour(part: Part, _: Accepts) -> str | None:
    """Leave colour: measured values are grey."""
    return "colour images" if (number(part.header, "SamplesPerPixel") or 1) > 1 else None


def body_part(part: Part, accepts: Accepts) -> str | None:
    """Leave what its descriptions clearly name as another part of the body."""
    wanted = accepts.get("BodyPart")
    return other_body_part((part.header,), wanted.values) if wanted else None


def other_attribute(part: Part, accepts: Accepts) -> str | None:
    """Leave what breaks one of the pipeline's conditions on an attribute of the header."""
    for keyword, condition in accepts.items():
        if keyword not in OWN_RULES and (reason := _broken(condition, keyword, values(part.header, keyword))):
            return reason
    return None


def too_few(part: Part, accepts: Accepts) -> str | None:
    """Leave what has too few slices, or too many."""
    wanted = accepts.get("instances")
    if wanted is None or allows(wanted, part.count):
        return None
    return f"{part.count} image{'s' if part.count > 1 else ''}, and the pipeline asks for {asked(wanted)}"


def not_axial(part: Part, _: Accepts) -> str | None:
    """Leave coronal, sagittal and steep oblique images, judged by ImageOrientationPatient alone."""
    cosines = [as_number(value) or 0.0 for value in values(part.header, "ImageOrientationPatient")]
    if len(cosines) != 6:
        return None  # the grid says that it is missing
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    if normal[2] > AXIAL_LIMIT:
        return None
    return f"{('sagittal', 'coronal', 'oblique')[int(normal.argmax())]} images, and axial ones are analysed"


def no_hounsfield_units(part: Part, _: Accepts) -> str | None:
    """Leave CT whose pixels are not known to be Hounsfield units (PS3.3 C.8.2.1.1.4, Rescale Type)."""
    missing = [name for name in ("RescaleIntercept", "RescaleSlope") if number(part.header, name) is None]
    if missing:
        return f"{' and '.join(missing)} missing: the pixels are not known to be Hounsfield units"
    unit = texts(part.header, "RescaleType").upper()
    return f"pixels in {unit}, not in Hounsfield units (RescaleType)" if unit not in ("", "HU") else None


def wrong_thickness(part: Part, grid: Geometry, accepts: Accepts) -> str | None:
    """Leave slices of another thickness than asked for; the distance on the grid decides, not the header's word."""
    wanted = accepts.get("SliceThickness")
    if wanted is None or allows(wanted, round(grid.spacing_mm[0], 3)):
        return None
    return f"{spaced(part, grid)}, and the pipeline asks for {asked(wanted, ' mm')}"


COMMON: tuple[Rule, ...] = (
    made_here,
    other_modality,
    no_image,
    not_human,
    quality_assurance,
    child,
    localizer,
    timing_run,
    derived,
    colour,
    body_part,
    other_attribute,
    too_few,
)
BY_MODALITY: Mapping[str, tuple[Rule, ...]] = {"CT": (not_axial, no_hounsfield_units)}
GRID_RULES: tuple[GridRule, ...] = (wrong_thickness,)


def rules_for(modality: str) -> tuple[Rule, ...]:
    """Return the header rules for a modality, in order."""
    return (*COMMON, *BY_MODALITY.get(modality, ()))


def spaced(part: Part, grid: Geometry) -> str:
    """Return how far apart the slices lie, with the header's thickness where that says otherwise."""
    spacing, thickness = grid.spacing_mm[0], number(part.header, "SliceThickness")
    words = f"slices lie {round(spacing, 2):g} mm apart"
    if thickness is None or abs(thickness - spacing) <= 0.05 * spacing:
        return words
    return f"{words} (SliceThickness says {thickness:g} mm)"


def allows(condition: Condition, value: float) -> bool:
    """Return whether a number keeps the condition."""
    if condition.values and not any(as_number(one) == value for one in condition.values):
        return False
    low = -math.inf if condition.min is None else condition.min
    high = math.inf if condition.max is None else condition.max
    return low <= value <= high


def asked(condition: Condition, unit: str = "") -> str:
    """Return what the condition asks for, in words."""
    if condition.values:
        return " or ".join(condition.values) + unit
    if condition.min is None:
        return f"at most {condition.max:g}{unit}"
    if condition.max is None:
        return f"at least {condition.min:g}{unit}"
    return f"{condition.min:g} to {condition.max:g}{unit}"


def _broken(condition: Condition, keyword: str, held: tuple[object, ...]) -> str | None:
    """Return why the attribute's values break the condition; for words one of them must be asked for."""
    if not held:
        return f"{keyword} is not given, and the pipeline asks for {asked(condition)}"
    words = {str(value).strip().casefold() for value in held}
    if condition.values and words & {value.casefold() for value in condition.values}:
        return None
    numbers = [found for value in held if (found := as_number(value)) is not None]
    if numbers and allows(condition, numbers[0]):
        return None
    if keyword.startswith("Patient") and keyword != "PatientPosition":
        return f"{keyword} does not fit: the pipeline asks for {asked(condition)}"  # what it is, is patient data
    return f"{keyword} is {backslashed(held)}, and the pipeline asks for {asked(condition)}"


def _age_years(header: Dataset) -> float | None:
    """Return the patient's age when the study was made: PatientAge, or what the dates say."""
    if (age := number(header, "PatientAge")) is not None:
        return age
    dates = texts(header, "PatientBirthDate"), texts(header, "StudyDate")
    if not all(re.fullmatch(r"\d{8}", date) for date in dates):
        return None
    born, made = (int(date[:4]) + int(date[4:6]) / 12 for date in dates)
    return made - born if made > born else None


def image_type(header: Dataset) -> tuple[str, ...]:
    """Return the values of ImageType in capitals."""
    return tuple(str(value).strip().upper() for value in values(header, "ImageType"))


def backslashed(held: tuple[object, ...]) -> str:
    """Return values as DICOM writes them in one line."""
    return "\\".join(str(value) for value in held)


def withdraws(header: Dataset) -> bool:
    """Return whether the object is a rejection note: a Key Object Selection titled as one (PS3.16 CID 7011)."""
    if uid(header, "SOPClassUID") != "1.2.840.10008.5.1.4.1.1.88.59":
        return False
    return any(texts(item, "CodeValue") in REJECTED for item in items(header, "ConceptNameCodeSequence"))
