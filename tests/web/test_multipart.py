"""The multipart parser: the same parts whatever the chunks, and a refusal for what could be read in two ways."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pacsai.web.multipart import HEADER_BYTES, PARTS, PREAMBLE_BYTES, MalformedBody, Parser, media_type

BOUNDARY = "b-1"


class Parts:
    """Collects parts, each whole or not."""

    def __init__(self) -> None:
        self.found: list[tuple[dict[str, str], bytes]] = []
        self.open: tuple[dict[str, str], bytearray] | None = None

    def part(self, headers: Mapping[str, str]) -> None:
        assert self.open is None
        self.open = (dict(headers), bytearray())

    def data(self, view: memoryview) -> None:
        assert self.open is not None
        self.open[1].extend(view)

    def part_end(self) -> None:
        assert self.open is not None
        headers, data = self.open
        self.found.append((headers, bytes(data)))
        self.open = None


def parsed(chunks: Sequence[bytes], boundary: str = BOUNDARY) -> list[tuple[dict[str, str], bytes]]:
    parts = Parts()
    parser = Parser(boundary, parts)
    for chunk in chunks:
        parser.feed(chunk)
    parser.finish()
    return parts.found


def told(chunks: Sequence[bytes]) -> tuple[object, ...]:
    """Return all that a body leads to: its whole parts, and whether it is malformed."""
    parts = Parts()
    parser = Parser(BOUNDARY, parts)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        parser.finish()
    except MalformedBody as malformed:
        return (parts.found, str(malformed))
    return (parts.found, "")


def body(*parts: bytes, header: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    joined = b"".join(b"--b-1\r\n" + header + b"\r\n" + part + b"\r\n" for part in parts)
    return joined + b"--b-1--\r\n"


def cut(whole: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges)]


NASTY = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"-", b"--", b"b-1", b"\r\n", b"\r\n--", b"\r\n--b-", b"--b-1", b"x", b" ", b"a: b"]
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(NASTY | st.binary(max_size=40), min_size=1, max_size=4), places=st.lists(st.integers(0, 500)))
@example(parts=[b"\r\n--b-", b"", b"\r"], places=list(range(200)))
def test_the_parts_are_the_same_whatever_the_chunks(parts: list[bytes], places: list[int]) -> None:
    sound = [part for part in parts if b"\r\n--b-1" not in b"\r\n" + part]
    if sound:
        expected = [({"content-type": "application/dicom"}, part) for part in sound]
        assert parsed(cut(body(*sound), places)) == expected


@settings(max_examples=150, deadline=None)
@given(whole=NASTY | st.binary(max_size=60), first=st.booleans(), places=st.lists(st.integers(0, 500)))
def test_garbage_ends_the_same_whatever_the_chunks(whole: bytes, first: bool, places: list[int]) -> None:
    whole = b"--b-1\r\n" + whole if first else whole
    assert told(cut(whole, places)) == told([whole]) == told([whole[at : at + 1] for at in range(len(whole))])


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        (b"--b-1\r\n\r\nabc\r\n--b-1--", [({}, b"abc")]),
        (b"--b-1\r\n\r\n\r\n--b-1--", [({}, b"")]),
        (b"--b-1\r\n\r\n--b-1--", [({}, b"")]),
        (b"preamble\r\n--b-1 \t\r\nA: b\r\nC:d\r\n\r\nabc\r\n--b-1--epilogue", [({"a": "b", "c": "d"}, b"abc")]),
        (b"--b-1\r\n\r\na\n--b-1--\r\n--b-1--", [({}, b"a\n--b-1--")]),
    ],
)
def test_what_rfc_2046_allows_is_read(whole: bytes, expected: list[tuple[dict[str, str], bytes]]) -> None:
    assert parsed([whole]) == expected
    assert parsed([whole[at : at + 1] for at in range(len(whole))]) == expected


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (b"", "ends before its last boundary"),
        (b"--b-1--", "has no part"),
        (b"--b-1\r\n\r\nabc", "ends before its last boundary"),
        (b"--b-1\r\n\r\nabc\r\n--b-1\r\n", "ends before its last boundary"),
        (b"--b-1\r\n\r\nabc\r\n--b-12\r\n", "something else"),
        (b"--b-1\r\nno header\r\n\r\nabc\r\n--b-1--", "among its headers"),
        (b"--b-1\r\nA: b\r\n folded\r\n\r\nabc\r\n--b-1--", "among its headers"),
        (b"--b-1" + b" " * 500, "something else"),
        (b"x" * (PREAMBLE_BYTES + 100), "does not come"),
        (b"--b-1\r\n" + b"A: b\r\n" * HEADER_BYTES, "longer than 16 KiB"),
        (b"--b-1\r\n\r\n\r\n" * (PARTS + 1), "more than 20000 parts"),
    ],
)
def test_what_is_malformed_is_refused(whole: bytes, said: str) -> None:
    with pytest.raises(MalformedBody, match=said):
        parsed([whole])


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a\r\nb", "ends with space ", "ü"])
def test_a_boundary_that_can_be_none_is_refused(boundary: str) -> None:
    with pytest.raises(MalformedBody, match="boundary"):
        Parser(boundary, Parts())


def test_little_is_held_of_a_long_part() -> None:
    parts = Parts()
    parser = Parser(BOUNDARY, parts)
    parser.feed(b"--b-1\r\n\r\n")
    for _ in range(100):
        parser.feed(b"\r\n--b-" * 1000)
        assert len(parser._buffer) < 20


@pytest.mark.parametrize(
    ("given_type", "expected"),
    [
        (
            'multipart/related; type="application/dicom"; boundary="a b"',
            ("multipart/related", "application/dicom", "a b"),
        ),
        ("Multipart/Related;Boundary=x;TYPE=application/dicom", ("multipart/related", "application/dicom", "x")),
        ("text/plain", ("text/plain", None, None)),
        ("", ("", None, None)),
        ("garbage;;;=", ("garbage", None, None)),
    ],
)
def test_a_content_type_is_read(given_type: str, expected: tuple[str, str | None, str | None]) -> None:
    kind, parameters = media_type(given_type)
    assert (kind, parameters.get("type"), parameters.get("boundary")) == expected


@settings(max_examples=300, deadline=None)
@given(given_type=st.text(st.sampled_from("aB;=\"'*\\ /%0,()<>é\r\n"), max_size=40))
@example(given_type="multipart/related; boundary*=utf-8''%e2%82; boundary*0=a; boundary*1*=b")
def test_no_content_type_breaks_its_reader(given_type: str) -> None:
    kind, parameters = media_type(given_type)
    assert all(isinstance(text, str) for text in (kind, *parameters, *parameters.values()))


@pytest.mark.parametrize("hostile", ["a=" * 15_000, " " * 30_000, 'a="' + "\\" * 30_000, "a" * 30_000, '"' * 30_000])
def test_a_long_content_type_takes_no_time(hostile: str) -> None:
    began = time.process_time()
    media_type(f"multipart/related;{hostile}")
    assert time.process_time() - began < 0.1
