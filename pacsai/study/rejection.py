"""Rejection notes: Key Object Selections that take instances out of use (IHE RAD, Imaging Object Change Management).

What a note of the same study rejects takes no part in any analysis. A note that comes late is a new instance, and so
makes a new revision of its study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from pacsai.study import Instance

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
TITLES = {
    "113001": "for quality reasons",
    "113037": "for patient safety reasons",
    "113038": "because of an incorrect modality worklist entry",
    "113039": "because its retention period has expired",
}
"""DCM codes of document titles that reject (PS3.16 CID 7010), and the reason each stands for."""


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """A rejection note: its title's DCM code, and the SOP Instance UIDs that it rejects (never its own)."""

    instance: Instance
    title: str
    rejected: frozenset[str]


def without_rejected(instances: Sequence[Instance]) -> tuple[list[Instance], list[str]]:
    """Return the instances of a study that no note among them rejects, and a sentence for each reason."""
    reasons: dict[str, str] = {}
    for note in notes(instances):
        reasons |= dict.fromkeys(note.rejected, note.title)
    left = [instance for instance in instances if instance.sop_instance_uid not in reasons]
    counts = Counter(reasons[one.sop_instance_uid] for one in instances if one.sop_instance_uid in reasons)
    return left, [_sentence(counts[title], title) for title in sorted(counts)]


def notes(instances: Iterable[Instance]) -> Iterator[Note]:
    """Yield the rejection notes among `instances`."""
    for instance in instances:
        if instance.sop_class_uid == KEY_OBJECT_SELECTION:
            for code in _items(instance.header, "ConceptNameCodeSequence"):
                title = str(code.get("CodeValue", ""))
                if code.get("CodingSchemeDesignator") == "DCM" and title in TITLES:
                    yield Note(instance, title, frozenset(referenced(instance.header)) - {instance.sop_instance_uid})


def referenced(document: Dataset) -> Iterator[str]:
    """Yield the SOP Instance UIDs of a document's evidence, which names all that its content does (PS3.3 C.17.6.2)."""
    for study in _items(document, "CurrentRequestedProcedureEvidenceSequence"):
        for series in _items(study, "ReferencedSeriesSequence"):
            for one in _items(series, "ReferencedSOPSequence"):
                yield str(one.get("ReferencedSOPInstanceUID", ""))


def _items(dataset: Dataset, keyword: str) -> Items | tuple[()]:
    value = dataset.get(keyword)
    return value if isinstance(value, Items) else ()


def in_words(title: str) -> str:
    """Return what a title says of an instance."""
    return f"rejected {TITLES[title]} ({title}, DCM)"


def _sentence(count: int, title: str) -> str:
    instances = "1 instance was" if count == 1 else f"{count} instances were"
    return f"{instances} left out: {in_words(title)}"
