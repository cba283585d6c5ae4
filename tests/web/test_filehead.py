"""File heads of others: read with bounds, refused in one way."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsai.dicom import part10
from pacsai.dicom.identity import Refusal
from pacsai.web import filehead

OURS = part10.head(CTImageStorage, "1.2.3", ExplicitVRLittleEndian)


def test_a_sound_head_is_read() -> None:
    head = filehead.read(OURS + b"data set")
    assert head == filehead.FileHead(CTImageStorage, "1.2.3", ExplicitVRLittleEndian, len(OURS))


@pytest.mark.parametrize("length", [0, 131, 143, 144, len(OURS) - 1])
def test_of_a_head_that_goes_on_more_is_needed(length: int) -> None:
    assert filehead.read(OURS[:length]) is None


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), at=st.integers(128, len(OURS)))
@example(data=b"\xff" * 100, at=140)
def test_garbage_is_refused_or_more_is_needed_and_nothing_else_happens(data: bytes, at: int) -> None:
    with suppress(Refusal):
        filehead.read(OURS[:at] + data + OURS[at + len(data) :])
