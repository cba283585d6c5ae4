"""The parts of a multipart/related body (RFC 2046 5.1, RFC 2387), found while it streams in, in bounded memory.

Strict, so that nobody can read the same body in two ways: where a boundary begins a line and the line does not end
there, the body is malformed. Knows nothing of what the parts hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol

HEADER_BYTES = 16 << 10
PREAMBLE_BYTES = 64 << 10
PADDING_BYTES = 128
PARTS = 20_000
"""Parts of one body: each has an answer, which is held in memory."""

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER = re.compile(r"""\s*([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*(?:;|$)""", re.ASCII)
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\t\x80-\xff]*)")


class MalformedBody(ValueError):  # noqa: N818 (reads as what the body is)
    """The body is no multipart body; the message says why, and holds nothing of it."""


class Takes(Protocol):
    """Takes the parts of a body, one after the other."""

    def part(self, headers: Mapping[str, str]) -> None:
        """Begin a part; names of headers are in lower case."""

    def data(self, view: memoryview) -> None:
        """Take the next bytes of the part; `view` is good until this returns."""

    def part_end(self) -> None:
        """End the part: all of it has come."""


class _State(Enum):
    PREAMBLE = auto()
    LINE = auto()
    HEADERS = auto()
    BEGIN = auto()
    DATA = auto()
    EPILOGUE = auto()


def media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """Return a Content-Type's media type and its parameters (RFC 2045 5.1), names and type in lower case."""
    kind, _, rest = content_type.partition(";")
    parameters = {}
    at = 0
    while found := _PARAMETER.match(rest, at):  # never searched for: that would take quadratic time
        name, quoted, plain = found.groups(default="")
        parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
        at = found.end()
    return kind.strip().lower(), parameters


class Parser:
    """Finds the parts of one body.

    Parameters
    ----------
    boundary : str
        As the Content-Type names it; raises MalformedBody where RFC 2046 allows no such boundary.
    takes : Takes
        Given the parts.
    """

    def __init__(self, boundary: str, takes: Takes) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedBody("the boundary is missing, or not 1 to 70 characters of those RFC 2046 allows")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._takes = takes
        self._buffer = bytearray(b"\r\n")  # the first boundary may be the first line
        self._state = _State.PREAMBLE
        self._skipped = 0
        self._parts = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes of the body; raises MalformedBody, and what `takes` raises."""
        self._buffer += chunk
        steps = {
            _State.PREAMBLE: self._preamble,
            _State.LINE: self._line,
            _State.HEADERS: self._headers,
            _State.BEGIN: self._begin,
            _State.DATA: self._data,
            _State.EPILOGUE: self._epilogue,
        }
        while steps[self._state]():
            pass

    def finish(self) -> None:
        """Say that the body has ended; raises MalformedBody where its last boundary has not come."""
        if self._state is not _State.EPILOGUE:
            raise MalformedBody("the body ends before its last boundary")
        if not self._parts:
            raise MalformedBody("the body has no part")

    # Each step returns whether another can follow with what is in the buffer.

    def _preamble(self) -> bool:
        at = self._buffer.find(self._delimiter)
        self._skipped += self._drop(len(self._buffer) - len(self._delimiter) + 1 if at < 0 else at)
        if self._skipped > PREAMBLE_BYTES:
            raise MalformedBody("the boundary does not come")
        if at < 0:
            return False
        self._drop(len(self._delimiter))
        self._state = _State.LINE
        return True

    def _line(self) -> bool:
        """Read what follows a boundary: two hyphens after the last one, else nothing but spaces."""
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._state = _State.EPILOGUE
            return True
        end = self._buffer.find(b"\r\n", 0, PADDING_BYTES)
        padding = bytes(self._buffer[:PADDING_BYTES] if end < 0 else self._buffer[:end])
        if padding.removesuffix(b"\r" if end < 0 else b"").strip(b" \t") or len(padding) == PADDING_BYTES:
            raise MalformedBody("a boundary is followed by something else than the end of its line")
        if end < 0:
            return False
        self._drop(end)
        self._state = _State.HEADERS
        return True

    def _headers(self) -> bool:
        """Read a part's headers: the buffer begins with the end of the line before them."""
        end = self._buffer.find(b"\r\n\r\n", 0, HEADER_BYTES)
        if end < 0:
            if len(self._buffer) >= HEADER_BYTES:
                raise MalformedBody(f"the headers of a part are longer than {HEADER_BYTES >> 10} KiB")
            return False
        self._parts += 1
        if self._parts > PARTS:
            raise MalformedBody(f"the body has more than {PARTS} parts; send it in several")
        self._takes.part(_parsed_headers(bytes(self._buffer[2:end])))
        self._drop(end + 2)
        self._state = _State.BEGIN
        return True

    def _begin(self) -> bool:
        """Look at the end of the empty line after the headers: in a part without a body it belongs to the boundary."""
        if len(self._buffer) < len(self._delimiter) and self._delimiter.startswith(self._buffer):
            return False
        if not self._buffer.startswith(self._delimiter):
            self._drop(2)
        self._state = _State.DATA
        return True

    def _data(self) -> bool:
        at = self._buffer.find(self._delimiter)
        length = at if at >= 0 else len(self._buffer) - len(self._delimiter) + 1
        if length > 0:
            with memoryview(self._buffer) as whole, whole[:length] as view:
                self._takes.data(view)
            self._drop(length)
        if at < 0:
            return False
        self._drop(len(self._delimiter))
        self._takes.part_end()
        self._state = _State.LINE
        return True

    def _epilogue(self) -> bool:
        self._buffer.clear()
        return False

    def _drop(self, length: int) -> int:
        """Forget the first `length` bytes; return how many there were to forget."""
        length = max(length, 0)
        del self._buffer[:length]
        return length


def _parsed_headers(block: bytes) -> dict[str, str]:
    headers = {}
    for line in block.split(b"\r\n") if block else ():
        matched = _HEADER.fullmatch(line)
        if matched is None:
            raise MalformedBody("a part has a line among its headers that is none")
        headers[matched[1].decode("ascii").lower()] = matched[2].decode("latin-1")
    return headers
