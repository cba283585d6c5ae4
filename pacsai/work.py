"""What the jobs do for a study: plan, analyse, deliver; each told in the study's story.

Every argument and answer is plain text, and each call may come again after a crash: UIDs derive from what was
analysed, and the outbox keeps the first bytes, so a second time changes nothing.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pacsai import child, completion, faults, withdrawal
from pacsai.archive import Archive
from pacsai.archive.fenced import Fenced
from pacsai.bounds import Bounds, within
from pacsai.child import AnalysisBroke, Request
from pacsai.config import Site
from pacsai.jobs import Interrupted
from pacsai.objects.common import Author
from pacsai.outbox import DeliveryRefused, Outbox, Parcel
from pacsai.priors import Priors
from pacsai.priors.choice import laid_out
from pacsai.registry import Package
from pacsai.routing import Route, route
from pacsai.spool import Spool
from pacsai.story import Story
from pacsai.study import Study
from pacsai.study.reading import read_study
from pacsai.withdrawal import PART, Withdrawal

_OLD_S = 24 * 3600


class StudyWork:
    """The work of one site's jobs.

    Parameters
    ----------
    ending : Event
        Set when the node stops; cuts a running analysis off.
    delivered : callable
        Told the id of each parcel that the archive has taken whole, perhaps more than once.
    priors : Priors
        Finds the earlier studies that pipelines compare with.
    """

    def __init__(
        self,
        site: Site,
        spool: Spool,
        packages: Sequence[Package],
        archive: Archive,
        ending: threading.Event,
        delivered: Callable[[str], None],
        priors: Priors,
    ) -> None:
        self._site = site
        self._spool = spool
        self._packages = {package.name: package for package in packages}
        self._fenced = Fenced(archive, lambda: self.check_lease())
        self._ending = ending
        self._delivered = delivered
        self._priors = priors
        self._outbox = Outbox(site.node.data / "outbox")
        self._withdrawal = Withdrawal(
            spool, self._outbox, Author(installation=site.node.ae_title), Bounds.of(site.node.limits)
        )
        self._run_id = uuid.uuid4().hex[:8]
        self.check_lease: Callable[[], None] = lambda: None
        """Asked before each thing that others see; raises Interrupted where it is another node's by now."""

    def plan(self, study_instance_uid: str, revision: str) -> list[str]:
        """Return the names of the pipelines to run; the study's story says why each was chosen or not.

        `withdrawal.PART` is among them where results are to be withdrawn.
        """
        story = self._spool.story_of(study_instance_uid)
        if self._spool.revision(study_instance_uid) != revision:
            story.tell("superseded", reason="images arrived after this revision; the newer one is analysed")
            return []
        withdraws = [PART] if self._withdrawal.is_due(study_instance_uid) else []
        with within(Bounds.of(self._site.node.limits)):
            study = next(iter(read_study(self._spool.instances(study_instance_uid))))
        for issue in study.issues:
            story.tell("noticed", reason=issue)
        routes = route(study, [package.manifest for package in self._packages.values()])
        for one in routes:
            story.tell("routed", pipeline=one.pipeline, taken=one.taken, reason=one.reason)
        taken = [one.pipeline for one in routes if one.taken]
        for name in taken:
            if self._packages[name].manifest.prior:
                self._priors.foresee(study, revision, self._packages[name].manifest)
        if not taken:
            story.tell("not analysed", reason=self._why_not(study, routes))
        return [*withdraws, *taken]

    def _why_not(self, study: Study, routes: Sequence[Route]) -> str:
        """Return why no pipeline is run."""
        if self._withdrawal.notes(study.study_instance_uid) and not any(series.is_image for series in study.series):
            return "it has no images but rejected ones"
        return "; ".join(one.reason for one in routes) or "the site runs no pipeline"

    def analyse(self, study_instance_uid: str, revision: str, pipeline: str) -> str:
        """Run `pipeline` in a child process, pack its objects, return the parcel's id."""
        story = self._spool.story_of(study_instance_uid)
        if pipeline == PART:
            return self._withdraw(study_instance_uid, revision, story)
        story.tell("analysis started", pipeline=pipeline)
        try:
            report = self._analysed(study_instance_uid, revision, pipeline)
        except Exception as error:
            story.tell("failed", pipeline=pipeline, reason=str(error) or type(error).__name__)
            raise
        story.tell("analysed", parcel=report["result_id"], **_told(report))
        return str(report["result_id"])

    def _analysed(self, study_instance_uid: str, revision: str, pipeline: str) -> dict[str, Any]:
        if pipeline not in self._packages:
            raise ValueError(f"this site runs no pipeline {pipeline} any more")
        package = self._packages[pipeline]
        # The run's id, for a node that was taken over from may still work on the same.
        key = f"{self._spool.key(study_instance_uid)}-{revision[:16]}-{pipeline}-{self._run_id}"
        folder = self._site.node.data / "work" / key
        prior, said = self._prior(study_instance_uid, revision, package, folder.with_name(f"{key}-prior"))
        request = Request(
            study_instance_uid=study_instance_uid,
            instances=str(self._spool.instances_folder(study_instance_uid)),
            pipeline=str(package.folder),
            results=self._site.pipelines[pipeline].results,
            place=list(self._packages).index(pipeline),
            installation=self._site.node.ae_title,
            folder=str(folder),
            now=datetime.now(UTC).isoformat(),
            remarks=(*completion.remarks(self._spool, study_instance_uid, revision), *said),
            previous=completion.predecessors(self._spool, self._outbox, study_instance_uid, revision, pipeline),
            bounds=asdict(Bounds.of(self._site.node.limits)),
            prior=prior,
        )
        report = self._report(request, package)
        self.check_lease()
        self._pack(report, revision)
        shutil.rmtree(request.folder, ignore_errors=True)
        shutil.rmtree(prior, ignore_errors=True)
        return report

    def _withdraw(self, study_instance_uid: str, revision: str, story: Story) -> str:
        """Pack our rejection notes of this revision, mark the results that they name, return the parcel's id."""
        parcel_id = withdrawal.parcel_id(study_instance_uid, revision)
        try:
            if not self._outbox.holds(parcel_id):
                self._pack_notes(study_instance_uid, revision, parcel_id)
        except Exception as error:
            story.tell("failed", pipeline=PART, reason=str(error) or type(error).__name__)
            raise
        faults.point("withdrawal.packed")
        parcel = self._outbox.read(parcel_id)
        self._withdrawal.settle(parcel)
        story.tell("rejection note packed", parcel=parcel_id, pipeline=PART, objects=len(parcel.objects))
        return parcel_id

    def _pack_notes(self, study_instance_uid: str, revision: str, parcel_id: str) -> None:
        folder = self._site.node.data / "work" / f"{parcel_id}-{self._run_id}"
        report = self._withdrawal.report(study_instance_uid, revision, folder, datetime.now(UTC))
        faults.point("withdrawal.before_pack")
        self.check_lease()
        self._pack(report, revision)
        shutil.rmtree(folder, ignore_errors=True)

    def _prior(
        self, study_instance_uid: str, revision: str, package: Package, folder: Path
    ) -> tuple[str, tuple[str, ...]]:
        """Return the folder of the earlier study to compare with, '' for none, and what the result must say of it."""
        if not package.manifest.prior:
            return "", ()
        choice = self._priors.found(study_instance_uid, revision, package.manifest, self._check_going_on)
        return laid_out(choice, self._site.node.data, folder)

    def _check_going_on(self) -> None:
        if self._ending.is_set():
            raise Interrupted

    def deliver(self, parcel_id: str) -> None:
        """Send the parcel's objects; raises ArchiveUnavailable when the archive should be tried again."""
        parcel = self._outbox.read(parcel_id)
        story = self._spool.story_of(parcel.study_instance_uid)
        if self._stopped(parcel):
            return
        kept_back = sum(bool(one["problems"]) for one in parcel.summary["objects"])
        if not parcel.objects:
            reason = "none passed the conformance gate" if kept_back else "none may be made of such a study"
            story.tell("not sent", parcel=parcel_id, pipeline=parcel.pipeline, reason=f"objects: {reason}")
            return
        try:
            delivery = self._outbox.deliver(parcel_id, self._fenced)
        except DeliveryRefused as refusal:
            story.tell("refused by the archive", parcel=parcel_id, pipeline=parcel.pipeline, reason=str(refusal))
            raise
        objects = len(delivery.answers)
        event = "rejection note delivered" if parcel.pipeline == PART else "delivered"
        story.tell(event, parcel=parcel_id, pipeline=parcel.pipeline, objects=objects, kept_back=kept_back)
        if not self._stopped(parcel, sent=True):
            self._delivered(parcel_id)

    def _stopped(self, parcel: Parcel, *, sent: bool = False) -> bool:
        """Withdraw a result that a rejection note is against, and tell whether one is.

        Where the note came while the result was `sent`, ours may have been at the archive before all of the result: it
        is sent again, so that the archive has it last.
        """
        reason = self._withdrawal.stops(parcel)
        if not reason:
            return False
        self._withdrawal.withdraw(parcel, reason)
        for note in self._withdrawal.notes_on(parcel):
            if note.objects and (sent or self._outbox.delivery(note.id)):
                self._outbox.send_again(note.id, {one.sop_instance_uid for one in note.objects}, self._fenced)
        return True

    def _report(self, request: Request, package: Package) -> dict[str, Any]:
        """Return the report of the analysis or, where it breaks, of its refusal for that reason.

        The earlier study may be what it breaks on: without it the current one is analysed all the same.
        """
        try:
            return self._run(request, package)
        except AnalysisBroke as broken:
            reason = str(broken)
        if request.prior:
            told = f"with it {reason}"
            story = self._spool.story_of(request.study_instance_uid)
            story.tell("prior not used", pipeline=package.name, reason=told)
            said = f"not compared with the earlier study: with it {reason}"
            return self._report(replace(request, prior="", remarks=(*request.remarks, said)), package)
        try:
            return self._run(replace(request, refusal=reason), package)
        except AnalysisBroke as broken:
            raise AnalysisBroke(f"{reason}; no object could be made to say so: {broken}") from broken

    def _run(self, request: Request, package: Package) -> dict[str, Any]:
        shutil.rmtree(request.folder, ignore_errors=True)
        Path(request.folder).mkdir(parents=True)
        try:
            return child.run(request, package.manifest.resources, self._ending)
        except child.Ended:
            raise Interrupted from None

    def _pack(self, report: dict[str, Any], revision: str) -> None:
        """Pack the objects that passed the gate; the others are kept for a look, told in the report, never sent."""
        for one in report["objects"]:
            if one["problems"]:
                kept = self._site.node.data / "refused" / report["result_id"]
                kept.mkdir(parents=True, exist_ok=True)
                one["file"] = shutil.copy2(one["file"], kept)
        self._outbox.pack(
            report["result_id"],
            [Path(one["file"]) for one in report["objects"] if not one["problems"]],
            study_instance_uid=report["study_instance_uid"],
            pipeline=report["pipeline"],
            revision=revision,
            summary={key: value for key, value in report.items() if key != "inputs"},
            inputs=report["inputs"],
        )


def sweep(folder: Path, *, shared: bool) -> None:
    """Delete what cut-off analyses left in the folder of the work; where nodes share it, what is a day old."""
    for left in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # another node sweeps, or ends its work
            if not shared or time.time() - left.stat().st_mtime > _OLD_S:
                shutil.rmtree(left, ignore_errors=True)


def _told(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a study's story says of an analysis."""
    keys = ("pipeline", "version", "outcome", "reason", "findings", "series", "seconds")
    objects = [{key: one[key] for key in ("kind", "sop_instance_uid", "problems")} for one in report["objects"]]
    return {**{key: report[key] for key in keys}, "objects": objects}
