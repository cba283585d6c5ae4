"""Which images of a study a pipeline may see, with a written reason for every series.

Judges headers; whether the pixels show what the headers promise is bodypart.py's and the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from pacsai.pipeline import Condition
from pacsai.selection.ranking import Preference, Usable, best, kernel, kernel_kind, why_better
from pacsai.selection.rules import GRID_RULES, Rule, rules_for, spaced, withdraws
from pacsai.selection.splitting import Part, differences, split
from pacsai.study import Instance, Series, Study
from pacsai.study.header import items, texts, uid
from pacsai.volume import GeometryError, geometry

if TYPE_CHECKING:  # mg.py speaks with the words of this module
    from pacsai.selection.mg import Chosen

SEVERAL_PATIENTS = "images of more than one patient carry this study's UID"
WITHDRAWN = "withdrawn by a rejection note"
REASONS_TOLD = 3
DIFFERENCES_TOLD = 3


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What is analysed: `instances` of `series`, in slice order (an enhanced multi-frame object once)."""

    series: Series
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a series was taken or left, and why, in words for a PACS administrator."""

    series_instance_uid: str
    description: str
    taken: bool
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """At most one candidate, and a verdict for each series of the study.

    Attributes
    ----------
    taken : Candidate or None
        What results are written on.
    sequences : mapping of str to Candidate
        By name, where a pipeline asks for sequences; the reference, which is `taken`, among them.
    remarks : tuple of str
        What a reader of the result should know of the choice.
    reason : str
        Why nothing was taken; empty where something was.
    views, missing_views
        The views of an exam of mammograms, where a pipeline asks for one, and the names of those that are not there.
    unnamed : tuple of Instance
        Mammograms that no header names side and view of: their pixels may tell.
    trustworthy : bool
        False where no object may be made of the study at all: its images are of several patients, or there is none.
    """

    taken: Candidate | None
    verdicts: tuple[Verdict, ...]
    reason: str = ""
    trustworthy: bool = True
    sequences: Mapping[str, Candidate] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    views: tuple[Chosen, ...] = ()
    missing_views: tuple[str, ...] = ()
    unnamed: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A part of a series, with the reason against it or else its grid."""

    part: Part
    reason: str
    usable: Usable | None = None


def select(study: Study, accepts: Mapping[str, Condition], preference: Preference | None = None) -> Selection:
    """Return the images of `study` that a pipeline with the acceptance rules `accepts` should see.

    Each series is split into the volumes it holds, each volume judged by the rules, and the best of those without a
    reason against them taken. The order in which instances arrived does not matter.
    """
    if study.several_patients or not study.series:
        return refused(study)
    left = frozenset(withdrawn(study.instances))
    judged = {one.series_instance_uid: _judge_series(one, left, accepts) for one in study.series}
    usable = [part.usable for parts in judged.values() for part in parts if part.usable]
    chosen = preference or Preference()
    winner = best(usable, chosen) if usable else None
    verdicts = tuple(
        _verdict(series, judged[series.series_instance_uid], winner, usable, chosen) for series in study.series
    )
    if winner is None:
        return Selection(None, verdicts, reason=_summary(study, verdicts))
    return Selection(Candidate(winner.part.series, winner.grid.order), verdicts)


def judge(part: Part, accepts: Mapping[str, Condition], rules: Sequence[Rule] | None = None) -> Judged:
    """Return a part with the first reason against it, or with its grid; `rules` for headers, else the modality's."""
    for rule in rules_for(part.modality) if rules is None else rules:
        if reason := rule(part, accepts):
            return Judged(part, reason)
    try:
        grid = geometry(part.instances)
    except GeometryError as error:
        return Judged(part, str(error))
    reason = next((why for rule in GRID_RULES if (why := rule(part, grid, accepts))), "")
    return Judged(part, reason, None if reason else Usable(part, grid))


def describe(series: Series) -> str:
    """Return the name that people know a series by: its number and description, or its modality."""
    words = texts(series.header, "SeriesNumber", "SeriesDescription") or series.modality or "series without a name"
    return "".join(character if character.isprintable() else "?" for character in words)[:80]


