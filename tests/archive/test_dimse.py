"""C-STORE: what each way of saying no means."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless
from pynetdicom.dsutils import split_dataset

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.dimse import CStoreArchive
from tests.phantoms import compress
from tests.services import answering_scp, storescp


def archive(port: int, calling: str = "PACSAI", called: str = "ANSWERS") -> CStoreArchive:
    return CStoreArchive(calling, called, "127.0.0.1", port)


@pytest.mark.parametrize("warning", [0xB000, 0xB006, 0xB007])
def test_a_warning_is_accepted_and_told(images: list[Path], warning: int) -> None:
    with answering_scp(warning) as (port, _):
        answer = archive(port).send(images[:1])[0]
    assert answer.accepted
    assert answer.detail.startswith(f"0x{warning:04X}")


def test_an_object_it_holds_already_is_accepted(images: list[Path]) -> None:
    with answering_scp(0x0111) as (port, _):
        assert archive(port).send(images[:1])[0].accepted


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0122, 0x0124])
def test_a_failure_refuses_that_object_alone_with_the_words_of_the_status(images: list[Path], status: int) -> None:
    with answering_scp(0x0000, status, 0x0000) as (port, _):
        answers = archive(port).send(images)
    assert [answer.accepted for answer in answers] == [True, False, True]
    assert answers[1].detail.startswith(f"0x{status:04X} ")


@pytest.mark.parametrize("status", [0xA700, 0xA701])
def test_out_of_resources_means_later(images: list[Path], status: int) -> None:
    with answering_scp(status) as (port, _), pytest.raises(ArchiveUnavailable, match=f"0x{status:04X}"):
        archive(port).send(images)


def test_a_rejected_association_means_later_and_says_why(images: list[Path]) -> None:
    with (
        answering_scp(0, require_calling_aet=["SOMEBODY"]) as (port, _),
        pytest.raises(ArchiveUnavailable, match="association of PACSAI: calling ae title not recognised"),
    ):
        archive(port).send(images)


def test_a_called_ae_title_that_is_not_its_own_is_told(images: list[Path]) -> None:
    with (
        answering_scp(0, require_called_aet=True) as (port, _),
        pytest.raises(ArchiveUnavailable, match="called ae title not recognised"),
    ):
        archive(port, called="WRONG").send(images)


def test_an_archive_that_closes_the_connection_means_later(images: list[Path], tmp_path: Path) -> None:
    with (
        storescp(tmp_path, "--abort-during") as peer,
        pytest.raises(ArchiveUnavailable, match="closed the connection"),
    ):
        archive(peer.port, called=peer.ae_title).send(images)


def test_a_class_or_syntax_it_does_not_take_refuses_that_object_by_name(images: list[Path], tmp_path: Path) -> None:
    compress(images[:1], JPEG2000Lossless)
    with storescp(tmp_path) as peer:  # takes uncompressed syntaxes only, unless told otherwise
        answers = archive(peer.port, called=peer.ae_title).send(images)
    assert [answer.accepted for answer in answers] == [False, True, True]
    assert "does not take CT Image Storage in JPEG 2000" in answers[0].detail


def test_nothing_it_takes_refuses_all_objects(images: list[Path], tmp_path: Path) -> None:
    compress(images[:1], JPEG2000Lossless)
    with storescp(tmp_path) as peer:
        answers = archive(peer.port, called=peer.ae_title).send(images[:1])
    assert [answer.accepted for answer in answers] == [False]


def test_the_data_set_goes_out_byte_for_byte(images: list[Path]) -> None:
    with answering_scp(0) as (port, received):
        archive(port).send(images[:1])
    _, offset = split_dataset(images[0])
    assert received == [images[0].read_bytes()[offset:]]
