"""What is looked for: an earlier study of the same patient; and the reasons why a study is none. Headers only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pydicom.dataset import Dataset

from pacsai.pipeline import Manifest
from pacsai.queries.base import STUDY_ATTRIBUTES
from pacsai.study import Study, plain
from pacsai.study.header import texts
from pacsai.study.patient import IDENTITY, difference

_PROOF = ("PatientBirthDate", "PatientName")
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pipeline compares the present study with.

    Attributes
    ----------
    attributes : mapping of str to str
        What the present study says of `queries.base.STUDY_ATTRIBUTES`.
    """

    study_instance_uid: str
    revision: str
    attributes: Mapping[str, str]
    manifest: Manifest
    max_age: timedelta

    @property
    def patient_id(self) -> str:
        """Return the Patient ID."""
        return self.attributes["PatientID"]

    @property
    def asker(self) -> str:
        """Return who asks, as a file name: nothing of it is a peer's."""
        return f"{self.revision[:32]}-{self.manifest.name}"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities that the pipeline reads; () for any."""
        accepted = self.manifest.accepts.get("Modality")
        return accepted.values if accepted else ()

    @property
    def dates(self) -> tuple[date, date] | None:
        """Return the first and the last day on which an earlier study may have been made."""
        last = day_of(self.attributes)
        return None if last is None else (last - self.max_age, last)

    def not_askable(self) -> str:
        """Return why no earlier study can be looked for, '' where it can."""
        if not self.patient_id:
            return "the study has no Patient ID, or several"
        return "" if self.dates else "the study has no date"

    def other_time(self, other: Mapping[str, str]) -> str:
        """Return why a study is no earlier one by its date and time, '' where it is."""
        day, dates = day_of(other), self.dates
        if day is None or dates is None:
            return "its date is not known"
        if day > dates[1]:
            return "it is later than the present study"
        if day == dates[1] and not "" < _clock(other) < _clock(self.attributes):
            return "it is of the same day, and not known to be earlier"
        return "it is too old" if day < dates[0] else ""

    def other_patient(self, other: Mapping[str, str], *, proof: bool = True) -> str:
        """Return why a study may be another patient's, '' where it is the same one's.

        With `proof`, name or birth date must be given in both: an ID alone is not enough.
        """
        if found := difference(self.attributes, other):
            return found
        both = [name for name in IDENTITY if plain(self.attributes.get(name)) and plain(other.get(name))]
        if "PatientID" not in both:
            return "it has no Patient ID"
        if proof and not set(_PROOF) & set(both):
            return "only the Patient ID says that it is the same patient"
        return ""


def wanted_for(study: Study, revision: str, manifest: Manifest, max_age_days: float) -> Wanted:
    """Return what a pipeline wants to compare `study` with; nothing where it is of several patients."""
    images = [series for series in study.series if series.is_image] or list(study.series)
    nobody = not images or study.several_patients
    attributes = dict.fromkeys(STUDY_ATTRIBUTES, "") if nobody else told(images[0].header)
    return Wanted(study.study_instance_uid, revision, attributes, manifest, timedelta(days=max_age_days))


def told(header: Dataset) -> dict[str, str]:
    """Return what a header says of STUDY_ATTRIBUTES; a missing study date is that of its series or images."""
    attributes = {name: texts(header, name) for name in STUDY_ATTRIBUTES}
    dates = (texts(header, name) for name in _DATES)
    return attributes | {"StudyDate": next((one for one in dates if one), "")}


def day_of(attributes: Mapping[str, str]) -> date | None:
    """Return the study's date, None where there is none that can be read."""
    try:
        return date.fromisoformat(attributes.get("StudyDate", "")[:8])
    except ValueError:
        return None


def moment(attributes: Mapping[str, str]) -> tuple[date, str]:
    """Return what studies are sorted by."""
    return day_of(attributes) or date.min, _clock(attributes)


def _clock(attributes: Mapping[str, str]) -> str:
    """Return the study's time as HHMMSS and a fraction, '' where it has none."""
    time = attributes.get("StudyTime", "")
    return time.ljust(6, "0") if re.fullmatch(r"\d{2}(\d{2}){0,2}(\.\d{1,6})?", time) else ""
