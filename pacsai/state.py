"""The state a study is in, read from its story: one line that a person understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NOTE = "rejection-note"
"""What events of this node's own rejection notes have for a pipeline (withdrawal.py)."""


def state_of(events: Sequence[dict[str, Any]]) -> str:
    """Return the state a study is in, in the words of its latest telling event, and what was withdrawn."""
    of_notes = [event for event in events if event.get("pipeline") == NOTE]
    return _of_analyses([event for event in events if event not in of_notes]) + _of_withdrawal(of_notes)


def _of_analyses(events: Sequence[dict[str, Any]]) -> str:
    for event in reversed(events):
        match event["event"]:
            case "delivered" | "not sent" | "refused by the archive" | "analysed":
                return _outcome(events, event) + _fate(events, event)
            case "not analysed" | "failed":
                return f"{event['event']}: {event['reason']}"
            case "analysis started":
                return f"being analysed by {event['pipeline']}"
            case "held for comparison" if not any(one["event"] == "analysed" for one in events):
                return "held for comparison"
            case "complete":
                return "complete, waiting for analysis"
    return "receiving"


def _fate(events: Sequence[dict[str, Any]], event: dict[str, Any]) -> str:
    """Return what became of a result, in words that follow its outcome."""
    withdrawn = {one["parcel"] for one in events if one["event"] == "withdrawn"}
    match event["event"]:
        case "delivered" | "analysed" if event["parcel"] in withdrawn:
            return ", withdrawn"
        case "delivered":
            kept_back = f", {event['kept_back']} objects kept back" if event.get("kept_back") else ""
            return f", delivered{kept_back}{_afterwards(events, event)}"
        case "not sent":
            return f"; not sent, {event['reason']}"
        case "refused by the archive":
            return f", refused by the archive: {event['reason']}"
    return ", waiting for the archive"


def _of_withdrawal(events: Sequence[dict[str, Any]]) -> str:
    """Return what became of the rejection note for results that were withdrawn, "" where there is none."""
    for event in reversed(events):
        match event["event"]:
            case "rejection note packed":
                return "; results withdrawn, rejection note waiting for the archive"
            case "rejection note delivered":
                return "; results withdrawn, rejection note delivered"
            case "refused by the archive":
                return f"; results withdrawn, rejection note refused by the archive: {event['reason']}"
            case "not sent" | "failed":
                return f"; results withdrawn, rejection note {event['event']}: {event['reason']}"
    return ""


def _afterwards(events: Sequence[dict[str, Any]], delivered: dict[str, Any]) -> str:
    """Return what became of a delivery: committed by the archive or not, local copies purged."""
    words, purged = "", ""
    for event in events[events.index(delivered) + 1 :]:
        if event["event"] == "committed" and event["parcel"] == delivered["parcel"]:
            words = ", committed"
        elif event["event"] == "not committed" and event["parcel"] == delivered["parcel"]:
            words = f", not committed: {event['reason']}"
        elif event["event"] == "purged":
            purged = "; purged here"
    return words + purged


def _outcome(events: Sequence[dict[str, Any]], event: dict[str, Any]) -> str:
    for told in reversed(events):
        if told["event"] == "analysed" and told["parcel"] == event["parcel"]:
            count = f" ({len(told['findings'])})" if told["findings"] else ""
            reason = f" because {told['reason']}" if told["reason"] else ""
            return f"{told['outcome']}{count}{reason}"
    return "analysed"
