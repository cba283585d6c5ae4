"""The flow of a study, aloud: read, select, analyse, write, deliver.

Plain functions in that order. `analyse_study` walks the first four on one study and gives a Report; delivering what
it wrote is the outbox's. The node runs it in a child process (child.py), `pacsai analyse` in its own.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from pacsai.comparison import compared
from pacsai.exam import View
from pacsai.finding import Provenance, Result
from pacsai.gathering import Images, chosen, gather
from pacsai.objects.common import Author
from pacsai.objects.source import Source
from pacsai.objects.write import Written, write
from pacsai.pipeline import Condition
from pacsai.registry import Package
from pacsai.report import Report, used
from pacsai.study import Instance, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a pipeline for one study.

    Attributes
    ----------
    package : Package
        The pipeline.
    accepts : mapping of str to Condition
        Its acceptance rules, as the manifest or a trial run wants them.
    results : tuple of str
        Kinds of objects to write: SEG, SR, GSPS, SC, KO, CADSR.
    author : Author
        Who signs the objects.
    folder : Path
        Where the objects go.
    now : datetime
        The moment that the objects carry.
    remarks : tuple of str
        Sentences that the result must say besides the pipeline's; they change no UID.
    previous : tuple of Dataset
        The SRs that this one takes the place of: their study, series, class and instance UID. They change no UID.
    prior : Study or None
        The patient's earlier study, for a pipeline that compares with it.
    """

    package: Package
    accepts: Mapping[str, Condition]
    results: tuple[str, ...]
    author: Author
    folder: Path
    now: datetime
    remarks: tuple[str, ...] = ()
    previous: tuple[Dataset, ...] = ()
    prior: Study | None = None

    @property
    def configuration_digest(self) -> str:
        """Return the SHA-256 of the settings that change the result."""
        settings = {
            "accepts": {key: condition.model_dump() for key, condition in sorted(self.accepts.items())},
            "results": sorted(self.results),
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(slots=True)
class Stopwatch:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add the time of the block to `step`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def analyse_study(study: Study, order: Order) -> Report:
    """Return what the ordered pipeline says of `study`, with the objects written to the order's folder."""
    manifest, watch = order.package.manifest, Stopwatch()
    with watch.time("read"):
        images = gather(study, manifest, order.accepts)
        images = compared(images, study, order.prior, manifest, order.accepts)
    with watch.time("analyse"):
        refused = images.given is None
        result = Result.not_analysed(images.refusal) if refused else order.package.load().analyse(images.given)
    return conclude(study, images, result, order, watch)


def refuse_study(study: Study, order: Order, reason: str) -> Report:
    """Return the report of a study whose analysis broke off, told in an object like any other outcome."""
    images = Images(chosen(study, order.package.manifest, order.accepts), None, reason)
    return conclude(study, images, Result.not_analysed(reason), order, Stopwatch())


def conclude(study: Study, images: Images, result: Result, order: Order, watch: Stopwatch) -> Report:
    """Return the report of `result`, signed, its objects written."""
    selection = images.selection
    rests_on = images.instances or standing_for(study)
    with watch.time("write"):
        said = replace(result, remarks=(*result.remarks, *images.remarks, *order.remarks))
        signed = placed(said, images.views).signed(provenance(rests_on, order))
        objects = _write(signed, study, images, order) if selection.trustworthy else ()
    return Report(
        study_instance_uid=study.study_instance_uid,
        pipeline=order.package.name,
        version=order.package.manifest.version,
        result=signed,
        verdicts=selection.verdicts,
        objects=objects,
        seconds=watch.seconds,
        issues=study.issues,
        inputs=tuple(instance.sop_instance_uid for instance in rests_on),
        used=used(images),
    )


def placed(result: Result, views: Sequence[View]) -> Result:
    """Return the result with the image of every spot filled in.

    Raises
    ------
    ValueError
        A finding lies on a view that is not of the exam, or beside its image: the pipeline is wrong.
    """
    by_name = {view.name: view for view in views}
    findings = []
    for finding in result.findings:
        if finding.on is None:
            findings.append(finding)
            continue
        view = by_name.get(finding.on.view)
        if view is None or not view.holds((finding.on.centre_ji, *finding.on.outline_ji)):
            raise ValueError(f"{finding.label} lies on no place of a view of the exam")
        findings.append(replace(finding, on=replace(finding.on, image=view.shown.sop_instance_uid)))
    return replace(result, findings=tuple(findings))


def provenance(instances: Sequence[Instance], order: Order) -> Provenance:
    """Return where a result on `instances` comes from; the source of every UID it will carry."""
    return Provenance(
        pipeline=order.package.name,
        version=order.package.manifest.version,
        model_digest=order.package.model_digest,
        inputs_digest=inputs_digest(instances),
        configuration_digest=order.configuration_digest,
    )


def inputs_digest(instances: Sequence[Instance]) -> str:
    """Return the SHA-256 over the instances' UIDs and file bytes, whatever their order."""
    lines = sorted(f"{instance.sop_instance_uid} {_file_digest(instance.path)}" for instance in instances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def standing_for(study: Study) -> tuple[Instance, ...]:
    """Return the instances that stand for a study of which none was analysed: its largest series, images first."""
    by_rank = sorted(study.series, key=lambda one: (one.is_image, len(one.instances), one.series_instance_uid))
    return by_rank[-1].instances if by_rank else ()


def _write(result: Result, study: Study, images: Images, order: Order) -> tuple[Written, ...]:
    taken = images.selection.taken
    instances = taken.instances if taken else standing_for(study)
    source = Source(
        study=study,
        instances=instances,
        volume=images.volume,
        now=order.now,
        previous=order.previous,
        others=images.beside,
        views=images.views,
    )
    return write(result, source, order.results, order.folder, order.author)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
