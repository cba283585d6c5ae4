"""A short soak: the same as the long one, 300 instances from 4 senders, with more of them broken off."""

from __future__ import annotations

import json
from pathlib import Path

from pacsai.bench.processes import Usage
from tests.soak.__main__ import as_json, table
from tests.soak.sender import BREAKS
from tests.soak.soak import count, soak
from tests.soak.watch import Sample, trend


def test_nothing_is_lost_and_nothing_leaks(tmp_path: Path) -> None:
    outcome = soak(tmp_path, instances=300, senders=4, seed=7, break_rate=0.2)
    assert outcome.unacknowledged == 0
    assert outcome.lost == 0
    assert outcome.left_unfinished == outcome.left_temporary == []
    assert outcome.after.descriptors <= outcome.before.descriptors + 4
    assert {f"broken off: {how}" for how in BREAKS} <= set(outcome.events)
    assert outcome.events["status 0x0000"] == 300
    assert json.loads(as_json(outcome))["lost"] == 0
    assert "| never acknowledged / lost | 0 / 0 |" in table(outcome)
    assert count(tmp_path / "data", [301], seed=7)[0] == 1, "an instance never sent counts as lost"


def test_a_leak_is_a_line_that_rises() -> None:
    def samples(mb_per_s: float) -> list[Sample]:
        return [Sample(at_s, Usage(1, 1, 1, 100 + at_s * mb_per_s), 0) for at_s in range(100)]

    assert trend(samples(0.0)).flat
    assert trend(samples(0.1)).flat
    assert not trend(samples(0.5)).flat
