"""Tumour on brain MR: the generated ones, what counts as one, and what is told of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pacsai import terms
from pacsai.finding import Finding
from pacsai.registration import Registration
from pacsai.registry import find
from pacsai.sequences import Known, Prior, Sequences
from pacsai.volume import Volume
from pipelines.brain_lesions.backgrounds import Background, depth_of
from pipelines.brain_lesions.detect import Rule, probabilities
from pipelines.brain_lesions.evaluate_tumour import SUBSETS, VOXEL_ML, dice, real
from pipelines.brain_lesions.fields import Array, Bools, halved
from pipelines.brain_lesions.learning import Examples, Paused, Plan, learn
from pipelines.brain_lesions.net import TUMOUR_CLASSES, LesionNet, load_network, save_network
from pipelines.brain_lesions.painting import FLAIR, T1C, T2
from pipelines.brain_lesions.phantom.tumour_brains import PlainHead, coarser, plain_head, tumour_head
from pipelines.brain_lesions.phantom.tumours import (
    LEAST_MM,
    MOST_MM,
    Kind,
    Tumour,
    painted_tumour,
    pushed,
    random_tumour,
)
from pipelines.brain_lesions.pipeline import TUMOUR_WEIGHTS, load
from pipelines.brain_lesions.prepare import Prepared
from pipelines.brain_lesions.study import Read
from pipelines.brain_lesions.train_tumour import check, started, whole
from pipelines.brain_lesions.tumour import TumourRule, doubled, tumour_parts
from pipelines.brain_lesions.tumour_patches import VOXEL_MM, make_tumour_patch, tumour_presence
from pipelines.brain_lesions.tumour_telling import CAUTION, LABELS, apart, tumour_findings, tumour_of
from pipelines.brain_lesions.tumour_telling import Tumour as Found

SMALL = (68, 84, 74)
RING = Tumour(Kind.RING, radius=8, rim=2.5, reach=4, stretch=(1, 1, 1), push=0, rough=0)
RULE = TumourRule(threshold=0.5, peak=0.9, core_ml=0.5)


@pytest.fixture(scope="module")
def plain() -> PlainHead:
    """Return a brain of half the size, so that it is made in a second."""
    return plain_head(7, shape=SMALL)


@pytest.fixture(scope="module")
def background(plain: PlainHead) -> Background:
    depth, none = depth_of(plain.brain)[None], np.zeros((1, *SMALL), np.float32)
    channels = np.concatenate([plain.images, plain.tissues, depth, none]).astype(np.float16)
    inside = np.flatnonzero(plain.brain)[::300]
    return Background(channels, channels[:7].reshape(7, -1)[:, inside].astype(np.float32))


def white_matter(side: int = 40) -> tuple[Array, Array, Bools]:
    """Return images, tissues and brain of nothing but white matter."""
    tissues = np.zeros((3, side, side, side), np.float32)
    tissues[2] = 1
    return np.zeros((4, side, side, side), np.float32), tissues, np.ones((side,) * 3, np.bool_)


def painted_ring() -> tuple[Array, Bools]:
    middle = np.array([20, 20, 20], np.float32)
    return painted_tumour(np.random.default_rng(3), *white_matter(), middle, RING)


def test_tumours_have_the_sizes_that_are_claimed() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_tumour(rng, VOXEL_MM) for _ in range(300)]
    across = [2 * VOXEL_MM * one.radius for one in drawn]
    assert min(across) >= LEAST_MM
    assert max(across) <= MOST_MM
    assert {one.kind for one in drawn} == set(Kind)


def test_the_parts_of_a_tumour_look_as_they_do_on_mr() -> None:
    images, (enhancing, necrotic, oedema) = painted_ring()
    assert not (enhancing & necrotic).any()
    assert not ((enhancing | necrotic) & oedema).any()
    assert enhancing.sum() > 200
    assert images[T1C][enhancing].mean() > 1
    assert images[T1C][necrotic].mean() < -0.5
    assert images[T2][necrotic].mean() > 1
    assert images[FLAIR][oedema].mean() > 0.5
    far = ~(enhancing | necrotic | oedema)
    assert abs(float(np.median(images[:, far]))) < 0.05


def test_a_rim_lies_around_its_necrosis() -> None:
    _, (enhancing, necrotic, _) = painted_ring()
    away = np.linalg.norm(np.indices(enhancing.shape) - 20, axis=0)
    assert away[necrotic].max() <= away[enhancing].max()
    assert away[enhancing].mean() > away[necrotic].mean()


def test_pushed_tissue_keeps_its_volume_and_far_places_stay() -> None:
    tumour = replace(RING, push=0.5)
    at = np.indices((41, 41, 41), dtype=np.float32)
    middle = np.array([20, 20, 20], np.float32)
    came_from = pushed(at, middle, tumour)
    radius = float(20 - came_from[2, 20, 20, 10])  # what lies 10 from the middle came from nearer to it
    assert radius**3 == pytest.approx(10**3 - (0.5 * 8) ** 3, rel=0.01)
    np.testing.assert_allclose(came_from[:, 0, 0, 0], at[:, 0, 0, 0], atol=0.05)


def test_a_generated_head_depends_on_its_seed_alone(plain: PlainHead) -> None:
    one, two = tumour_head(11, plain), tumour_head(11, plain)
    np.testing.assert_array_equal(one.images["T1C"], two.images["T1C"])
    assert one.tumour is not None
    assert one.parts.any()
    without = tumour_head(11, plain, tumour=False)
    assert without.tumour is None
    assert not without.parts.any()
    assert not without.images["FLAIR"][~plain.brain].any()


def test_halving_and_doubling_keep_places() -> None:
    ramp = np.broadcast_to(np.arange(17, dtype=np.float32), (15, 16, 17))
    small = halved(ramp)
    assert small.shape == (8, 8, 9)
    np.testing.assert_allclose(small[0, 0, :8], np.arange(8) * 2 + 0.5)
    np.testing.assert_allclose(doubled(small, ramp.shape)[4, 4, 1:14], np.arange(1, 14), atol=1e-5)


def probabilities_of(**boxes: tuple[slice, float]) -> dict[str, Array]:
    """Return probabilities that are high in a slab of each class named."""
    told = {name: np.zeros((30, 20, 20), np.float32) for name in TUMOUR_CLASSES}
    for name, (slab, value) in boxes.items():
        told[name][slab, 5:15, 5:15] = value
    return told


def test_each_voxel_belongs_to_its_most_probable_part() -> None:
    found = tumour_parts(probabilities_of(enhancing=(slice(5, 15), 0.95), oedema=(slice(10, 25), 0.8)), RULE)
    assert found["enhancing"].sum() == 1000
    assert found["oedema"].sum() == 1000
    assert not (found["enhancing"] & found["oedema"]).any()


@pytest.mark.parametrize(
    "boxes",
    [
        {"oedema": (slice(0, 30), 0.99)},
        {"enhancing": (slice(5, 9), 0.99), "oedema": (slice(9, 25), 0.99)},
        {"enhancing": (slice(5, 15), 0.8), "necrotic": (slice(15, 25), 0.8)},
    ],
    ids=["no core", "a core of 0.4 mL", "a core that is not sure enough"],
)
def test_what_is_no_tumour_by_the_rule_is_not_told(boxes: dict[str, tuple[slice, float]]) -> None:
    assert not any(part.any() for part in tumour_parts(probabilities_of(**boxes), RULE).values())


def test_examples_depend_on_their_number_alone(background: Background) -> None:
    library = np.zeros((1, *SMALL), np.uint8)
    library[0, 30:34, 40:44, 30:34] = 1
    seen = set()
    for n in range(10):
        one, two = (make_tumour_patch(np.random.default_rng([2, n]), background, library, 32) for _ in range(2))
        np.testing.assert_array_equal(one.images, two.images)
        assert one.mask.shape == (3, 32, 32, 32)
        assert not (one.mask & ~one.brain).any()
        assert not one.images[:, ~one.brain].any()
        seen.add(bool(one.mask.any()))
    assert seen == {True, False}


def test_contrast_is_always_shown_and_flair_not_always() -> None:
    rng = np.random.default_rng(0)
    there = np.stack([tumour_presence(rng) for _ in range(200)])
    assert there[:, 2].all()
    assert 0.6 < there[:, 0].mean() < 0.95


def learned(examples: Examples, work: Path, *pauses: float | None) -> LesionNet:
    """Return what is learned, called anew after each pause."""
    work.mkdir(exist_ok=True)
    for pause_s in pauses:
        torch.manual_seed(0)
        try:
            return learn(LesionNet(4, (4, 4, 4, 4), TUMOUR_CLASSES), examples, 0, work, pause_s)
        except Paused:
            continue
    raise AssertionError("it paused to the end")


def test_learning_that_paused_ends_as_if_it_had_not(background: Background, tmp_path: Path) -> None:
    library = np.zeros((1, *SMALL), np.uint8)
    plan = Plan(steps=3, batch=2, fresh=1, size=16)
    examples = Examples([background], np.ones(1), library, plan, make_tumour_patch, tumour_presence)
    unpaused = learned(examples, tmp_path / "whole", None)
    parts = learned(examples, tmp_path / "parts", 0, 0, 1000)
    torch.testing.assert_close(unpaused.state_dict(), parts.state_dict())
    assert unpaused.classes == TUMOUR_CLASSES


def test_a_network_may_start_from_that_of_lesions(tmp_path: Path) -> None:
    lesions = LesionNet()
    save_network(lesions, tmp_path / "lesions.safetensors", {})
    network = started(tmp_path / "lesions.safetensors")
    name = "encoders.FLAIR.0.weight"
    torch.testing.assert_close(network.state_dict()[name], lesions.state_dict()[name], atol=1e-3, rtol=1e-3)
    assert network.head.out_channels == 24
    save_network(network, tmp_path / "tumour.safetensors", {})
    with pytest.raises(ValueError, match="brain_tumours/1"):
        load_network(tmp_path / "tumour.safetensors")
    assert load_network(tmp_path / "tumour.safetensors", TUMOUR_CLASSES).classes == TUMOUR_CLASSES


def test_an_untrained_network_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.brain_lesions.train_tumour.CHECK_SEEDS", (820,))
    monkeypatch.setattr("pipelines.brain_lesions.train_tumour.TUMOURS_EACH", 1)
    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match="training failed its check"):
        check(LesionNet(classes=TUMOUR_CLASSES).eval(), SMALL)


@pytest.fixture
def study() -> Read:
    """Return a study of 1 mm with two lesions, the first inside of what `found` calls tumour."""
    shape = (40, 50, 44)
    brain = np.zeros(shape, np.bool_)
    brain[4:-4, 4:-4, 4:-4] = True
    labels = np.zeros(shape, np.int32)
    labels[16:20, 16:20, 16:20], labels[30:33, 30:33, 30:33] = 1, 2
    flair = Volume(np.zeros(shape, np.float32), np.eye(4), "1.2.3", ())
    images = dict.fromkeys(("FLAIR", "T1C"), brain.astype(np.float32))
    none: dict[str, Registration] = {}
    return Read(flair, Prepared(images, brain, np.eye(4), none, ()), np.zeros(shape, np.float32), labels, Rule())


@pytest.fixture
def found(study: Read) -> Found:
    parts = {name: np.zeros(study.labels.shape, np.bool_) for name in TUMOUR_CLASSES}
    parts["enhancing"][14:22, 14:22, 14:18] = True
    parts["oedema"][14:22, 14:22, 18:24] = True
    return Found(parts, {name: 0.75 * part.astype(np.float32) for name, part in parts.items()})


def test_lesions_in_a_tumour_are_part_of_it(study: Read, found: Found) -> None:
    rest, remarks = apart(study, found)
    assert set(np.unique(rest.labels)) == {0, 1}
    np.testing.assert_array_equal(rest.labels == 1, study.labels == 2)
    assert remarks == (CAUTION, "1 lesions that lie in the tumour are told as part of it")


def test_each_part_is_told_with_its_code_volume_and_side(study: Read, found: Found) -> None:
    enhancing, oedema = tumour_findings(study, found, None)
    assert [one.kind for one in (enhancing, oedema)] == [terms.ENHANCING_LESION, terms.EDEMA]
    assert enhancing.value(terms.VOLUME) == pytest.approx(8 * 8 * 4)
    assert enhancing.centre_mm == pytest.approx((15.5, 17.5, 17.5))
    assert enhancing.probability == pytest.approx(0.75)
    assert enhancing.laterality == terms.RIGHT
    assert {enhancing.label, oedema.label} <= LABELS
    assert oedema.remarks == ("oedema, or tumour that does not enhance",)


def test_a_part_keeps_the_name_that_the_earlier_report_gave_it(study: Read, found: Found) -> None:
    known = Known("2.25.7", "Tumour, oedema", (1, 2, 3), 50.0)
    uids: dict[str, Finding] = {
        one.label: one for one in tumour_findings(study, found, Prior({}, "FLAIR", "1.2", None, (known,)))
    }
    assert uids["Tumour, oedema"].tracking_uid == "2.25.7"
    assert uids["Tumour, enhancing"].tracking_uid == ""


def test_without_contrast_no_tumour_is_judged(study: Read) -> None:
    prepared = replace(study.prepared, images={"FLAIR": study.prepared.images["FLAIR"]})
    assert tumour_of(replace(study, prepared=prepared), LesionNet(classes=TUMOUR_CLASSES)) == (None, ())


def test_in_a_brain_that_is_more_than_a_brain_no_tumour_is_judged(study: Read) -> None:
    prepared = replace(study.prepared, affine=np.diag([4.0, 4.0, 4.0, 1.0]))
    found, remarks = tumour_of(replace(study, prepared=prepared), LesionNet(classes=TUMOUR_CLASSES))
    assert found is None
    assert "no tumour was looked for" in remarks[0]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the lesions' weights with those of tumours beside them, as a site lays them that wants to try these."""
    folder, weights = tmp_path_factory.mktemp("weights"), find("brain_lesions").verified_weights()
    assert weights is not None
    shutil.copy(weights.parent / "unproven" / TUMOUR_WEIGHTS, folder)
    return Path(shutil.copy(weights, folder))


