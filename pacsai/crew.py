"""A few threads that take what is to be done from one queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Crew(Generic[Item]):
    """Threads of one name that do `work` on each item put; `work` may not raise. What waits at the stop is dropped."""

    def __init__(self, name: str, size: int, work: Callable[[Item], None]) -> None:
        self.ending = threading.Event()
        self._work = work
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name} {number}", daemon=True) for number in range(size)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def put(self, item: Item) -> None:
        """Queue an item; for any thread."""
        self._queue.put(item)

    def stop(self, break_off: Callable[[], None]) -> None:
        """Take no further item, break off what is being done, and wait a second at most for each thread."""
        self.ending.set()
        break_off()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(1)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self.ending.is_set():
            self._work(item)
