"""Which studies of the spool are priors: the same patient's, earlier, not too old; and that it is decided once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacsai.config import Site
from pacsai.priors import Choice, Priors
from pacsai.priors.choice import NONE, NOT_ASKABLE, laid_out
from pacsai.registry import read_package
from pacsai.spool import Spool
from tests.phantoms import edit
from tests.priors.patients import SLICES, comparing_toy, files, result_of_ours, spooled, study

NOW = "20260102"


class House:
    """A spool with the present study in it, and a site without an archive that answers."""

    def __init__(self, folder: Path, **header: Any) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.spool = Spool(self.data)
        self.spool.start()
        self.manifest = read_package(comparing_toy(folder / "pipelines")).manifest
        self.current = spooled(self.spool, study(folder, NOW, **header))
        self.set()

    def set(self, **priors: Any) -> None:
        archive = {"kind": "folder", "path": str(self.folder / "results")}
        self.site = Site.model_validate(
            {"node": {"data": str(self.data)}, "archive": archive, "pipelines": {}, "priors": priors}
        )

    def found(self) -> Choice:
        priors = Priors(self.site, self.spool)
        return priors.found(self.current, self.spool.revision(self.current), self.manifest, lambda: None)

    def told(self) -> list[tuple[str, str]]:
        story = self.spool.story_of(self.current).read()
        return [(one["event"], one.get("detail") or one["reason"]) for one in story if "prior" in one["event"]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.spool.close()


def test_the_newest_earlier_study_is_taken_with_our_results_and_the_story_says_so(house: House) -> None:
    old, newer = study(house.folder, "20240103"), study(house.folder, "20250103")
    result_of_ours(newer)
    spooled(house.spool, old)
    uid = spooled(house.spool, newer)
    spooled(house.spool, study(house.folder, "20260301"))
    choice = house.found()
    assert (choice.study_instance_uid, choice.study_date, choice.series) == (uid, "2025-01-03", 1)
    assert house.told() == [("prior found", "study of 2025-01-03, 1 series, from the spool")]
    folder, remarks = laid_out(choice, house.data, house.folder / "prior")
    assert len(files(Path(folder))) == SLICES + 1
    assert remarks == ()


def test_an_archive_that_cannot_be_asked_is_told_where_it_should_be(house: House) -> None:
    assert house.found().remarks == (NOT_ASKABLE,)


def test_an_archive_that_is_not_to_be_asked_is_not_told(house: House) -> None:
    house.set(archive=False)
    assert house.found().remarks == (NONE,)


def test_the_choice_stands_when_the_step_is_repeated(house: House) -> None:
    assert house.found().remarks == (NOT_ASKABLE,)
    spooled(house.spool, study(house.folder, "20250103"))
    assert house.found().remarks == (NOT_ASKABLE,)
    assert [event for event, _ in house.told()] == ["no prior"]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"PatientBirthDate": "19710101"}, "the birth date differs"),
        ({"PatientSex": "M"}, "the sex differs"),
        ({"PatientName": "Another^Person"}, "the name differs"),
        ({"PatientName": None, "PatientBirthDate": None}, "only the Patient ID says that it is the same patient"),
    ],
)
def test_another_patient_under_the_same_id_is_not_compared_with(
    house: House, header: dict[str, Any], reason: str
) -> None:
    spooled(house.spool, study(house.folder, "20250103", **header))
    older = spooled(house.spool, study(house.folder, "20240103"))
    choice = house.found()
    assert choice.study_instance_uid == older, "the next one is the patient's"
    assert ("prior not used", reason) in house.told()
    assert choice.remarks == (f"An earlier study under the same Patient ID is not compared with: {reason}.",)


def test_one_image_of_another_patient_is_enough(house: House) -> None:
    prior = study(house.folder, "20250103")
    edit(files(prior)[5], PatientSex="M")
    spooled(house.spool, prior)
    assert "the sex differs" in house.found().reasons


def test_the_issuer_of_the_id_counts_where_both_name_one(tmp_path: Path) -> None:
    house = House(tmp_path, IssuerOfPatientID="NORTH")
    spooled(house.spool, study(tmp_path, "20250103", IssuerOfPatientID="SOUTH"))
    same = spooled(house.spool, study(tmp_path, "20240103"))
    choice = house.found()
    assert choice.study_instance_uid == same
    assert choice.reasons == ("the issuer of the Patient ID differs",)
    house.spool.close()


@pytest.mark.parametrize(
    ("day", "header"),
    [
        ("20260103", {}),
        ("20260102", {"StudyTime": "120000"}),
        ("20260101", {"StudyDate": None}),
        ("20150101", {}),
        ("20250103", {"PatientID": "OTHER"}),
        ("20250103", {"Modality": "MR"}),
    ],
    ids=["later", "later on the day", "undated", "too old", "other ID", "other modality"],
)
def test_what_is_no_prior(house: House, day: str, header: dict[str, Any]) -> None:
    spooled(house.spool, study(house.folder / "other", day, **header))
    choice = house.found()
    assert (choice.study_instance_uid, choice.remarks) == ("", (NOT_ASKABLE,))


def test_earlier_on_the_same_day_is_earlier(house: House) -> None:
    earlier = spooled(house.spool, study(house.folder / "other", NOW, StudyTime="0101"))
    assert house.found().study_instance_uid == earlier


def test_the_age_is_the_sites_to_say(house: House) -> None:
    spooled(house.spool, study(house.folder, "20250103"))
    house.set(max_age_days=100)
    assert house.found().remarks == (NOT_ASKABLE,)


def test_a_study_without_a_patient_id_has_no_prior(tmp_path: Path) -> None:
    house = House(tmp_path, PatientID="")
    spooled(house.spool, study(tmp_path, "20250103", PatientID=""))
    assert house.found().reasons == ("the study has no Patient ID, or several",)
    house.spool.close()


def test_an_earlier_study_that_is_still_arriving_is_waited_for(house: House) -> None:
    prior = study(house.folder, "20250103")
    late = files(prior)[0]
    kept = late.read_bytes()
    late.unlink()
    spooled(house.spool, prior, handed_on=False)

    def the_rest() -> None:
        time.sleep(0.5)
        late.write_bytes(kept)
        spooled(house.spool, prior)

    thread = threading.Thread(target=the_rest)
    thread.start()
    choice = house.found()
    thread.join()
    assert len(choice.files) == SLICES


def test_files_that_are_gone_by_then_are_told(house: House) -> None:
    uid = spooled(house.spool, study(house.folder, "20250103"))
    choice = house.found()
    house.spool.instances(uid)[0].unlink()
    folder, remarks = laid_out(choice, house.data, house.folder / "prior")
    assert (folder, remarks) == ("", ("The earlier study to compare with is no longer here.",))
    assert not (house.folder / "prior").exists()
