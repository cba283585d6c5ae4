"""Strategies: valid data sets of every shape, and bytes that were valid before something happened to them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

TEXT = st.text("ABC abc0^=\\", max_size=20)
_VALUES: dict[int, tuple[str, st.SearchStrategy[Any]]] = {
    0x00080060: ("CS", st.sampled_from(["CT", "MR", ""])),
    0x00081030: ("LO", TEXT),
    0x00091001: ("UN", st.binary(max_size=40).map(lambda value: value + b"\0" * (len(value) % 2))),
    0x00091002: ("OB", st.binary(max_size=40).map(lambda value: value + b"\0" * (len(value) % 2))),
    0x00100010: ("PN", TEXT),
    0x0018115E: ("DS", st.sampled_from(["1.5", "", "1\\2"])),
    0x00204000: ("LT", TEXT),
    0x00280010: ("US", st.integers(0, 65535)),
    0x00280106: ("US", st.integers(0, 65535)),
    0x0040A160: ("UT", TEXT),
    0x00720050: ("SH", TEXT),
    0x00880140: ("UI", st.sampled_from(["1.2.3", ""])),
}
_SEQUENCES = (0x00081110, 0x00081140, 0x00082112, 0x0040A730, 0x52009229)


@st.composite
def plain(draw: st.DrawFn) -> Dataset:
    """Return a data set without sequences."""
    dataset = Dataset()
    for tag in draw(st.sets(st.sampled_from(sorted(_VALUES)), max_size=6)):
        vr, values = _VALUES[tag]
        dataset.add_new(tag, vr, draw(values))
    return dataset


@st.composite
def _with_sequences(draw: st.DrawFn, inner: st.SearchStrategy[Dataset]) -> Dataset:
    dataset = draw(plain())
    for tag in draw(st.sets(st.sampled_from(_SEQUENCES), min_size=1, max_size=2)):
        items = draw(st.lists(inner, max_size=3))
        for item in items:
            item.is_undefined_length_sequence_item = draw(st.booleans())
        dataset.add_new(tag, "SQ", items)
        dataset[tag].is_undefined_length = draw(st.booleans())
    return dataset


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Return a data set with an identity and sequences of any form in it."""
    dataset = draw(st.recursive(plain(), _with_sequences, max_leaves=8))
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, draw(st.sampled_from(["1.2.3", "1.2.3.4"]))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", "1.2.9"
    return dataset


def depth(dataset: Dataset) -> int:
    """Return how deep the sequences of a data set nest; one without items counts too."""
    sequences = [element for element in dataset if element.VR == "SQ"]
    return max((1 + max(map(depth, element.value), default=0) for element in sequences), default=0)


@st.composite
def spoiled(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return `valid` after some bytes were changed, cut out, doubled or put in."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "cut", "double", "insert", "length", "end"])):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at : at + draw(st.integers(1, 20))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=30))
            case "length":
                data[at : at + 4] = draw(st.sampled_from([b"\xff" * 4, b"\xfe\xff\xff\xff", b"\0\0\0\x80", bytes(4)]))
            case _:
                del data[at:]
    return bytes(data)
