"""From pixels to marks: the grids, single calcifications and their groups, what the judges are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.mammography_cad import specks as specks_module
from pipelines.mammography_cad.detect import Mark, Rule, kept
from pipelines.mammography_cad.features import mass_features, speck_features
from pipelines.mammography_cad.judging import Shown, cut, judge, show_masses, show_specks
from pipelines.mammography_cad.look import Look, look_at, resized, speck_contrast
from pipelines.mammography_cad.masses import ANGLES, MassCandidate, answer, peaks
from pipelines.mammography_cad.net import MASS_WORDS, load_networks, new_networks, parts, save_networks
from pipelines.mammography_cad.specks import Specks, groups, hull, speck_answers


def half_disk(rows: int = 600, columns: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return a breast at the left border, faintly rough, and its mask."""
    j, i = np.mgrid[:rows, :columns]
    mask = np.hypot(j - rows / 2, i) < 0.45 * rows
    image = np.where(mask, 0.4 + 0.02 * np.random.default_rng(0).standard_normal((rows, columns)), 0)
    return image.astype(np.float32), mask


@pytest.fixture(scope="module")
def look() -> Look:
    image, mask = half_disk()
    j, i = np.mgrid[:600, :300]
    image[np.hypot(j - 300, i - 100) < 25] += 0.3
    return look_at(image, mask, (0.3, 0.3))


def candidate(place: tuple[float, float], radius_mm: float = 7.5) -> MassCandidate:
    return MassCandidate(place, 0.9, np.full(ANGLES, radius_mm))


def specks_at(places: list[tuple[float, float]]) -> Specks:
    n = len(places)
    return Specks(np.array(places, dtype=float).reshape(n, 2), np.full(n, 0.9), np.full(n, 5.0), np.full(n, 0.3))


def test_the_grids_agree_where_a_place_is(look: Look) -> None:
    assert look.middle.shape[1:] == (450, 225)  # 0.4 mm
    assert look.fine.shape[1:] == (900, 450)
    place = look.from_view((300.0, 100.0))
    assert look.to_view(place) == pytest.approx((300.0, 100.0))
    dense = np.argwhere(look.middle[0] > 0.8).mean(axis=0)
    assert dense == pytest.approx(place, abs=0.6)


def test_grey_is_zero_for_fat_and_air_is_no_tissue(look: Look) -> None:
    assert np.median(look.middle[0][look.breast]) == pytest.approx(0, abs=0.25)
    assert not look.middle[:, ~look.breast].any()


def test_an_image_is_given_on_square_pixels() -> None:
    assert resized(np.ones((100, 50), np.float32), (0.1, 0.2), 0.2).shape == (50, 50)


def test_an_image_and_its_mirror_image_have_mirrored_answers(look: Look) -> None:
    finder = new_networks().masses.eval()
    whole = Look(look.fine, look.middle[:, :448, :208], np.ones((448, 208), np.bool_), look.scale)
    mirrored = replace(whole, middle=whole.middle[..., ::-1].copy())
    np.testing.assert_allclose(answer(mirrored, finder)[:, ::-1], answer(whole, finder), atol=2e-3)


def test_a_peak_becomes_a_candidate_as_large_as_the_extent_about_it() -> None:
    j, i = np.mgrid[:100, :100]
    extent = (np.hypot(j - 40, i - 60) < 8).astype(np.float32)
    (found,) = peaks(extent, 0.3)
    assert found.place == (80.5, 120.5)
    assert found.radius_mm == pytest.approx(8 * 0.8, abs=0.9)
    assert found.axes_mm == pytest.approx((12.8, 12.8), abs=1.8)


def test_features_tell_a_denser_mass_from_its_surroundings(look: Look) -> None:
    on = mass_features(look, candidate(look.from_view((300.0, 100.0))))
    off = mass_features(look, candidate(look.from_view((150.0, 60.0))))
    assert on[4] > 0.4 > off[4]
    assert on[9] > off[9]


def test_strips_give_what_the_whole_image_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    finder = new_networks().specks.eval()
    image, mask = half_disk(640, 320)
    contrast = speck_contrast(image, mask)
    in_strips = speck_answers(contrast, mask, finder)
    monkeypatch.setattr(specks_module, "STRIP", 4096)
    whole = speck_answers(contrast, mask, finder)
    assert in_strips.shape == (320, 160)
    np.testing.assert_allclose(in_strips, whole, atol=0.01)


