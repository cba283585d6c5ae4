"""The running node: receiver, watcher, jobs and archive, tied together for one site.

Knows when things happen; what an analysis is, is flow.py's, and how jobs survive is jobs/'s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

import structlog

from pacsai import faults, notices
from pacsai.archive import open_archive
from pacsai.commitment import Commitment
from pacsai.completion import Evidence, Steps
from pacsai.config import Site
from pacsai.dicom.scp import Receiver
from pacsai.jobs import Jobs
from pacsai.notices import Desk
from pacsai.priors import Priors
from pacsai.registry import Package, PipelineError, discover
from pacsai.retention import Retention
from pacsai.spool import Spool
from pacsai.urgency import is_urgent
from pacsai.web.server import WebServer
from pacsai.work import StudyWork, sweep

log = structlog.get_logger()


class Node:
    """Everything that runs for one site; a context manager that drains on leaving.

    Where another node has taken over its jobs because it was away for too long, `lost` is set and `on_lost` called: it
    must be left then.
    """

    def __init__(self, site: Site, on_lost: Callable[[], None] = lambda: None) -> None:
        self.site = site
        self.lost = False
        self.packages = site_packages(site)
        site.node.data.mkdir(parents=True, exist_ok=True)
        self.spool = Spool(site.node.data)
        self.receiver = Receiver(site.node, self.spool)
        self.web = WebServer(site, self.spool) if site.web.port is not None else None
        archive = open_archive(site)
        self.commitment = Commitment(site, self.spool, archive)
        self.evidence = Evidence(site, self.spool)
        self.steps = Steps(site, self.spool)
        self.desk = Desk(site.node.data / "notices", self._handlers(), self.spool.story)
        self._ending = threading.Event()
        self._on_lost = on_lost
        self.priors = Priors(site, self.spool)
        work = StudyWork(site, self.spool, self.packages, archive, self._ending, self.commitment.delivered, self.priors)
        self.jobs = self._jobs_for(work)
        self.commitment.leads = self.jobs.leads
        self.retention = Retention(site, self.spool, self.commitment.ledger, self.jobs.list, leads=self.jobs.leads)
        self._watcher = threading.Thread(target=self._watch, name="study completion", daemon=True)

    def __enter__(self) -> Node:
        shared = self.site.jobs.database != "sqlite"
        sweep(self.site.node.data / "work", shared=shared)
        self.spool.start(shared=shared)
        self.priors.start()
        if self.web:
            self.web.start()  # first: where it cannot listen, nothing else has begun
        self.jobs.start()
        self.receiver.start()
        self.commitment.start()
        self.retention.start()
        self.evidence.start()
        self.steps.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.web:
            self.web.stop()
        self.receiver.stop()
        self._ending.set()
        self._watcher.join()
        self.evidence.stop()
        self.priors.stop()
        self.retention.stop()
        self.jobs.stop()
        self.commitment.stop()
        self.spool.close()

    def _jobs_for(self, work: StudyWork) -> Jobs:
        jobs = Jobs(
            self.site.jobs.database,
            self.site.node.data,
            work,
            at_once={name: settings.at_once for name, settings in self.site.pipelines.items()},
            name=self.site.node.ae_title,
            lease_s=self.site.jobs.lease_s,
            lost=self._lose,
        )
        work.check_lease = jobs.check_lease
        return jobs

    def _lose(self) -> None:
        self.lost = True
        self._on_lost()

    def _handlers(self) -> dict[tuple[notices.Service, str], notices.Handler]:
        """Return who deals with which notice."""
        return self.commitment.handlers() | self.steps.handlers()

    def _watch(self) -> None:
        """Submit each study that has been quiet long enough, once for each revision of it.

        Senders were not heard while the node was down: no study is complete before they had the quiet time to go on.
        """
        period_s = min(1.0, self.site.study.quiet_s / 4)
        heard_since = time.monotonic()
        while not self._ending.wait(period_s):
            if time.monotonic() - heard_since > self.site.study.quiet_s:
                self._try_to_submit()
            self.desk.deal()

    def _try_to_submit(self) -> None:
        """Submit what is complete; a study that cannot be submitted holds up no other."""
        try:
            complete = self.spool.complete(self.site.study.quiet_s, datetime.now(UTC), self.steps.complete())
        except Exception:
            log.exception("the complete studies could not be found; trying again")
            return
        for study_instance_uid in complete:
            try:
                self._submit(study_instance_uid)
            except Exception:
                log.exception("a complete study could not be submitted; trying again")

    def _submit(self, study_instance_uid: str) -> None:
        revision = self.spool.revision(study_instance_uid)
        if not self._settled(study_instance_uid, revision):
            return
        faults.point("completion.before_submit")
        urgent = is_urgent(self.spool.instances(study_instance_uid), self.site.study.priority)
        self.jobs.submit(study_instance_uid, revision, urgent=urgent)
        faults.point("completion.submitted")
        if urgent:
            self.spool.story_of(study_instance_uid).tell("urgent", revision=revision)
        self.spool.mark_submitted(study_instance_uid, revision)
        self.steps.submitted(study_instance_uid)
        faults.point("completion.marked")

    def _settled(self, study_instance_uid: str, revision: str) -> bool:
        """Return whether all evidence is in: of a modality at work, of the archive, then of what was announced."""
        if self.steps.running(study_instance_uid, revision) or not self.evidence.settled(study_instance_uid, revision):
            return False
        return self.steps.settled(study_instance_uid, revision)


def site_packages(site: Site) -> tuple[Package, ...]:
    """Return the pipelines that the site wants, each verified.

    Raises
    ------
    PipelineError
        A pipeline that is not there or cannot be used: refused at start-up, by name.
    """
    extra = [settings.folder for settings in site.pipelines.values() if settings.folder]
    packages = {package.name: package for package in discover(extra)}
    for name in site.pipelines:
        if name not in packages:
            raise PipelineError(f"pipelines.{name}: no such pipeline; there are {', '.join(packages)}")
        packages[name].verified_weights()
    return tuple(packages[name] for name in site.pipelines)
