"""How long the fuzzing goes on: seconds with the other tests, long by `make fuzz` (HYPOTHESIS_PROFILE=long)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
settings.register_profile("short", max_examples=60, deadline=None, database=None, suppress_health_check=_CHECKS)
settings.register_profile(
    "long", max_examples=5000, deadline=None, database=None, suppress_health_check=_CHECKS, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

EXAMPLES: dict[str, int] = {}


@pytest.fixture
def ran(request: pytest.FixtureRequest) -> Iterator[list[int]]:
    """Give a list to append to, one entry for each example; its length is printed at the end of the session."""
    examples: list[int] = []
    yield examples
    EXAMPLES[request.node.name] = len(examples)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was run."""
    for name, count in EXAMPLES.items():
        terminalreporter.write_line(f"{count:8} examples  {name}")
