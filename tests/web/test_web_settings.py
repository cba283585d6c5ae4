"""The web port's settings: nothing open that was not asked for, and the token kept to itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pacsai.config import Web


def test_nothing_listens_unless_asked_for() -> None:
    assert (Web().port, Web().host, Web().token()) == (None, "127.0.0.1", None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "not loopback needs token_file or token_env"),
        ({"host": "pacs.example"}, "not loopback needs token_file or token_env"),
        ({"token_file": "a", "token_env": "B"}, "not both"),
        ({"certificate": "a.pem"}, "certificate and key together"),
        ({"body_mb": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Web.model_validate(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert Web(host=host).token() is None


@pytest.mark.parametrize("content", ["", "too-short", "with spaces in it, which none has", "ünicode-ünicode-ünicode"])
def test_a_token_that_can_be_none_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(OSError, match="16 or more") as raised:
        Web(token_file=tmp_path / "token").token()
    assert not content or content not in str(raised.value)


def test_a_token_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Web(token_file=tmp_path / "token").token()
    with pytest.raises(OSError, match="PACSAI_NO_SUCH_VARIABLE"):
        Web(token_env="PACSAI_NO_SUCH_VARIABLE").token()
