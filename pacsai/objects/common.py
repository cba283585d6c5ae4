"""What all result objects say alike: their maker, their series, their algorithm and their moment.

`identity` gives the arguments that every highdicom constructor takes, `evidence` the headers it reads, and `finish`
sets every date and time, so that the bytes depend on nothing but the result, its source, its author and `source.now`.
Knows nothing of findings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import highdicom as hd
from highdicom._standard_utils import get_sop_class_iod_map  # the classes it can copy a patient and a study from
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, DA, DT, TM

from pacsai import MANUFACTURER, MODEL_NAME, RESEARCH_USE_ONLY, __version__
from pacsai.finding import Provenance, Result
from pacsai.objects.source import Source
from pacsai.objects.uids import derived_uid
from pacsai.study import Instance
from pacsai.terms import ARTIFICIAL_INTELLIGENCE, DEVICE, PROCESSING_EQUIPMENT, Code

KINDS = ("SEG", "SR", "GSPS", "SC", "KO", "CADSR")
CONTENT_CREATOR = "pacsai^node"
"""The device as a person name (PN), for (0070,0084)."""

UTF_8 = "ISO_IR 192"
FIRST_SERIES_NUMBER = 9000
_SERIES_PER_PIPELINE = 10
_LONG_STRING = 64

_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "SliceThickness",  # type 2 in CT; highdicom reads it for a segmentation
)
_PARSED: Mapping[str, Callable[[str], object]] = {
    "PatientBirthDate": DA,
    "StudyDate": DA,
    "StudyTime": TM,
    "PatientSex": hd.PatientSexValues,
    "SpecificCharacterSet": hd.SpecificCharacterSetValues,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who signs an object: the pipeline as a reader knows it, and this installation of the node.

    Attributes
    ----------
    title : str
        The manifest's title; the pipeline's name stands in where it is empty.
    order : int
        Place of the pipeline among the site's pipelines from 0; it picks the block of series numbers.
    installation : str
        Name of the installation, at most 64 characters; goes into the device serial number and the device UID.
    """

    title: str = ""
    order: int = 0
    installation: str = "pacsai"

    @property
    def device_uid(self) -> str:
        """Return the UID of this installation, the same in all its objects."""
        return derived_uid("device", MANUFACTURER, MODEL_NAME, self.installation)


NODE = Author()
"""The author where nothing is known of the site: `pacsai analyse`, tests."""


def coded(code: Code) -> hd.sr.CodedConcept:
    """Return `code` as highdicom's data set of a coded concept (PS3.3 8.8)."""
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def provenance_of(result: Result) -> Provenance:
    """Return the provenance of a signed result; every UID follows from it.

    Raises
    ------
    ValueError
        When the result was never signed.
    """
    if result.provenance is None:
        raise ValueError("the result is not signed: call Result.signed(provenance) before writing objects")
    return result.provenance


def series_number(kind: str, author: Author = NODE) -> int:
    """Return the SeriesNumber reserved for objects of `kind` of the author's pipeline: 9001 to 9006, 9011 and so on."""
    return FIRST_SERIES_NUMBER + _SERIES_PER_PIPELINE * author.order + KINDS.index(kind) + 1


def title(provenance: Provenance, author: Author = NODE) -> str:
    """Return the name a reader sees for the pipeline."""
    return author.title or provenance.pipeline.replace("_", " ")


def description(provenance: Provenance, author: Author = NODE, kind: str = "") -> str:
    """Return "AI <title>: <kind> (Research use only)" in at most 64 characters; a long title is cut."""
    tail = f"{': ' if kind else ''}{kind} ({RESEARCH_USE_ONLY})"
    room = _LONG_STRING - len("AI ") - len(tail)
    return f"AI {title(provenance, author)[:room].rstrip()}{tail}"


def content_label(provenance: Provenance) -> str:
    """Return the pipeline's name as a Content Label (0070,0080): upper case, at most 16 characters."""
    return provenance.pipeline.upper()[:16]


def software_versions(provenance: Provenance) -> list[str]:
    """Return node and pipeline with their versions, for (0018,1020)."""
    return [f"pacsai {__version__}", f"{provenance.pipeline} {provenance.version}"]


def identity(kind: str, result: Result, author: Author = NODE) -> dict[str, Any]:
    """Return the arguments of highdicom's constructors that say which object this is and who made it.

    Parameters
    ----------
    kind : str
        One of `KINDS`. Series and instance UID follow from the result's provenance and this word.
    """
    provenance = provenance_of(result)
    return {
        "series_instance_uid": provenance.uid(f"series {kind}"),
        "series_number": series_number(kind, author),
        "sop_instance_uid": provenance.uid(kind),
        "instance_number": 1,
        "series_description": description(provenance, author, kind),
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": software_versions(provenance),
        "device_serial_number": author.installation,
    }


def evidence(source: Source) -> tuple[Dataset, ...]:
    """Return the analysed instances' headers, in slice order, as highdicom can take them.

    Patient and study attributes that are missing are added empty (type 2); dates, times and a sex that cannot be
    read are left empty; a character set that highdicom does not take becomes UTF-8. The headers are not touched.

    Raises
    ------
    ValueError
        The images name no study or series that a result could be filed with, or are of an unknown SOP class.
    """
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not source.header.get(keyword):
            raise ValueError(f"the images have no {keyword}, so a result cannot be filed with them")
    if source.header.SOPClassUID not in get_sop_class_iod_map():
        raise ValueError(f"no result can be written for images of SOP class {source.header.SOPClassUID.name}")
    return completed(source.instances)


