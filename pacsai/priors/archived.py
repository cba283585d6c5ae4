"""Earlier studies in the archive: asked for by the patient's ID, brought into the spool, and judged there.

What is asked for is written down first (`Spool.expect`), so that it starts nothing when it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from pydicom.dataset import Dataset

from pacsai.archive import ArchiveUnavailable
from pacsai.config import PriorSettings
from pacsai.priors.choice import NOT_FETCHED, Choice, of_another, with_reasons
from pacsai.priors.here import Here
from pacsai.priors.wanted import Wanted, moment
from pacsai.queries import Holdings, Listed, ListedSeries, ListedStudy
from pacsai.selection.wording import other_body_part
from pacsai.spool import Spool

_RESULTS = ("SR", "SEG")
_MOST_RESULTS = 50
"""Instances of one series of results that are taken: our own have one."""
_WILD = frozenset("*?\\")
_MAY_COME_S = 6 * 3600
_LATE_S = 60
"""How long what was asked for may still come: where the archive broke off, and where it says that it has sent all."""
_ENTERED_S = 5.0
_POLL_S = 0.1

Left = Callable[[], float]


class Archived:
    """The archive as a place where earlier studies are. Safe for several threads."""

    def __init__(self, holdings: Holdings, here: Here, spool: Spool, settings: PriorSettings) -> None:
        self._holdings = holdings
        self._here = here
        self._spool = spool
        self._settings = settings

    def search(self, wanted: Wanted, end: float) -> Choice:
        """Return the newest study that fits, brought here before `end` (monotonic), or why there is none.

        What the archive cannot do is part of the answer; it is not raised.
        """
        if _WILD & set(wanted.patient_id):  # it would stand for other patients, too
            return Choice(reasons=("its Patient ID has characters that archives take for wildcards",))

        def left_s() -> float:
            if (left := end - time.monotonic()) <= 0:
                raise ArchiveUnavailable("the archive was not done in time")
            return left

        seen = Choice()
        try:
            for study in self._candidates(wanted, left_s):
                seen = with_reasons(self._brought(study, wanted, left_s), seen)
                if seen.study_instance_uid:
                    break
        except ArchiveUnavailable as error:
            return with_reasons(Choice(reasons=(str(error),), remarks=(NOT_FETCHED,)), seen)
        return seen

    def _candidates(self, wanted: Wanted, left_s: Left) -> list[ListedStudy]:
        """Return the earlier studies that the archive lists under the Patient ID, as many as are looked at."""
        if wanted.dates is None:
            return []
        first, last = wanted.dates
        keys = {"PatientID": wanted.patient_id, "StudyDate": f"{first:%Y%m%d}-{last:%Y%m%d}"}
        fit = [one for one in self._holdings.studies(keys, left_s()) if _fits(one, wanted)]
        return sorted(fit, key=lambda one: moment(one.attributes), reverse=True)[: self._settings.max_studies]

    def _brought(self, study: ListedStudy, wanted: Wanted, left_s: Left) -> Choice:
        """Bring a study here, unless the archive's words of it speak against that, and judge it."""
        uid = study.study_instance_uid
        if reason := wanted.other_patient(study.attributes, proof=False):
            return of_another(f"the archive says that {reason}")
        series = self._holdings.series(uid, left_s())
        if reason := _objection(study, series, wanted):
            return Choice(reasons=(reason,))
        images = self._images(uid, series, wanted, left_s)
        if not images:
            return Choice(reasons=("its series have more images than priors.max_instances",))
        results = [one for one in series if one.modality in _RESULTS]
        listed = self._holdings.instances(uid, results, left_s()) if results else ()
        small = [one for of in _by_series(listed) if len(of) <= _MOST_RESULTS for one in of]
        if not self._fetched(uid, [*images, *small], wanted, left_s):
            return Choice(reasons=("not all that was asked for came",), remarks=(NOT_FETCHED,))
        return self._here.judged(uid, wanted, "from the archive")

    def _images(
        self, study_instance_uid: str, series: Sequence[ListedSeries], wanted: Wanted, left_s: Left
    ) -> list[Listed]:
        """Return the images of the pipeline's modalities, without the largest series where they are too many."""
        listed = self._holdings.instances(
            study_instance_uid, [one for one in series if _is_wanted(one, wanted)], left_s()
        )
        taken: list[Listed] = []
        for of in sorted(_by_series(listed), key=len):
            if len(taken) + len(of) > self._settings.max_instances:
                break
            taken += of
        return taken

    def _fetched(self, study_instance_uid: str, listed: Sequence[Listed], wanted: Wanted, left_s: Left) -> bool:
        """Let what is not here come here; tell whether all is."""
        missing = self._missing(study_instance_uid, listed)
        if not missing:
            return True
        asker = f"{self._spool.key(wanted.study_instance_uid)}-{wanted.asker}"
        uids = [one.sop_instance_uid for one in missing]
        self._spool.expect(study_instance_uid, asker, uids, time.time() + _MAY_COME_S)
        about = {"pipeline": wanted.manifest.name, "instances": len(missing)}
        self._spool.story_of(wanted.study_instance_uid).tell("prior asked for", prior=study_instance_uid, **about)
        self._spool.story_of(study_instance_uid).tell("asked for as prior", of=wanted.study_instance_uid, **about)
        self._holdings.fetch(study_instance_uid, missing, left_s())
        if not self._here_soon(study_instance_uid, missing, min(_ENTERED_S, left_s())):
            return False
        self._spool.expect_no_longer(study_instance_uid, asker, time.time() + _LATE_S)
        return True

    def _here_soon(self, study_instance_uid: str, listed: Sequence[Listed], wait_s: float) -> bool:
        end = time.monotonic() + wait_s
        while self._missing(study_instance_uid, listed):
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
        return True

    def _missing(self, study_instance_uid: str, listed: Sequence[Listed]) -> list[Listed]:
        here = {path.stem for path in self._spool.instances(study_instance_uid)}
        return [one for one in listed if self._spool.key(one.sop_instance_uid) not in here]


