"""Stories: one line of JSON for each event, only ever added to."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

from pacsai.story import Story

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_story_is_read_as_it_was_told(tmp_path: Path) -> None:
    story = Story(tmp_path / "story.jsonl", clock=lambda: NOON)
    story.tell("receiving")
    story.tell("complete", instances=99, revision="ab")
    assert story.read() == [
        {"at": "2026-01-01T12:00:00+00:00", "event": "receiving"},
        {"at": "2026-01-01T12:00:00+00:00", "event": "complete", "instances": 99, "revision": "ab"},
    ]


def test_a_story_not_yet_told_is_empty(tmp_path: Path) -> None:
    assert Story(tmp_path / "story.jsonl").read() == []


def test_each_event_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl"
    Story(path).tell("refused", reason="two\nlines and a \u2028 separator")
    (line,) = path.read_bytes().split(b"\n")[:-1]
    assert json.loads(line)["reason"] == "two\nlines and a \u2028 separator"
    assert len(Story(path).read()) == 1


def test_a_line_torn_by_a_power_cut_is_left_out_and_the_next_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl"
    Story(path).tell("receiving")
    with path.open("ab") as file:
        file.write(b'{"at": "2026-01-01T12:00')
    Story(path).tell("complete")
    assert [event["event"] for event in Story(path).read()] == ["receiving", "complete"]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    story = Story(tmp_path / "story.jsonl")

    def tell(number: int) -> None:
        for _ in range(100):
            story.tell("event", number=number, padding="x" * 500)

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event["number"] for event in story.read()) == [n for n in range(4) for _ in range(100)]


def test_a_story_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    Story(tmp_path / "no such folder" / "story.jsonl").tell("receiving")
    assert list(tmp_path.iterdir()) == []
