"""The state of a study in one line, from its story."""

from __future__ import annotations

from typing import Any

import pytest

from pacsai.state import state_of

ANALYSED: dict[str, Any] = {
    "event": "analysed",
    "parcel": "p",
    "outcome": "findings",
    "reason": "",
    "findings": [{}, {}],
}
REFUSED = {**ANALYSED, "outcome": "not analysed", "reason": "12 images", "findings": []}


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
    ],
)
def test_the_latest_telling_event_says_the_state(events: list[dict[str, Any]], state: str) -> None:
    assert state_of(events) == state
