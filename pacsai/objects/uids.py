"""UIDs that follow from what they name, so that a replay or a re-send gives the same object again."""

from __future__ import annotations

import hashlib
import uuid


def derived_uid(*parts: str) -> str:
    """Return the UID that belongs to `parts`: the same parts, in the same order, give the same UID.

    The first 128 bits of SHA-256, marked as a version 8 UUID (RFC 9562), under the arc 2.25 (PS3.5 B.2).
    At most 44 characters.
    """
    text = "\x1f".join(parts)
    octets = hashlib.sha256(text.encode()).digest()[:16]
    value = int.from_bytes(octets, "big")
    value = value & ~(0xF << 76) | (0x8 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return f"2.25.{uuid.UUID(int=value).int}"