def completed(instances: Sequence[Instance]) -> tuple[Dataset, ...]:
    """Return the headers of instances as highdicom can take them; they are not touched."""
    return tuple(_completed(instance.header) for instance in instances)


def _completed(header: Dataset) -> Dataset:
    unfit = (keyword for keyword in _TYPE_2 if keyword not in header or not _readable(header, keyword))
    amended: dict[str, str | None] = dict.fromkeys(unfit)
    if not _readable(header, "SpecificCharacterSet"):
        amended["SpecificCharacterSet"] = UTF_8
    if not amended:
        return header
    completed = Dataset()
    completed.file_meta = header.file_meta
    for element in header:  # not Dataset(header) nor copy.copy(header), which in pydicom 3.0.2 share its elements
        if element.keyword not in amended:
            completed.add(element)
    for keyword, value in amended.items():
        setattr(completed, keyword, value)
    return completed


def _readable(header: Dataset, keyword: str) -> bool:
    """Tell whether highdicom can take the attribute; one that is absent or empty it can."""
    value = header.get(keyword)
    if value in (None, "") or keyword not in _PARSED:
        return True
    try:
        for item in value if isinstance(value, MultiValue) else [value]:
            _PARSED[keyword](item)
    except ValueError:
        return False
    return True


def contributing_equipment(source: Source, result: Result, author: Author = NODE) -> hd.ContributingEquipment:
    """Return the item of the Contributing Equipment Sequence for this node and the algorithm it ran.

    IHE AIR asks for manufacturer, model, software version and device UID of each algorithm. Its own purpose,
    "Processing Algorithm", has no code in CID 7005, so the purpose is (109102, DCM, "Processing Equipment").
    """
    provenance = provenance_of(result)
    item = hd.ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=coded(PROCESSING_EQUIPMENT),
        manufacturer_model_name=MODEL_NAME,
        software_versions=software_versions(provenance),
        device_serial_number=author.installation,
        contribution_datetime=_datetime(source),
        contribution_description=f"{title(provenance, author)}: {RESEARCH_USE_ONLY}",
    )
    item.DeviceUID = author.device_uid
    return item


def algorithm_parameters(provenance: Provenance) -> dict[str, str]:
    """Return what tells two runs of one algorithm version apart: digests of weights and configuration."""
    return {
        "model sha256": provenance.model_digest,
        "configuration sha256": provenance.configuration_digest,
        "inputs sha256": provenance.inputs_digest,
    }


def algorithm_sequence(result: Result, author: Author = NODE) -> hd.AlgorithmIdentificationSequence:
    """Return the algorithm as SEG and GSPS name it (PS3.3 10.16), family CID 7162."""
    provenance = provenance_of(result)
    return hd.AlgorithmIdentificationSequence(
        name=title(provenance, author),
        family=coded(ARTIFICIAL_INTELLIGENCE),
        version=provenance.version,
        source=MANUFACTURER,
        parameters=algorithm_parameters(provenance),
    )


def algorithm_content(result: Result, author: Author = NODE) -> hd.sr.AlgorithmIdentification:
    """Return the algorithm as an SR names it (TID 4019)."""
    provenance = provenance_of(result)
    parameters = [f"{name} {digest}" for name, digest in algorithm_parameters(provenance).items()]
    return hd.sr.AlgorithmIdentification(title(provenance, author), provenance.version, parameters)


def device_observer(author: Author = NODE) -> hd.sr.ObserverContext:
    """Return this installation as the observer of an SR (TID 1002, 1004)."""
    attributes = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=author.device_uid,
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=author.installation,
    )
    return hd.sr.ObserverContext(coded(DEVICE), attributes)


def finish(dataset: Dataset, source: Source) -> Dataset:
    """Set every date and time that highdicom took from the clock to `source.now`, and return the data set.

    The character set stays that of the images, but for a text that it cannot hold: then all is UTF-8.
    """
    date, time = f"{source.now:%Y%m%d}", f"{source.now:%H%M%S.%f}"
    dataset.SeriesDate, dataset.SeriesTime = date, time
    for stem in ("InstanceCreation", "Content", "PresentationCreation"):
        if f"{stem}Date" in dataset:
            setattr(dataset, f"{stem}Date", date)
            setattr(dataset, f"{stem}Time", time)
    for item in dataset.get("ContributingEquipmentSequence", ()):
        if item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = _datetime(source)
    codecs = convert_encodings(dataset.SpecificCharacterSet) if dataset.get("SpecificCharacterSet") else []
    texts = (str(element.value) for element in dataset.iterall() if element.VR in CUSTOMIZABLE_CHARSET_VR)
    if not all(_encodes(text, codecs) for text in texts):
        dataset.SpecificCharacterSet = UTF_8
    return dataset


def _encodes(text: str, codecs: Sequence[str]) -> bool:
    if text.isascii():
        return True
    for codec in codecs:
        with suppress(UnicodeEncodeError):
            return bool(text.encode(codec))
    return False


def _datetime(source: Source) -> DT:
    return DT(f"{source.now:%Y%m%d%H%M%S.%f}")
