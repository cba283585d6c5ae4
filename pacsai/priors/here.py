"""Earlier studies in this node's own spool: finding them, and judging one by all that is here of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pacsai import MANUFACTURER, MODEL_NAME
from pacsai.bounds import Bounds, within
from pacsai.outbox import Outbox, ParcelError
from pacsai.priors.choice import Choice, of_another, with_reasons
from pacsai.priors.wanted import Wanted, day_of, moment, told
from pacsai.routing import route
from pacsai.spool import Spool
from pacsai.study import Instance, Series, Study
from pacsai.study.header import NotReadableError, texts
from pacsai.study.reading import read_instance, read_study

_RESULTS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.")
"""What tells of earlier findings: segmentations and structured reports."""
_POLL_S = 0.3


class Here:
    """The spool and the outbox, as places where earlier studies are. Safe for several threads."""

    def __init__(self, data: Path, spool: Spool, bounds: Bounds) -> None:
        self._data = data
        self._spool = spool
        self._outbox = Outbox(data / "outbox")
        self._bounds = bounds
        self._lock = threading.Lock()
        self._known: dict[str, Mapping[str, str]] = {}
        """What one image of each study says of its patient: read once for each run of the node."""

    def candidates(self, wanted: Wanted, most: int) -> list[str]:
        """Return the Study Instance UIDs that carry the Patient ID and an earlier date, the newest first."""
        with self._lock:
            told_of = {uid: said for uid in self._spool.studies() if (said := self._said(uid))}
        fit = [
            uid
            for uid, said in told_of.items()
            if uid != wanted.study_instance_uid
            and said["PatientID"] == wanted.patient_id
            and not wanted.other_time(said)
        ]
        return sorted(fit, key=lambda uid: moment(told_of[uid]), reverse=True)[:most]

    def search(self, wanted: Wanted, most: int, end: float, check: Callable[[], None]) -> Choice:
        """Return the newest study that fits; one that is still arriving is waited for until `end`.

        `check` is called while it waits, and may raise.
        """
        seen = Choice()
        for uid in self.candidates(wanted, most):
            if self._spool.lacks_asked(uid):  # the archive broke off, or goes on
                continue
            while self._spool.is_waiting(uid) and time.monotonic() < end:
                check()
                time.sleep(_POLL_S)
            seen = with_reasons(self.judged(uid, wanted, "from the spool"), seen)
            if seen.study_instance_uid:
                break
        return seen

    def judged(self, study_instance_uid: str, wanted: Wanted, source: str) -> Choice:
        """Return the study as the choice where all that is here of it fits, else the reason why it does not."""
        with within(self._bounds):
            study = next(iter(read_study(self._spool.instances(study_instance_uid))), None)
        if study is None or not study.series:
            return Choice(reasons=("nothing of it can be read",))
        if reason := _other_patient(study, wanted):
            return of_another(reason)
        attributes = told(next((one for one in study.series if one.is_image), study.series[0]).header)
        (way,) = route(study, [wanted.manifest])
        if reason := wanted.other_time(attributes) or ("" if way.taken else way.reason):
            return Choice(reasons=(reason,))
        series = [
            one for one in study.series if one.is_image and one.modality in (wanted.modalities or (one.modality,))
        ]
        return Choice(
            study_instance_uid=study_instance_uid,
            study_date=str(day_of(attributes)),
            series=len(series),
            source=source,
            files=self._files(study, series, wanted.manifest.name),
        )

    def _files(self, study: Study, series: Sequence[Series], pipeline: str) -> tuple[str, ...]:
        images = [instance.path for one in series for instance in one.instances if not _made_here(instance)]
        paths = [*images, *self._own_results(study, pipeline)]
        return tuple(str(path.relative_to(self._data)) for path in paths)

    def _own_results(self, study: Study, pipeline: str) -> list[Path]:
        """Return this node's last results on a study: as they were packed, else those that came from the archive."""
        for event in reversed(self._spool.story_of(study.study_instance_uid).read()):
            if event["event"] == "analysed" and event.get("pipeline") == pipeline:
                if packed := self._packed(str(event.get("parcel"))):
                    return packed
                break
        return [
            instance.path
            for instance in study.instances
            if _made_here(instance) and instance.sop_class_uid.startswith(_RESULTS)
        ]

    def _packed(self, parcel_id: str) -> list[Path]:
        try:
            parcel = self._outbox.read(parcel_id)
        except ParcelError:
            return []
        pairs = zip(parcel.objects, parcel.paths, strict=True)
        return [path for one, path in pairs if one.sop_class_uid.startswith(_RESULTS) and path.is_file()]

    def _said(self, study_instance_uid: str) -> Mapping[str, str]:
        """Return what one image of a study says, nothing of one that is not here (any more)."""
        first = next(self._spool.instances_folder(study_instance_uid).glob("*.dcm"), None)
        if first is None:
            return {}
        if study_instance_uid not in self._known:
            try:
                self._known[study_instance_uid] = told(read_instance(first).header)
            except NotReadableError:
                self._known[study_instance_uid] = {}
        return self._known[study_instance_uid]


def _other_patient(study: Study, wanted: Wanted) -> str:
    """Return why a study may be another patient's, by what each of its instances says."""
    if study.several_patients:
        return "its images name different patients"
    said = {tuple(told(instance.header).items()) for instance in study.instances}
    reasons = (wanted.other_patient(dict(one)) for one in sorted(said))
    return next((reason for reason in reasons if reason), "")


def _made_here(instance: Instance) -> bool:
    made = texts(instance.header, "Manufacturer"), texts(instance.header, "ManufacturerModelName")
    return made == (MANUFACTURER, MODEL_NAME)
