"""The earlier study that a study is compared with: is it the same patient's, and what does it hold.

Nothing here stands in the way of the current study: an earlier one that cannot be used is left, with the reason told.
Where earlier studies come from (a folder, the spool, the archive) is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from pydicom.dataset import Dataset

from pacsai.exam import Exam
from pacsai.gathering import Images, gather
from pacsai.objects.known import known_findings
from pacsai.pipeline import Condition, Manifest
from pacsai.sequences import Prior, Sequences
from pacsai.study import Study, plain
from pacsai.study.header import texts
from pacsai.study.patient import IDENTITY, difference


def compared(
    images: Images, study: Study, earlier: Study | None, manifest: Manifest, accepts: Mapping[str, Condition]
) -> Images:
    """Return `images` of `study` with what the `earlier` one adds for the pipeline of `manifest`.

    Pipelines of a single volume, and pipelines of an exam that ask for no prior, are given nothing of it.
    """
    compares = isinstance(images.given, Sequences) or (isinstance(images.given, Exam) and manifest.prior)
    if earlier is None or not compares:
        return images
    if reason := why_not(study, earlier):
        return _left(images, reason)
    before = gather(earlier, manifest, accepts)
    remarks = (*images.remarks, *(f"earlier study: {remark}" for remark in before.remarks))
    if isinstance(images.given, Exam) and isinstance(before.given, Exam):
        prior_exam = _dated(before.given, earlier)
        return replace(
            images, given=replace(_dated(images.given, study), prior=prior_exam), earlier=before, remarks=remarks
        )
    if not (isinstance(images.given, Sequences) and isinstance(before.given, Sequences)):
        return _left(images, before.refusal)
    known, reports = known_findings(earlier, manifest.name)
    day = study_date(earlier)
    prior = Prior(before.given.volumes, before.given.reference, earlier.study_instance_uid, day, known)
    given = replace(images.given, prior=prior)
    return replace(images, given=given, earlier=before, reports=reports, remarks=remarks)


def _dated(exam: Exam, study: Study) -> Exam:
    return replace(exam, study_instance_uid=study.study_instance_uid, study_date=study_date(study))


def why_not(study: Study, earlier: Study) -> str:
    """Return why `earlier` is no study of the same patient from before `study`; "" where it is one.

    An ID is asked for on both sides, since a name alone finds namesakes; the words of the reason name nobody.
    """
    if study.several_patients or earlier.several_patients:
        return "the images of one of the studies are of more than one patient"
    ours, theirs = (_identity(one) for one in (study, earlier))
    if not (ours["PatientID"] and theirs["PatientID"]):
        return "there is no patient ID to know the patient by"
    if found := difference(ours, theirs):
        return found
    moments = moment(earlier), moment(study)
    if "" in moments:
        return "nothing says which study is the earlier one (StudyDate)"
    return "" if moments[0] < moments[1] else "it is not earlier than the current one"


def latest_two(studies: Sequence[Study], current: str | None = None) -> tuple[Study, Study | None] | None:
    """Return the study to be analysed and the one before it, None where nothing says which one is current.

    Parameters
    ----------
    current : str or None
        Study Instance UID of the one to be analysed, else it is the latest.
    """
    ordered = in_time(studies)
    if current is None and len(ordered) > 1 and not all(moment(one) for one in ordered):
        return None
    at = next((n for n, one in enumerate(ordered) if current in (None, one.study_instance_uid)), None)
    if at is None:
        return None
    at = len(ordered) - 1 if current is None else at
    return ordered[at], ordered[at - 1] if at else None


def in_time(studies: Sequence[Study]) -> tuple[Study, ...]:
    """Return studies by date and time, the earliest first; those without a date before all others."""
    return tuple(sorted(studies, key=lambda one: (moment(one), one.study_instance_uid)))


def moment(study: Study) -> str:
    """Return StudyDate and StudyTime as YYYYMMDDHHMMSS, "" without a date; a missing time is midnight."""
    header = _header(study)
    day = re.match(r"\d{8}", texts(header, "StudyDate").replace(".", ""))
    clock = re.match(r"\d{1,6}", texts(header, "StudyTime").replace(":", ""))
    return f"{day[0]}{clock[0] if clock else '':0<6}" if day else ""


def study_date(study: Study) -> date | None:
    """Return the day of the study, None where the headers give none."""
    found = moment(study)
    try:
        return date(int(found[:4]), int(found[4:6]), int(found[6:8])) if found else None
    except ValueError:
        return None


def _identity(study: Study) -> dict[str, str]:
    """Return what the study's headers say of its patient, the first value of each that is not empty."""
    headers = [one.header for one in study.instances]
    return {keyword: next(filter(None, (plain(one.get(keyword)) for one in headers)), "") for keyword in IDENTITY}


def _header(study: Study) -> Dataset:
    return next((one.header for one in study.instances if texts(one.header, "StudyDate")), Dataset())


def _left(images: Images, reason: str) -> Images:
    return replace(images, remarks=(*images.remarks, f"not compared with the earlier study: {reason}"))
