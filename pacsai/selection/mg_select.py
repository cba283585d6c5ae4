"""Which mammograms of a study a pipeline with `input: images` may see, with a reason for every image of the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pacsai.pipeline import Condition
from pacsai.selection import Candidate, Selection, Verdict, describe, refused
from pacsai.selection.mg import FOR_PRESENTATION, NOTHING_SEEN, Chosen, Exam, mammograms
from pacsai.selection.mg_pixels import Seen
from pacsai.selection.rules import allows, asked, other_attribute
from pacsai.selection.splitting import Part
from pacsai.study import Instance, Series, Study

UNNAMED = "its header does not name one side and view"
SAME_EXPOSURE = "another image of the same exposure is analysed"
SHOWN = "results are drawn on it"


def select_views(
    study: Study,
    accepts: Mapping[str, Condition],
    prefer: str = FOR_PRESENTATION,
    seen: Mapping[str, Seen] = NOTHING_SEEN,
) -> Selection:
    """Return the views of the exam; what is taken are the images that results are drawn on, in hanging order.

    Parameters
    ----------
    prefer : str
        FOR PRESENTATION or FOR PROCESSING: what is analysed of an exposure that has both.
    seen : mapping of str to Seen
        What the pixels of images told, by SOP Instance UID.
    """
    if study.several_patients or not study.series:
        return refused(study)
    series = {image.sop_instance_uid: one for one in study.series for image in one.instances}
    exam = _accepted(mammograms(study, prefer, seen), series, accepts)
    verdicts = tuple(_verdicts(study, exam))
    if exam.reason:
        return Selection(None, verdicts, reason=exam.reason, unnamed=exam.unnamed)
    shown = tuple(one.shown for one in exam.chosen)
    taken = Candidate(series[shown[0].sop_instance_uid], shown)
    return Selection(taken, verdicts, views=exam.chosen, missing_views=exam.missing, unnamed=exam.unnamed)


def _accepted(exam: Exam, series: Mapping[str, Series], accepts: Mapping[str, Condition]) -> Exam:
    """Return the exam without the views that the pipeline's own conditions rule out, and with the reason if none is."""
    kept: list[Chosen] = []
    left = list(exam.left)
    for one in exam.chosen:
        part = Part(series[one.analysed.sop_instance_uid], (one.analysed,))
        reason = other_attribute(part, accepts)
        kept += [] if reason else [one]
        left += [(one.analysed, reason)] if reason else []
    reason = exam.reason or _too_few(kept, left, exam.unnamed, accepts)
    return replace(exam, chosen=tuple(kept), left=tuple(left), reason=reason)


def _too_few(
    kept: list[Chosen],
    left: list[tuple[Instance, str]],
    unnamed: tuple[Instance, ...],
    accepts: Mapping[str, Condition],
) -> str:
    """Return why the views that are left are no exam to analyse; empty where they are one."""
    wanted = accepts.get("instances")
    if kept and wanted and not allows(wanted, len(kept)):
        return f"{len(kept)} view{'s' if len(kept) > 1 else ''}, and the pipeline asks for {asked(wanted)}"
    if kept:
        return ""
    if unnamed:
        return f"no mammogram names its side and view, so none is analysed: {UNNAMED}"
    return left[-1][1] if left else "there is no mammogram"


def _verdicts(study: Study, exam: Exam) -> list[Verdict]:
    """Return a verdict for each image, and one for each series that has none."""
    told: dict[str, tuple[bool, str]] = {image.sop_instance_uid: (False, reason) for image, reason in exam.left}
    told |= {image.sop_instance_uid: (False, UNNAMED) for image in exam.unnamed}
    for one in exam.chosen:
        name = f"{one.side} {one.view}"
        if exam.reason:
            told[one.analysed.sop_instance_uid] = False, exam.reason
            continue
        told[one.shown.sop_instance_uid] = True, f"{name}: {SHOWN}"
        told[one.analysed.sop_instance_uid] = True, "; ".join((f"{name}: analysed", *one.notes))
    verdicts = []
    for series in study.series:
        images = [image.sop_instance_uid for image in series.instances if image.header.get("Rows")]
        of_series = [told.get(uid, (False, SAME_EXPOSURE)) for uid in images]
        for taken, reason in of_series or [(False, "no images")]:
            verdicts.append(Verdict(series.series_instance_uid, describe(series), taken, reason))
    return verdicts
