"""Coded concepts: each known to pydicom's dictionaries or to our reviewed table, under a meaning given there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.objects.conformance.walk import items, own, sequence_of
from pacsai.objects.source import ResultObject, Source

_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")


def unknown(one: ResultObject, _: Sequence[ResultObject], source: Source) -> Iterator[str]:
    """Yield each code that no dictionary has, that has another meaning there, or that lacks a part."""
    for path, item in items(own(one.dataset, source)):
        values = [str(item[keyword].value) for keyword in _VALUES if keyword in item]
        if values or sequence_of(path).endswith("CodeSequence"):
            yield from _judged(path, values, item)


def _judged(path: str, values: list[str], item: Dataset) -> Iterator[str]:
    scheme, meaning = str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeMeaning", ""))
    if len(values) != 1 or not (values[0] and scheme and meaning):
        yield f"{path} needs one code value, a coding scheme and a meaning"
        return
    code = terms.Code(values[0], scheme, meaning)
    if terms.known(code):
        return
    meanings = sorted(terms.meanings(code))
    if meanings:
        yield f"{path}: ({values[0]}, {scheme}) means {' or '.join(meanings)}, not {meaning}"
    else:
        yield f"{path}: ({values[0]}, {scheme}, {meaning}) stands in no dictionary and not in pacsai.terms.REVIEWED"
