"""What a receiver process is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pacsai.config import Node


@dataclass(frozen=True, slots=True)
class Setup:
    """What the node tells a new receiver process."""

    node: Node
    transfer_syntaxes: tuple[str, ...]
    flushed: bool

    def as_message(self) -> dict[str, Any]:
        """Return it as a message of the channel."""
        return {
            "node": self.node.model_dump(mode="json"),
            "transfer_syntaxes": list(self.transfer_syntaxes),
            "flushed": self.flushed,
        }

    @classmethod
    def of(cls, message: dict[str, Any]) -> Setup:
        """Return the setup that a message holds."""
        return cls(Node.model_validate(message["node"]), tuple(message["transfer_syntaxes"]), message["flushed"])