def test_three_specks_within_reach_are_a_group_and_two_are_none() -> None:
    near = [(100.0, 100.0), (120.0, 100.0), (140.0, 110.0)]
    assert len(groups(specks_at(near))) == 1
    assert groups(specks_at([*near[:2], (400.0, 400.0)])) == ()
    assert [len(g.places) for g in groups(specks_at([*near, (700.0, 700.0), (900.0, 900.0)]))] == [3]


def test_the_hull_lies_about_all_specks_of_a_group() -> None:
    corners = hull(specks_at([(100.0, 100.0), (120.0, 100.0), (140.0, 110.0)]))
    assert corners[:, 0].min() < 95
    assert corners[:, 0].max() > 145


def test_a_line_of_specks_is_told_from_a_heap() -> None:
    line = speck_features(specks_at([(10.0 * n, 100.0) for n in range(8)]), (400.0, 100.0))
    heap = speck_features(specks_at([(10.0 * (n % 3), 10.0 * (n // 3)) for n in range(9)]), None)
    assert line[3] < 0.1 < heap[3]
    assert line[15] == pytest.approx(1.0, abs=0.01)


def test_a_cut_beyond_the_image_is_filled_with_nothing() -> None:
    image = np.arange(100, dtype=np.float32).reshape(10, 10)
    part = cut(image, (0.0, 9.0), 4)
    assert part.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [7, 8, 9, 0], [17, 18, 19, 0]]


def test_a_judge_says_a_word_of_each_list(look: Look) -> None:
    networks = new_networks()
    for part in parts(networks).values():
        part.eval()
    (opinion,) = judge(networks.mass_judge, show_masses(look, [candidate((200.0, 80.0))]))
    assert 0 <= opinion.lesion <= 1
    assert {name: opinion.word(name) in words for name, words in MASS_WORDS.items()} == dict.fromkeys(MASS_WORDS, True)
    assert judge(networks.mass_judge, []) == ()


def test_a_judge_says_the_same_of_a_candidate_turned_or_mirrored(look: Look) -> None:
    networks = new_networks()
    networks.mass_judge.eval()
    (shown,) = show_masses(look, [candidate((200.0, 80.0))])
    near, far = (np.rot90(image, 1, (1, 2))[..., ::-1].copy() for image in (shown.near, shown.far))
    both = shown, Shown(near, far, shown.features)
    one, other = (judge(networks.mass_judge, [each])[0].lesion for each in both)
    assert one == pytest.approx(other, abs=0.02)


def test_calcifications_are_shown_from_near_and_from_far() -> None:
    all_of_it = specks_at([(100.0, 100.0), (110.0, 104.0), (120.0, 96.0), (300.0, 300.0)])
    (group,) = groups(all_of_it)
    shown = show_specks(np.ones((400, 400), np.float32), np.ones((100, 100), np.float32), all_of_it, group, None)
    assert (shown.near[1] > 0).sum() == 3
    assert (shown.far[1] > 0).sum() >= 2


def mark(certainty: float, centre: tuple[float, float] = (100.0, 100.0), kind: str = "mass") -> Mark:
    j, i = centre
    outline = ((j - 20, i - 20), (j - 20, i + 20), (j + 20, i + 20), (j + 20, i - 20))
    return Mark("L CC", kind, centre, outline, certainty, 0.5, {}, 10.0, 8.0, 0, 40.0)


def test_the_rule_keeps_the_surest_marks_each_place_once() -> None:
    marks = [mark(0.9), mark(0.8, (105.0, 100.0)), mark(0.7, (300.0, 300.0)), mark(0.2, (500.0, 100.0))]
    assert [one.certainty for one in kept(marks, Rule(0.5, 0.5, 5))] == [0.9, 0.7]
    assert [one.certainty for one in kept(marks, Rule(0.5, 0.5, 1))] == [0.9]
    clustered = replace(mark(0.6), kind="calcifications")
    assert len(kept([*marks, clustered], Rule(0.75, 0.5, 5))) == 2


def test_weights_are_written_and_read_and_other_networks_are_refused(tmp_path: Path) -> None:
    networks = new_networks()
    path = tmp_path / "weights.safetensors"
    save_networks(networks, path, {"seed": "0"})
    again = load_networks(path)
    first, second = (next(one.masses.parameters()) for one in (networks, again))
    assert torch.allclose(first, second, atol=1e-3)
    assert path.stat().st_size < 8_000_000
    smaller = replace(networks, specks=new_networks().masses)
    save_networks(smaller, path, {})
    with pytest.raises(ValueError, match="of another shape"):
        load_networks(path)
