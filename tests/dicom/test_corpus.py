"""The conformance corpus over the network: every file, the broken ones too, through a real node to a named end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsai.dicom import part10
from pacsai.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, Malformed, identity_elements
from pacsai.state import state_of
from tests import wire
from tests.dicom.besieged import besieged, stories, study_story
from tests.nodes import RunningNode, wait_until

OUTCOMES = {"0x0000", "0xB000", "0xA900", "0xC000", "not negotiated"}


def introduced(path: Path) -> tuple[str, str, str, bytes]:
    """Return SOP class, transfer syntax, SOP instance and data set of a file, as far as it says them."""
    file = path.read_bytes()
    syntax, start = part10.locate(file)
    try:
        found = identity_elements(file[start:], syntax)
    except Malformed:
        found = {}
    sop_class, instance = (
        found.get(tag, b"").decode("ascii", "replace").strip("\0 ") or other
        for tag, other in ((SOP_CLASS_UID, CTImageStorage), (SOP_INSTANCE_UID, "1.2.3"))
    )
    return sop_class, syntax or ExplicitVRLittleEndian, instance, file[start:]


def sent(port: int, files: list[Path]) -> Counter[str]:
    """Send files as they are, those of one class and syntax on one association; return what became of them."""
    outcomes: Counter[str] = Counter()
    introductions = sorted(map(introduced, files))
    for (sop_class, syntax), group in groupby(introductions, key=lambda one: one[:2]):
        with wire.Peer.connected(port, timeout_s=30) as peer:
            if peer.associate([(sop_class, [syntax])]).get(1) != 0:
                outcomes["not negotiated"] += len(list(group))
                continue
            for _, _, instance, data in group:
                outcomes[f"0x{peer.store(data, sop_class, instance):04X}"] += 1
            peer.release()
        assert wire.echo(port) == 0
    return outcomes


def unfinished(node: RunningNode, studies: Iterable[str]) -> str:
    states = {uid: state_of(study_story(node, uid)) for uid in studies}
    return "; ".join(f"{uid}: {state}" for uid, state in states.items() if not state.startswith("not analysed: "))


@pytest.mark.slow
def test_every_corpus_file_comes_to_a_named_end(tmp_path: Path, shared_data: Path) -> None:
    files = sorted(path for path in (shared_data / "conformance").rglob("*") if path.is_file())
    with besieged(tmp_path / "node") as node:
        outcomes = sent(node.port, files)
        assert set(outcomes) <= OUTCOMES
        assert outcomes["0x0000"] > 150
        assert outcomes["0xC000"] > 0
        refused = [event for event in stories(node) if event["event"] == "refused"]
        assert len(refused) >= 1
        assert all(event["reason"] for event in refused)
        folders = (node.folder / "data" / "spool").glob("*/study.json")
        studies = [json.loads(path.read_text())["study_instance_uid"] for path in folders]
        assert len(studies) > 50
        wait_until(lambda: unfinished(node, studies), lambda left: left == "", wait_s=120)
