"""Any body on the web port's way in: parts are taken or refused in words, nothing else is raised, nothing is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacsai.config import Limits, Web
from pacsai.dicom.identity import Refusal
from pacsai.dicom.scp.telling import Teller
from pacsai.spool import Spool
from pacsai.web import filehead
from pacsai.web.app import Uploads, application
from pacsai.web.keeper import Keeper
from pacsai.web.multipart import MalformedBody, media_type
from pacsai.web.stow import Upload
from tests.fuzz.data import spoiled
from tests.web.port import CONTENT_TYPE, STUDY, body, encoded, instance

PARTS = [
    encoded(instance()),
    encoded(instance(SOPInstanceUID="2.25.7001.1")),
    encoded(instance(PatientID=None, StudyInstanceUID=None)),
    *(encoded(instance(syntax=syntax)) for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)),
    encoded(instance(syntax=ExplicitVRBigEndian)),
    b"",
    b"no DICOM at all",
]
HEADERS = (
    b"Content-Type: application/dicom\r\n",
    b"",
    b"Content-Type: text/plain\r\n",
    b"X: \xff\r\nContent-Type:\r\n",
)
KINDS = (CONTENT_TYPE, CONTENT_TYPE.replace("edge", '"edge"'), 'multipart/related; boundary="', "text/plain", "")
ANSWERS = {200, 202, 400, 404, 405, 406, 409, 413, 415, 503}


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spool]:
    spool = Spool(tmp_path_factory.mktemp("stow") / "data")
    spool.start()
    yield spool
    spool.close()


@pytest.fixture(scope="module")
def keeper(spool: Spool) -> Keeper:
    return Keeper(Limits(free_gb=0, dataset_mb=1, inflated_mb=1), spool)


@pytest.fixture(scope="module")
def post(keeper: Keeper) -> Iterator[Callable[..., httpx.Response]]:
    """Give a way to upload through the whole application, without a socket."""
    uploads = Uploads(Web(port=0, body_mb=1), None, keeper, Teller(keeper.story_of("")))
    app = httpx.ASGITransport(application(uploads))
    with asyncio.Runner() as runner:

        def post(url: str, content: bytes, kind: str | bytes) -> httpx.Response:
            async def posted() -> httpx.Response:
                async with httpx.AsyncClient(transport=app, base_url="http://node") as client:
                    return await client.post(url, content=content, headers={"Content-Type": kind})

            return runner.run(posted())

        yield post


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a body of a few parts, each and the whole perhaps spoiled."""
    parts = draw(st.lists(st.sampled_from(PARTS), max_size=3))
    parts = [draw(spoiled(part)) if draw(st.booleans()) else part for part in parts]
    whole = body(*parts, header=draw(st.sampled_from(HEADERS)))
    return draw(spoiled(whole)) if draw(st.booleans()) else whole


def leftovers(spool: Spool) -> list[Path]:
    return list(spool.intake._data.rglob("*.part"))


@given(data=st.one_of(bodies(), st.binary(max_size=300)), cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_any_body_in_any_pieces_is_taken_or_malformed(
    ran: list[int], keeper: Keeper, spool: Spool, data: bytes, cuts: list[int]
) -> None:
    ran.append(1)
    upload = Upload(keeper, "edge", "", "127.0.0.1")
    edges = [0, *sorted(cuts), len(data)]
    with suppress(MalformedBody):
        for start, end in pairwise(edges):
            upload.take(data[start:end])
        upload.finish()
    upload.close()
    kept = {outcome.sop_instance_uid for outcome in upload.outcomes if not (outcome.failure or outcome.warning)}
    assert all(spool.find(uid) for uid in kept), "what is told to be stored is there"
    assert not leftovers(spool)


@given(beginning=st.one_of(st.sampled_from(PARTS).flatmap(spoiled), st.binary(max_size=300)))
def test_any_file_head_is_read_refused_or_waited_for(ran: list[int], beginning: bytes) -> None:
    ran.append(1)
    with suppress(Refusal):
        head = filehead.read(beginning)
        assert head is None or head.length <= len(beginning)


@given(text=st.one_of(st.text(), st.sampled_from(KINDS).flatmap(lambda kind: st.text().map(lambda more: kind + more))))
def test_any_content_type_is_read_soon(ran: list[int], text: str) -> None:
    ran.append(1)
    began = time.monotonic()
    media_type(text)
    assert time.monotonic() - began < 1


@given(
    data=st.one_of(bodies(), st.binary(max_size=300)),
    kind=st.one_of(st.just(CONTENT_TYPE), st.sampled_from(KINDS).flatmap(lambda kind: spoiled(kind.encode("ascii")))),
    study=st.sampled_from(["", STUDY, "1.2", "x", "..%2f..", "1" * 65]),
)
@settings(max_examples=max(30, settings().max_examples // 2))
def test_any_request_has_an_answer(
    ran: list[int], post: Callable[..., httpx.Response], spool: Spool, data: bytes, kind: str | bytes, study: str
) -> None:
    ran.append(1)
    answer = post(f"/dicom-web/studies/{study}".rstrip("/"), data, kind)
    assert answer.status_code in ANSWERS, answer.text
    assert not leftovers(spool)
