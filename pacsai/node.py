"""The running node: receiver, watcher, jobs and archive, tied together for one site.

Knows when things happen; what happens to a study is flow.py's, how jobs survive is jobs.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Any

import structlog

from pacsai import child
from pacsai.archive import Archive, open_archive
from pacsai.child import AnalysisBroke, Request
from pacsai.config import Site
from pacsai.dicom.scp import Receiver
from pacsai.jobs import Jobs
from pacsai.outbox import DeliveryRefused, Outbox
from pacsai.reading import read_study
from pacsai.registry import Package, PipelineError, discover
from pacsai.routing import route
from pacsai.spool import Spool
from pacsai.study import Study

log = structlog.get_logger()


class StudyWork:
    """What the jobs do for a study; every argument and answer is plain text, so that a job can be replayed."""

    def __init__(self, site: Site, spool: Spool, packages: Sequence[Package], archive: Archive) -> None:
        self._site = site
        self._spool = spool
        self._packages = {package.name: package for package in packages}
        self._archive = archive
        self._outbox = Outbox(site.node.data / "outbox")

    def plan(self, study_instance_uid: str, revision: str) -> list[str]:
        """Return the names of the pipelines to run; the study's story says why each was chosen or not."""
        story = self._spool.story_of(study_instance_uid)
        if self._spool.revision(study_instance_uid) != revision:
            story.tell("superseded", detail="images arrived after this revision; the newer one is analysed")
            return []
        study = self._study(study_instance_uid)
        routes = route(study, [package.manifest for package in self._packages.values()])
        for one in routes:
            story.tell("routed", pipeline=one.pipeline, taken=one.taken, reason=one.reason)
        taken = [one.pipeline for one in routes if one.taken]
        if not taken:
            story.tell("not analysed", reason="no pipeline of this site is for such a study")
        return taken

    def analyse(self, study_instance_uid: str, revision: str, pipeline: str) -> str:
        """Run `pipeline` in a child process, pack its objects, return the parcel's id."""
        package = self._packages[pipeline]
        folder = self._site.node.data / "work" / f"{self._spool.key(study_instance_uid)}-{revision[:16]}-{pipeline}"
        request = Request(
            study_instance_uid=study_instance_uid,
            instances=str(self._spool.instances_folder(study_instance_uid)),
            pipeline=str(package.folder),
            results=self._site.pipelines[pipeline].results,
            place=list(self._packages).index(pipeline),
            installation=self._site.node.ae_title,
            folder=str(folder),
            now=datetime.now(UTC).isoformat(),
        )
        story = self._spool.story_of(study_instance_uid)
        story.tell("analysis started", pipeline=pipeline)
        report = self._report(request, package)
        parcel = self._pack(study_instance_uid, revision, report)
        rmtree(folder, ignore_errors=True)
        story.tell("analysed", parcel=parcel, **_summary(report))
        return parcel

    def deliver(self, parcel_id: str) -> None:
        """Send the parcel's objects; raises ArchiveUnavailable when the archive should be tried again."""
        parcel = self._outbox.read(parcel_id)
        story = self._spool.story_of(parcel.study_instance_uid)
        try:
            delivery = self._outbox.deliver(parcel_id, self._archive)
        except DeliveryRefused as refusal:
            story.tell("refused by the archive", parcel=parcel_id, pipeline=parcel.pipeline, reason=str(refusal))
            raise
        story.tell("delivered", parcel=parcel_id, pipeline=parcel.pipeline, objects=len(delivery.answers))

    def _pack(self, study_instance_uid: str, revision: str, report: dict[str, Any]) -> str:
        sendable = [Path(one["file"]) for one in report["objects"] if not one["problems"]]
        parcel = self._outbox.pack(
            report["result_id"],
            sendable,
            study_instance_uid=study_instance_uid,
            pipeline=report["pipeline"],
            revision=revision,
            summary=report,
        )
        return parcel.id

    def _report(self, request: Request, package: Package) -> dict[str, Any]:
        folder = Path(request.folder)
        for attempt in (request, None):
            rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                return child.run(attempt or replace(request, refusal=reason), package.manifest)
            except AnalysisBroke as error:
                reason = str(error)
        raise AnalysisBroke(f"{package.name}: {reason}, and no object could be made to say so")

    def _study(self, study_instance_uid: str) -> Study:
        studies = read_study(self._spool.instances(study_instance_uid))
        return next(study for study in studies if study.study_instance_uid == study_instance_uid)


class Node:
    """Everything that runs for one site; a context manager that drains on leaving."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.spool = Spool(site.node.data)
        self.packages = _packages(site)
        archive = open_archive(site.archive, site.node.ae_title)
        self.jobs = Jobs(
            site.jobs.database, site.node.data, StudyWork(site, self.spool, self.packages, archive)
        )
        self.receiver = Receiver(site.node, self.spool)
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="study completion", daemon=True)

    def __enter__(self) -> Node:
        self.spool.start()
        self.jobs.start()
        self.receiver.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.receiver.stop()
        self._ending.set()
        self._watcher.join()
        self.jobs.stop()

    def _watch(self) -> None:
        """Submit each study that has been quiet long enough, once for each revision of it."""
        period_s = min(1.0, self.site.study.quiet_s / 4)
        while not self._ending.wait(period_s):
            with suppress(StopIteration):
                self._submit_complete()

    def _submit_complete(self) -> None:
        for study_instance_uid in self.spool.complete(self.site.study.quiet_s, datetime.now(UTC)):
            revision = self.spool.revision(study_instance_uid)
            self.jobs.submit(study_instance_uid, revision)
            self.spool.mark_submitted(study_instance_uid, revision)


def _packages(site: Site) -> tuple[Package, ...]:
    """Return the pipelines that the site wants, each verified; a bad one is refused at start-up, by name."""
    extra = [settings.folder for settings in site.pipelines.values() if settings.folder]
    packages = {package.name: package for package in discover(extra)}
    for name in site.pipelines:
        if name not in packages:
            raise PipelineError(f"pipelines.{name}: no such pipeline; there are {', '.join(packages)}")
        packages[name].verified_weights()
    return tuple(packages[name] for name in site.pipelines)


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "pipeline": report["pipeline"],
        "version": report["version"],
        "outcome": report["outcome"],
        "reason": report["reason"],
        "findings": report["findings"],
        "series": report["series"],
        "objects": [{key: one[key] for key in ("kind", "sop_instance_uid", "problems")} for one in report["objects"]],
        "seconds": report["seconds"],
    }
