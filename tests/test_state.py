"""The state of a study in one line, from its story."""

from __future__ import annotations

from typing import Any

import pytest

from pacsai.state import NOTE, state_of
from pacsai.withdrawal import PART

ANALYSED: dict[str, Any] = {
    "event": "analysed",
    "parcel": "p",
    "outcome": "findings",
    "reason": "",
    "findings": [{}, {}],
}
REFUSED = {**ANALYSED, "outcome": "not analysed", "reason": "12 images", "findings": []}


def note(becomes: str) -> dict[str, Any]:
    return {"event": f"rejection note {becomes}", "parcel": "n", "pipeline": NOTE}


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "receiving"),
        ([{"event": "receiving"}], "receiving"),
        ([{"event": "complete"}], "complete, waiting for analysis"),
        ([{"event": "complete"}, {"event": "analysis started", "pipeline": "x"}], "being analysed by x"),
        ([ANALYSED], "findings (2), waiting for the archive"),
        ([ANALYSED, {"event": "delivered", "parcel": "p"}], "findings (2), delivered"),
        (
            [
                ANALYSED,
                {"event": "delivered", "parcel": "p"},
                {"event": "not committed", "parcel": "p", "reason": "no answer"},
            ],
            "findings (2), delivered, not committed: no answer",
        ),
        (
            [
                ANALYSED,
                {"event": "delivered", "parcel": "p"},
                {"event": "not committed", "parcel": "p", "reason": "no answer"},
                {"event": "committed", "parcel": "p"},
                {"event": "purged"},
            ],
            "findings (2), delivered, committed; purged here",
        ),
        (
            [ANALYSED, {"event": "delivered", "parcel": "p", "kept_back": 1}],
            "findings (2), delivered, 1 objects kept back",
        ),
        (
            [ANALYSED, {"event": "refused by the archive", "parcel": "p", "reason": "A900"}],
            "findings (2), refused by the archive: A900",
        ),
        ([REFUSED, {"event": "delivered", "parcel": "p"}], "not analysed because 12 images, delivered"),
        (
            [REFUSED, {"event": "not sent", "parcel": "p", "reason": "two patients"}],
            "not analysed because 12 images; not sent, two patients",
        ),
        ([{"event": "not analysed", "reason": "no CT"}], "not analysed: no CT"),
        (
            [{"event": "analysis started", "pipeline": "x"}, {"event": "failed", "reason": "disk full"}],
            "failed: disk full",
        ),
        ([ANALYSED, {"event": "delivered", "parcel": "p"}, {"event": "complete"}], "complete, waiting for analysis"),
        ([ANALYSED, {"event": "withdrawn", "parcel": "p"}], "findings (2), withdrawn"),
        (
            [ANALYSED, {"event": "delivered", "parcel": "p"}, {"event": "withdrawn", "parcel": "p"}, note("packed")],
            "findings (2), withdrawn; results withdrawn, rejection note waiting for the archive",
        ),
        (
            [note("packed"), note("delivered"), {"event": "not analysed", "reason": "no images"}],
            "not analysed: no images; results withdrawn, rejection note delivered",
        ),
        (
            [ANALYSED, note("packed"), {"event": "refused by the archive", "pipeline": NOTE, "reason": "A900"}],
            "findings (2), waiting for the archive; results withdrawn, rejection note refused by the archive: A900",
        ),
        (
            [{"event": "complete"}, {"event": "failed", "pipeline": NOTE, "reason": "disk full"}],
            "complete, waiting for analysis; results withdrawn, rejection note failed: disk full",
        ),
    ],
)
def test_the_latest_telling_event_says_the_state(events: list[dict[str, Any]], state: str) -> None:
    assert state_of(events) == state


def test_a_note_is_called_alike_where_it_is_told_and_where_it_is_read() -> None:
    assert NOTE == PART
