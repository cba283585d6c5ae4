"""The gate before sending: what is wrong with the objects of one result, in words.

Pure Python, since a site need not have dciodvfy, and further than it where it is blind: dciodvfy takes any code for a
good one and knows no SR template. Each rule is a function from an object, its siblings and its source to sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pacsai.objects.conformance import attributes, codes, geometry, identity, references, templates
from pacsai.objects.source import ResultObject, Source

Rule = Callable[[ResultObject, Sequence[ResultObject], Source], Iterable[str]]

RULES: dict[str, Rule] = {
    "attribute": attributes.missing,
    "value": attributes.malformed,
    "code": codes.unknown,
    "template": templates.broken,
    "reference": references.dangling,
    "geometry": geometry.displaced,
    "patient": identity.mixed_up,
    "notice": identity.unmarked,
}
"""What is asked of every object, by name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one object: its `kind` (SEG, SR, ...), the name of the `rule`, and a sentence."""

    kind: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def check(objects: Sequence[ResultObject], source: Source) -> tuple[Problem, ...]:
    """Return all that is wrong with the objects made from one result; nothing for good ones.

    Parameters
    ----------
    objects : sequence of ResultObject
        Everything that was made from the result: an object may refer to its siblings.
    source : Source
        What they were made from.
    """
    return tuple(problem for one in objects for problem in judge(one, objects, source))


def judge(one: ResultObject, objects: Sequence[ResultObject], source: Source) -> Iterator[Problem]:
    """Yield what is wrong with one object, given its siblings (it may be among them)."""
    siblings = [one, *(other for other in objects if other is not one)]
    for name, rule in RULES.items():
        for message in rule(one, siblings, source):
            yield Problem(one.kind, name, message)
