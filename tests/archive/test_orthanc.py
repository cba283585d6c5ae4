"""Orthanc's REST interface: what it does not want, and what it cannot take now."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.orthanc import OrthancArchive
from tests.services import orthanc


def test_what_a_filter_turns_away_is_refused(tmp_path: Path, images: list[Path]) -> None:
    script = tmp_path / "filter.lua"
    script.write_text("function ReceivedInstanceFilter(dicom, origin, info) return false end")
    with orthanc(tmp_path, LuaScripts=[str(script)]) as server:
        answers = OrthancArchive(server.http_url).send(images)
        assert server.count() == 0
    assert [answer.accepted for answer in answers] == [False, False, False]
    assert answers[0].detail == "Orthanc says FilteredOut"


def test_wrong_credentials_mean_later_and_are_told(tmp_path: Path, images: list[Path]) -> None:
    with (
        pytest.raises(ArchiveUnavailable, match="401"),
        orthanc(tmp_path, AuthenticationEnabled=True, RegisteredUsers={"someone": "else"}) as server,
    ):
        OrthancArchive(server.http_url).send(images)
