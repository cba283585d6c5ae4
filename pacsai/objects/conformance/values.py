"""What a content item may say: the value column of the template tables.

    CID n            a code of that context group, as pydicom has it
    unit CID n       a number in one of those units; "unit um mm" names them
    whole CID n      a whole number of 0 or more in one of those units
    positive CID n   a number above 0 in one of those units
    code A B         one of these code values; by reference: what the item referred to says
    percent, count   a number of 0 to 100 percent, a whole number of 1 or more
    POINT CIRCLE     a graphic of one of these types
    trimmed          text without spaces around it or control characters
    RFC5646          a language tag
    library          by reference: an image of the Image Library
    (empty)          any value that its value type has

A baseline context group may be extended, and restricts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from pacsai.objects.conformance import tree
from pacsai.objects.conformance.tree import Identifier, Tree
from pacsai.terms import ASSESSMENTS, IMAGE_LIBRARY, NO_UNITS, PERCENT, Code

_ADDED = {6026: frozenset(ASSESSMENTS)}
"""Members of context groups that pydicom 3.0.2 lacks: CID 6026 includes 6027, which is empty there."""
_HOLDS = {
    "CODE": "ConceptCodeSequence",
    "TEXT": "TextValue",
    "NUM": "MeasuredValueSequence",
    "DATE": "Date",
    "TIME": "Time",
    "UIDREF": "UID",
    "IMAGE": "ReferencedSOPSequence",
    "SCOORD": "GraphicData",
    "CONTAINER": "ContinuityOfContent",
}
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*").fullmatch
_COORDINATES = {"POINT": (2, 2), "CIRCLE": (4, 4), "ELLIPSE": (8, 8), "POLYLINE": (4, None), "MULTIPOINT": (2, None)}
"""Fewest and most numbers of a graphic, by its type (PS3.3 C.18.6.1.2)."""


@cache
def group(number: int) -> frozenset[Code]:
    """Return the codes of a context group; empty for one that pydicom does not have."""
    try:
        found = getattr(codes, f"cid{number}").concepts.values()
    except AttributeError:
        return _ADDED.get(number, frozenset())
    listed = frozenset(Code(one.value, one.scheme_designator, one.meaning) for one in found)
    return listed | _ADDED.get(number, frozenset())


def wrong(item: Dataset, rule: str) -> Iterator[str]:
    """Yield how the value of an item by value departs from the value column of its row."""
    holds = _HOLDS.get(str(item.get("ValueType")), "ValueType")
    if not item.get(holds):
        yield f"has no {holds}"
        return
    if item.ValueType == "SCOORD":
        yield from _wrong_graphic(item)
    first, _, rest = rule.partition(" ")
    if first == "CID" and tree.value(item) not in group(int(rest)):
        yield f"says {_said(tree.value(item))}, which is not in CID {rest}"
    if first == "RFC5646" and (said := tree.value(item)) and not (said.scheme == "RFC5646" and _LANGUAGE(said.value)):
        yield f"says {_said(said)}, which is no RFC 5646 language"
    if first in _COORDINATES and item.get("GraphicType") not in rule.split():
        yield f"is a {item.get('GraphicType')} and must be a {rule.replace(' ', ' or ')}"
    if first == "trimmed" and (item.TextValue != item.TextValue.strip() or not item.TextValue.isprintable()):
        yield "has spaces around its text or control characters in it"
    if first == "code":
        yield from _wrong_code(item, rest)
    if first in ("unit", "whole", "positive", "percent", "count"):
        yield from _wrong_number(item, first, rest)


def wrong_target(where: Identifier, rule: str, value_type: str, content: Tree) -> Iterator[str]:
    """Yield what is wrong with what a by-reference item refers to."""
    target = content.at(where)
    if target is None:
        yield f"refers to {tree.shown(where)}, where nothing stands"
        return
    if target.get("ValueType") != value_type:
        yield f"refers to {tree.shown(where)}, which is {tree.called(target)} and must be {value_type}"
    holder = content.at(where[:-1])
    if rule == "library" and (holder is None or tree.concept(holder) != IMAGE_LIBRARY):
        yield f"refers to {tree.shown(where)}, which is not in the Image Library"
    if rule.startswith("code "):
        yield from _wrong_code(target, rule.removeprefix("code "))


def _wrong_code(item: Dataset, listed: str) -> Iterator[str]:
    said = tree.value(item)
    if said is None or said.value not in listed.split():
        yield f"is about {_said(said)} and must be about {listed.replace(' ', ' or ')}"


def _wrong_number(item: Dataset, rule: str, units: str) -> Iterator[str]:
    value = item.MeasuredValueSequence[0].get("NumericValue")
    unit = tree.unit(item)
    if value is None:
        yield "has no number"
        return
    if rule == "whole" and (float(value) < 0 or float(value) % 1):
        yield f"is {value} and must be a whole number"
    if rule == "positive" and not float(value) > 0:
        yield f"is {value} and must be above 0"
    if rule in ("unit", "whole", "positive"):
        in_group = units.startswith("CID ")
        if not (unit in group(int(units[4:])) if in_group else unit and unit.value in units.split()):
            yield f"has the unit {_said(unit)} and must have {units if in_group else units.replace(' ', ' or ')}"
    if rule == "percent" and (unit != PERCENT or not 0 <= float(value) <= 100):
        yield f"is {value} {unit.value if unit else ''} and must be 0 to 100 %"
    if rule == "count" and (unit != NO_UNITS or float(value) < 1 or float(value) % 1):
        yield f"is {value} {unit.value if unit else ''} and must be a whole number of 1 or more without unit"


def _wrong_graphic(item: Dataset) -> Iterator[str]:
    least, most = _COORDINATES.get(str(item.get("GraphicType")), (None, None))
    count = len(item.GraphicData) if not isinstance(item.GraphicData, float) else 1
    if least is None or count < least or (most is not None and count > most) or count % 2:
        yield f"is a {item.get('GraphicType')} of {count} numbers"


def _said(code: Code | None) -> str:
    return f"({code.value}, {code.scheme}, {code.meaning})" if code else "nothing"
