"""Walks through data sets, shared by the rules."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pacsai.objects.source import Source


def items(dataset: Dataset, path: str = "") -> Iterator[tuple[str, Dataset]]:
    """Yield a data set and every sequence item below it, each with its path such as "SegmentSequence[1]"."""
    yield path, dataset
    for element in dataset:
        if element.VR == "SQ":
            for number, item in enumerate(element.value, start=1):
                yield from items(item, f"{path}{'.' if path else ''}{name_of(element)}[{number}]")


def name_of(element: DataElement) -> str:
    """Return the keyword of an element, or its tag where the dictionary has none."""
    return element.keyword or str(element.tag)


def sequence_of(path: str) -> str:
    """Return the keyword of the sequence that the item at `path` stands in; empty for the data set itself."""
    return path.rpartition(".")[2].partition("[")[0]


def own(dataset: Dataset, source: Source) -> Dataset:
    """Return a data set without the top elements that are the source's word for word.

    A modality's sloppy patient or study attribute is handed on as it came; it is not ours to judge.
    """
    kept = Dataset()
    for element in dataset:
        if not _came_with(source.header, element):
            kept.add(element)
    return kept


def _came_with(header: Dataset, element: DataElement) -> bool:
    try:
        return element.tag in header and bool(header[element.tag].value == element.value)
    except ValueError:  # a value of the source that cannot be read cannot have been handed on
        return False