def _fits(study: ListedStudy, wanted: Wanted) -> bool:
    """Tell whether a listed study is to be looked at: archives match IDs loosely, and list what is later."""
    modalities = study.attributes["ModalitiesInStudy"].split("\\")
    of_modality = not wanted.modalities or modalities == [""] or bool({*modalities} & {*wanted.modalities})
    same_id = study.attributes["PatientID"] == wanted.patient_id
    other = study.study_instance_uid != wanted.study_instance_uid
    return of_modality and same_id and other and not wanted.other_time(study.attributes)


def _objection(study: ListedStudy, series: Sequence[ListedSeries], wanted: Wanted) -> str:
    """Return what speaks against bringing a study here, in the archive's own words."""
    images = [one for one in series if _is_wanted(one, wanted)]
    if not images:
        return f"the study has no {' or '.join(wanted.modalities)} images"
    parts = wanted.manifest.accepts.get("BodyPart")
    return (other_body_part(_headers(study, images), parts.values) or "") if parts else ""


def _is_wanted(series: ListedSeries, wanted: Wanted) -> bool:
    return series.modality in wanted.modalities if wanted.modalities else series.modality not in _RESULTS


def _headers(study: ListedStudy, series: Sequence[ListedSeries]) -> Iterator[Dataset]:
    """Yield what the archive says in words of each series, as `selection.wording` reads it."""
    for one in series:
        header = Dataset()
        header.StudyDescription = study.attributes["StudyDescription"]
        header.SeriesDescription = one.description
        yield header


def _by_series(listed: Sequence[Listed]) -> list[list[Listed]]:
    ordered = sorted(listed, key=lambda one: one.series_instance_uid)
    return [[*of] for _, of in groupby(ordered, key=lambda one: one.series_instance_uid)]
