"""The web port."""

from __future__ import annotations

from pacsai.config.base import ListeningPort, Settings


class Web(Settings):
    """The status pages."""

    port: ListeningPort = 8080