def _judge_series(series: Series, left: frozenset[str], accepts: Mapping[str, Condition]) -> tuple[Judged, ...]:
    valid = [instance for instance in series.instances if instance.sop_instance_uid not in left]
    return tuple(judge(part, accepts) for part in split(series, valid))


def _verdict(
    series: Series, judged: Sequence[Judged], winner: Usable | None, usable: Sequence[Usable], preference: Preference
) -> Verdict:
    def told(taken: bool, reason: str) -> Verdict:
        return Verdict(series.series_instance_uid, describe(series), taken, reason)

    if not judged:
        return told(False, WITHDRAWN)
    own = [one.usable for one in judged if one.usable]
    if winner is None or not own:
        return told(False, judged[0].reason + others(judged[0].part, judged))
    if winner in own:
        return told(True, qualities(winner) + others(winner.part, judged))
    why = why_better(winner, best(own, preference), usable, preference)
    return told(False, f"usable, but series {describe(winner.part.series)} was preferred {why}")


def qualities(usable: Usable) -> str:
    """Return what was taken, with what a reader should be warned of."""
    part, header = usable.part, usable.part.header
    words = [f"{usable.grid.shape_kji[0]} {spaced(part, usable.grid)}"]
    if name := kernel(part):
        words.append(f"kernel {name} ({kernel_kind(name)})")
    if texts(header, "BurnedInAnnotation").upper() == "YES":
        words.append("text is burned into the images")
    if texts(header, "LossyImageCompression") == "01":
        words.append("the images went through lossy compression")
    return ", ".join(words)


def others(part: Part, judged: Sequence[Judged]) -> str:
    """Return what the series holds beside `part`, "" where it is of one piece or shares one fate."""
    others = [one.part for one in judged if one.part is not part]
    if not others or len({one.reason for one in judged}) == 1:
        return ""
    count = sum(other.count for other in others)
    keywords = list(dict.fromkeys(keyword for other in others for keyword in differences(part, other)))
    more = " and more" if len(keywords) > DIFFERENCES_TOLD else ""
    differ = f"image{'s' if count > 1 else ''} of the series differ{'' if count > 1 else 's'}"
    return f"; {count} more {differ} in {', '.join(keywords[:DIFFERENCES_TOLD])}{more}"


def refused(study: Study) -> Selection:
    """Return what is said of a study that nothing may be made of."""
    reason = SEVERAL_PATIENTS if study.series else "; ".join(study.issues) or "there is no image"
    verdicts = tuple(Verdict(one.series_instance_uid, describe(one), False, reason) for one in study.series)
    return Selection(None, verdicts, reason=reason, trustworthy=False)


def _summary(study: Study, verdicts: Sequence[Verdict]) -> str:
    """Return why no series was taken: the reasons of the series with most images, the largest first."""
    sizes = {one.series_instance_uid: (one.is_image, len(one.instances)) for one in study.series}
    ordered = sorted(verdicts, key=lambda verdict: sizes[verdict.series_instance_uid], reverse=True)
    reasons = list(dict.fromkeys(verdict.reason for verdict in ordered))
    more = f"; and {len(reasons) - REASONS_TOLD} other reasons" if len(reasons) > REASONS_TOLD else ""
    return "no series can be analysed: " + "; ".join(reasons[:REASONS_TOLD]) + more


def withdrawn(instances: Iterable[Instance]) -> Iterable[str]:
    """Give the UIDs of instances that rejection notes among `instances` name (PS3.3 C.17.6.2, current evidence)."""
    for instance in instances:
        if withdraws(instance.header):
            yield from _evidence(instance.header)


def _evidence(note: Dataset) -> Iterable[str]:
    for study in items(note, "CurrentRequestedProcedureEvidenceSequence"):
        for series in items(study, "ReferencedSeriesSequence"):
            for image in items(series, "ReferencedSOPSequence"):
                yield uid(image, "ReferencedSOPInstanceUID")
