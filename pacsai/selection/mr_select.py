"""Which series of a study become the sequences of a pipeline with `input: volumes`, with a reason for every series.

Headers decide; where they leave open which sequence a usable series is, its pixels are asked (mr_pixels.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pacsai.pipeline import Condition
from pacsai.selection import (
    WITHDRAWN,
    Candidate,
    Judged,
    Selection,
    Verdict,
    describe,
    judge,
    others,
    qualities,
    refused,
    withdrawn,
)
from pacsai.selection.mr import Naming, name, with_contrast
from pacsai.selection.mr_pixels import look
from pacsai.selection.mr_rules import mr_rules, reformatted
from pacsai.selection.mr_words import WORDS, Words
from pacsai.selection.ranking import Preference, Usable, best, series_number, why_better
from pacsai.selection.splitting import split
from pacsai.study import Series, Study

REASONS_TOLD = 4
Look = Callable[[Usable, tuple[str, ...]], Naming]


def _reformatted(one: Usable, _: Preference) -> float:
    return float(reformatted(one.part))


def _after_contrast(one: Usable, _: Preference) -> float:
    return float(with_contrast(Naming("T1", ""), one.part.header).name != "T1")


def _longest_side(one: Usable, _: Preference) -> float:
    return round(max(one.grid.spacing_mm), 1)


def _voxel(one: Usable, _: Preference) -> float:
    z, y, x = one.grid.spacing_mm
    return round(z * y * x, 2)


PREFERENCE = Preference(
    criteria=(
        ("for being acquired, not reformatted", _reformatted),
        ("for being without contrast medium", _after_contrast),
        ("for its shorter voxels", _longest_side),
        ("for its smaller voxels", _voxel),
        ("for its lower series number", series_number),
    )
)
"""Of several series of one sequence; 3-D isotropic comes before thick 2-D by the longest side of its voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A part of a series, judged, and the sequence it is."""

    judged: Judged
    naming: Naming

    @property
    def usable(self) -> Usable | None:
        """Return the part with its grid, None where there is a reason against it."""
        return self.judged.usable

    @property
    def told(self) -> str:
        """Return which sequence it is, for a reader."""
        return self.naming.name or "other"


def select_sequences(
    study: Study,
    accepts: Mapping[str, Condition],
    sequences: Mapping[str, str],
    *,
    words: Words = WORDS,
    look: Look = look,
) -> Selection:
    """Return the series of `study` that are the named `sequences` ("required" or "optional", the reference first).

    Without one of the required sequences nothing is taken. The order in which instances arrived does not matter.

    Parameters
    ----------
    words : Words
        Tables of what people write into descriptions.
    look : callable
        Asked for a usable part that its header leaves open: which of the options the pixels show.
    """
    if study.several_patients or not study.series:
        return refused(study)
    left = frozenset(withdrawn(study.instances))
    named = {one.series_instance_uid: _named(one, left, accepts, words, look) for one in study.series}
    winners = _winners([part for parts in named.values() for part in parts], sequences)
    missing = next((one for one, need in sequences.items() if need == "required" and one not in winners), "")
    verdicts = tuple(_verdict(one, named[one.series_instance_uid], winners, sequences, missing) for one in study.series)
    if missing:
        return Selection(None, verdicts, reason=_why_missing(missing, study, named, verdicts))
    taken = {one: Candidate(winner.part.series, winner.grid.order) for one, winner in winners.items()}
    reference = next(iter(sequences))
    return Selection(taken[reference], verdicts, sequences=taken, remarks=tuple(_apart(winners, reference)))


def _named(
    series: Series, left: frozenset[str], accepts: Mapping[str, Condition], words: Words, look: Look
) -> tuple[Named, ...]:
    valid = [instance for instance in series.instances if instance.sop_instance_uid not in left]
    found = []
    for part in split(series, valid):
        judged, naming = judge(part, accepts, mr_rules(words)), name(part.header, words)
        if judged.usable and naming.options:
            seen = look(judged.usable, naming.options)
            told = Naming(seen.name, f"{naming.reason}; {seen.reason}")
            naming = with_contrast(told, part.header, words) if seen.name == "T1" else told
        found.append(Named(judged, naming))
    return tuple(found)


def _winners(parts: Sequence[Named], sequences: Mapping[str, str]) -> dict[str, Usable]:
    """Return the best usable part for each sequence that there is one of, in the order of `sequences`."""
    usable = {one: [p.usable for p in parts if p.usable and p.naming.name == one] for one in sequences}
    return {one: best(candidates, PREFERENCE) for one, candidates in usable.items() if candidates}


def _verdict(
    series: Series,
    parts: Sequence[Named],
    winners: Mapping[str, Usable],
    sequences: Mapping[str, str],
    missing: str,
) -> Verdict:
    """Return what became of a series, told by the part that was taken, else by the one that came nearest to it."""
    if not parts:
        return Verdict(series.series_instance_uid, describe(series), False, WITHDRAWN)
    taken = [one for one in parts if not missing and winners.get(one.naming.name) is one.usable is not None]
    chosen = taken or [next((one for one in parts if one.usable), parts[0])]
    told = [_taken(one) if taken else _left(one, winners, sequences, missing) for one in chosen]
    beside = others(chosen[0].judged.part, [one.judged for one in parts]) if len(chosen) == 1 else ""
    return Verdict(series.series_instance_uid, describe(series), bool(taken), "; ".join(told) + beside)


def _taken(one: Named) -> str:
    assert one.usable is not None  # noqa: S101 - only usable parts are taken
    return f"{one.told}, {one.naming.reason}: {qualities(one.usable)}"


def _left(one: Named, winners: Mapping[str, Usable], sequences: Mapping[str, str], missing: str) -> str:
    if one.usable is None:
        return one.judged.reason
    if one.naming.name not in sequences:
        return f"{one.naming.name}, which the pipeline does not read" if one.naming.name else one.naming.reason
    winner = winners[one.naming.name]
    if winner is one.usable:
        return f"{one.told}, and without {missing} nothing is analysed"
    why = why_better(winner, one.usable, (winner, one.usable), PREFERENCE)
    return f"{one.told}, but series {describe(winner.part.series)} was preferred {why}"


def _why_missing(missing: str, study: Study, named: Mapping[str, Sequence[Named]], verdicts: Sequence[Verdict]) -> str:
    """Return why a required sequence is missing: its series that were refused, else what the others are."""
    rows = []
    for series, verdict in zip(study.series, verdicts, strict=True):
        found = {part.told for part in named[series.series_instance_uid]} if series.is_image else set[str]()
        rows.append((missing not in found, -len(series.instances) * series.is_image, verdict, found - {"other"}))
    rows.sort(key=lambda row: row[:2])
    shown = [row for row in rows if not row[0]] or rows
    told = [f"{verdict.description}{_in_brackets(found)}: {verdict.reason}" for _, _, verdict, found in shown]
    more = f"; and {len(told) - REASONS_TOLD} more series" if len(told) > REASONS_TOLD else ""
    return f"no {missing} series: {'; '.join(told[:REASONS_TOLD])}{more}"


def _in_brackets(found: set[str]) -> str:
    return f" ({', '.join(sorted(found))})" if found else ""


def _apart(winners: Mapping[str, Usable], reference: str) -> list[str]:
    """Return a sentence for each sequence in another frame of reference than the reference's."""
    frame = winners[reference].grid.frame_of_reference_uid
    return [
        f"{one} has another frame of reference than {reference}: nothing but registration says how they lie"
        for one, winner in winners.items()
        if winner.grid.frame_of_reference_uid != frame
    ]