@pytest.fixture(scope="module")
def shipped(together: Path) -> LesionNet:
    return load_network(together.with_name(TUMOUR_WEIGHTS), TUMOUR_CLASSES)


def test_tumours_are_read_only_where_a_site_asks_for_it(together: Path) -> None:
    assert load(find("brain_lesions").verified_weights()).tumours is None
    assert load(together).tumours is not None


@pytest.mark.parametrize("subset", SUBSETS[:2], ids="+".join)
def test_a_real_brain_without_tumour_has_none(shipped: LesionNet, shared_data: Path, subset: tuple[str, ...]) -> None:
    case = next(one for one in real(shared_data / "mr" / "open-ms" / "patient19") if one.images.keys() == set(subset))
    parts = tumour_parts(probabilities(case.images, case.brain, shipped), voxel_ml=VOXEL_ML)
    assert not any(part.any() for part in parts.values())


@pytest.fixture(scope="module")
def large() -> PlainHead:
    """Return a brain of 2 mm."""
    return coarser(plain_head(923))


def test_a_generated_tumour_is_found(shipped: LesionNet, large: PlainHead) -> None:
    with_tumour, without = (tumour_head(1923, large, tumour=there) for there in (True, False))
    assert dice(whole(shipped, with_tumour), with_tumour.parts.any(axis=0)) > 0.6
    assert not whole(shipped, without).any()


def test_the_pipeline_tells_a_tumour_before_the_lesions(together: Path, large: PlainHead) -> None:
    head = tumour_head(1923, large)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    volumes = {
        name: Volume((400 + 60 * head.images[name]) * head.brain, affine, "1.2.3", ()) for name in ("FLAIR", "T1C")
    }
    pipeline = load(together)
    found = pipeline.analyse(Sequences(volumes, "FLAIR"))
    tumour = [one for one in found.findings if one.label in LABELS]
    assert tuple(tumour) == found.findings[: len(tumour)]
    assert CAUTION in found.remarks
    assert sum(one.value(terms.VOLUME) or 0 for one in tumour) == pytest.approx(8 * head.parts.sum(), rel=0.5)
    counted = [one.value(terms.LESION_COUNT) for one in found.totals]
    assert counted in ([], [len(found.findings) - len(tumour)])
