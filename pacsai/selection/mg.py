"""Which mammograms of a study are analysed: one for each side and view, with a reason for every other image.

Judges headers. What belongs to one exposure (FOR PROCESSING, FOR PRESENTATION) is found by its links; whether the
pixels show a breast, and which side and view where no header says so, is told by those who look at pixels
(mg_pixels.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.dataset import Dataset

from pacsai.selection import SEVERAL_PATIENTS, WITHDRAWN
from pacsai.selection.mg_pixels import Seen
from pacsai.selection.mg_rules import PROCESSING_CLASS, is_synthetic, notes, reason_against
from pacsai.study import Instance, Study, mammogram
from pacsai.study.header import items, number, texts, uid
from pacsai.study.mammogram import VIEW_NAMES
from pacsai.study.rejection import without_rejected

FOR_PRESENTATION, FOR_PROCESSING = "FOR PRESENTATION", "FOR PROCESSING"
HANGING = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
"""The views of a screening exam in the order that radiologists hang them."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """One view of the exam.

    Attributes
    ----------
    side, view : str
        L or R; CC or MLO.
    analysed : Instance
        What the CAD looks at.
    shown : Instance
        What results are drawn on: the image for presentation, where a place in `analysed` is the same place in it.
    notes : tuple of str
        What a reader should know, such as that it is synthetic.
    """

    side: str
    view: str
    analysed: Instance
    shown: Instance
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """The views of a study in hanging order, and what was left.

    Attributes
    ----------
    unnamed : tuple of Instance
        Mammograms with nothing against them whose header does not name side or view.
    left : tuple of (Instance, str)
        Every other image with the reason.
    missing : tuple of str
        Views of a screening exam that are not there, such as "L MLO".
    reason : str
        Why there is nothing to analyse; empty where there is.
    """

    chosen: tuple[Chosen, ...] = ()
    unnamed: tuple[Instance, ...] = ()
    left: tuple[tuple[Instance, str], ...] = ()
    missing: tuple[str, ...] = ()
    reason: str = ""


NOTHING_SEEN: Mapping[str, Seen] = MappingProxyType({})


def mammograms(study: Study, prefer: str = FOR_PRESENTATION, seen: Mapping[str, Seen] = NOTHING_SEEN) -> Exam:
    """Return the mammograms of a study that are analysed.

    Parameters
    ----------
    prefer : str
        FOR PRESENTATION or FOR PROCESSING: what is analysed of an exposure that has both.
    seen : mapping of str to Seen
        What the pixels of images told, by SOP Instance UID; it adds to what headers say.
    """
    images = [instance for instance in study.instances if instance.header.get("Rows")]
    if study.several_patients or not images:
        reason = SEVERAL_PATIENTS if study.several_patients else "there is no image"
        return Exam(left=tuple((image, reason) for image in images), missing=_missing(()), reason=reason)
    valid = {instance.sop_instance_uid for instance in without_rejected(study.instances)[0]}
    reasons = {image.sop_instance_uid: _against(image, valid, seen) for image in images}
    usable = [image for image in images if not reasons[image.sop_instance_uid]]
    named = [image for image in usable if _name(image, seen) in HANGING]
    chosen = []
    for name in HANGING:
        exposures = _exposures([image for image in named if _name(image, seen) == name])
        chosen += [_chosen(name, exposures[-1], prefer, seen)] if exposures else []
        reasons |= _passed_over(exposures, name)
    left = tuple((image, reason) for image in images if (reason := reasons[image.sop_instance_uid]))
    unnamed = tuple(image for image in usable if image not in named)
    reason = "" if chosen or unnamed else _most_frequent(reason for _, reason in left)
    return Exam(tuple(chosen), unnamed, left, _missing(chosen), reason)


def _against(image: Instance, valid: Iterable[str], seen: Mapping[str, Seen]) -> str:
    if image.sop_instance_uid not in valid:
        return WITHDRAWN
    return reason_against(image.header) or seen.get(image.sop_instance_uid, Seen()).reason


def _name(image: Instance, seen: Mapping[str, Seen]) -> tuple[str, str]:
    """Return side and view of an image; an empty word for what neither its header nor its pixels say."""
    view, found = mammogram.view(image.header), seen.get(image.sop_instance_uid, Seen())
    return mammogram.side(image.header) or found.side, VIEW_NAMES.get(view, "") if view else found.view


@dataclass(frozen=True, slots=True, eq=False)
class _Exposure:
    """Images of one exposure: the raw one, the processed, or what tomosynthesis made of its own."""

    images: tuple[Instance, ...]

    def of(self, intent: str) -> Instance | None:
        """Return the latest image of an intent; one that tells none is for presentation."""
        found = [image for image in self.images if _intent(image) == intent]
        return max(found, key=_moment, default=None)

    @property
    def synthetic(self) -> bool:
        return all(is_synthetic(image.header) for image in self.images)


def _exposures(images: Sequence[Instance]) -> list[_Exposure]:
    """Return the exposures of one view, the one that is analysed last: acquired rather than synthetic, then latest."""
    by_uid = {image.sop_instance_uid: image for image in images}
    groups: dict[object, list[Instance]] = {}
    for image in sorted(images, key=_moment):
        source = next((by_uid[one] for one in _sources(image.header) if one in by_uid), image)
        groups.setdefault(_event(source), []).append(image)
    found = [_Exposure(tuple(group)) for group in groups.values()]
    return sorted(found, key=lambda exposure: (not exposure.synthetic, max(map(_moment, exposure.images))))


def _event(image: Instance) -> object:
    """Return what images of one exposure share: the irradiation event, else the moment of acquisition, else nothing."""
    header = image.header
    acquired = _acquired(header)
    return uid(header, "IrradiationEventUID") or acquired or image.sop_instance_uid


def _acquired(header: Dataset) -> str:
    """Return when an image was acquired, empty where date or time is missing."""
    if moment := texts(header, "AcquisitionDateTime"):
        return moment
    date, time = texts(header, "AcquisitionDate"), texts(header, "AcquisitionTime")
    return date + time if date and time else ""


def _moment(image: Instance) -> tuple[str, str, float, str]:
    """Return what orders images in time: acquisition, else content, then their numbers."""
    header = image.header
    content = texts(header, "ContentDate") + texts(header, "ContentTime")
    return _acquired(header) or content, content, number(header, "InstanceNumber") or 0, image.sop_instance_uid


def _sources(header: Dataset) -> tuple[str, ...]:
    return tuple(uid(item, "ReferencedSOPInstanceUID") for item in items(header, "SourceImageSequence"))


def _chosen(name: tuple[str, str], exposure: _Exposure, prefer: str, seen: Mapping[str, Seen]) -> Chosen:
    processed, raw = exposure.of(FOR_PRESENTATION), exposure.of(FOR_PROCESSING)
    first, second = (raw, processed) if prefer == FOR_PROCESSING else (processed, raw)
    analysed = first or second
    assert analysed is not None  # noqa: S101  an exposure has an image
    read = seen.get(analysed.sop_instance_uid, Seen()).note
    said = [*([read] if read else []), *notes(analysed.header)]
    shown = processed or analysed
    if shown is not analysed and not _same_places(analysed, shown):
        said.append("drawn on the image for processing: the one for presentation has another matrix or orientation")
        shown = analysed
    if shown is not analysed and seen.get(shown.sop_instance_uid, Seen()).elsewhere:
        said.append("drawn on the image for processing: the one for presentation shows the breast at another place")
        shown = analysed
    return Chosen(*name, analysed, shown, tuple(said))


def _same_places(one: Instance, other: Instance) -> bool:
    """Tell whether a pixel of one image is the same place as that pixel of the other.

    By the matrix and the patient orientation, and where the link says so, Spatial Locations Preserved (0028,135A).
    """
    for header, source in ((one.header, other), (other.header, one)):
        for item in items(header, "SourceImageSequence"):
            preserved = texts(item, "SpatialLocationsPreserved")
            if uid(item, "ReferencedSOPInstanceUID") == source.sop_instance_uid and preserved not in ("", "YES"):
                return False
    return all(texts(one.header, k) == texts(other.header, k) for k in ("Rows", "Columns", "PatientOrientation"))


def _passed_over(exposures: Sequence[_Exposure], name: tuple[str, str]) -> Mapping[str, str]:
    """Return the reasons of the exposures of a view that are not analysed."""
    reasons: dict[str, str] = {}
    for exposure in exposures[:-1]:
        earlier = f"an earlier exposure of {' '.join(name)}: the last acquired is analysed"
        made = f"a synthetic image of {' '.join(name)}, which was also acquired: the acquired one is analysed"
        reason = made if exposure.synthetic and not exposures[-1].synthetic else earlier
        reasons |= {image.sop_instance_uid: reason for image in exposure.images}
    return reasons


def _intent(image: Instance) -> str:
    raw = texts(image.header, "PresentationIntentType") == FOR_PROCESSING
    return FOR_PROCESSING if raw or image.sop_class_uid == PROCESSING_CLASS else FOR_PRESENTATION


def _missing(chosen: Iterable[Chosen]) -> tuple[str, ...]:
    there = {(one.side, one.view) for one in chosen}
    return tuple(" ".join(name) for name in HANGING if name not in there)


def _most_frequent(reasons: Iterable[str]) -> str:
    found = list(reasons)
    return max(dict.fromkeys(found), key=found.count, default="there is no mammogram")
