"""A generated chest is repeatable, looks like a CT, and its truth lies where its nodules are."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.chest_ct_nodules.phantom import ChestPhantom, chest_phantom
from pipelines.chest_ct_nodules.phantom.nodules import KINDS, random_diameter, random_shape, render
from pipelines.chest_ct_nodules.phantom.scanner import linear_matrix, random_scan, slice_matrix
from pipelines.chest_ct_nodules.phantom.vessels import tree


@pytest.fixture(scope="module")
def phantom() -> ChestPhantom:
    return chest_phantom(7, small=True, nodules=4)


def test_the_same_seed_gives_the_same_voxels(phantom: ChestPhantom) -> None:
    again = chest_phantom(7, small=True, nodules=4)
    np.testing.assert_array_equal(again.array_hu, phantom.array_hu)
    assert [n.centre_kji for n in again.nodules] == [n.centre_kji for n in phantom.nodules]


def test_another_seed_gives_another_chest(phantom: ChestPhantom) -> None:
    assert (chest_phantom(8, small=True).array_hu != phantom.array_hu).any()


def test_it_has_the_densities_of_a_chest(phantom: ChestPhantom) -> None:
    assert phantom.array_hu.dtype == np.int16
    assert -900 < np.median(phantom.array_hu[phantom.lungs_mask]) < -700
    assert (phantom.array_hu > 250).mean() > 0.001, "bones"
    assert np.median(phantom.array_hu[:, 0, :]) < -950, "air in front of the chest"


def test_lungs_lie_on_both_sides(phantom: ChestPhantom) -> None:
    middle = phantom.lungs_mask.shape[2] // 2
    halves = phantom.lungs_mask[:, :, :middle].sum(), phantom.lungs_mask[:, :, middle:].sum()
    assert min(halves) > 0.3 * sum(halves)


def test_every_nodule_is_denser_than_lung_and_inside_it(phantom: ChestPhantom) -> None:
    assert phantom.nodules
    for nodule in phantom.nodules:
        box = tuple(slice(o, o + n) for o, n in zip(nodule.offset_kji, nodule.mask.shape, strict=True))
        assert phantom.lungs_mask[box][nodule.mask].all()
        assert phantom.array_hu[box][nodule.mask].mean() > -750


def test_no_nodules_when_none_are_asked_for() -> None:
    assert chest_phantom(3, small=True, nodules=0).nodules == ()


def test_the_grid_is_the_one_asked_for() -> None:
    phantom = chest_phantom(3, shape_kji=(40, 90, 100), spacing_mm=(5.0, 3.5, 3.4), nodules=1)
    assert phantom.array_hu.shape == phantom.lungs_mask.shape == (40, 90, 100)
    assert phantom.spacing_mm == (5.0, 3.5, 3.4)


def test_three_of_five_training_nodules_are_small() -> None:
    rng = np.random.default_rng(0)
    diameters = np.array([random_diameter(rng) for _ in range(2000)])
    assert 0.55 < ((diameters >= 4) & (diameters < 10)).mean() < 0.65
    assert diameters.min() >= 3
    assert diameters.max() <= 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_rendered_nodule_has_about_the_volume_of_its_diameter(kind: str) -> None:
    shape = random_shape(np.random.default_rng(5), 12.0, kind)
    drawn = render(shape, (20.0, 20.0, 20.0), (1.0, 1.0, 1.0), (41, 41, 41))
    assert drawn.mask.sum() == pytest.approx(np.pi / 6 * 12.0**3, rel=0.4)


def test_a_tree_reaches_its_leaves_and_thickens_to_the_root() -> None:
    rng = np.random.default_rng(1)
    leaves = rng.uniform(0, 100, (60, 3))
    tubes = tree(rng, np.zeros(3), leaves, 0.4)
    assert tubes.radius.max() == pytest.approx(0.4 * 60 ** (1 / 3))
    ends = {tuple(np.round(end, 6)) for end in tubes.end}
    assert all(tuple(np.round(leaf, 6)) in ends for leaf in leaves)


def test_a_thick_slice_is_the_mean_of_the_planes_it_covers() -> None:
    matrix = slice_matrix(11, 1.0, np.array([5.0]), 3.0)
    np.testing.assert_allclose(matrix[0, 4:7], 1 / 3, atol=1e-6)
    assert matrix.sum() == pytest.approx(1)


def test_interpolation_of_a_ramp_is_the_ramp() -> None:
    at = np.array([0.0, 0.25, 3.5, 8.9, 9.0])
    np.testing.assert_allclose(linear_matrix(10, at) @ np.arange(10), at, atol=1e-5)


def test_thick_slices_are_less_noisy() -> None:
    noise = [np.mean([random_scan(np.random.default_rng(s), mm).noise_hu for s in range(40)]) for mm in (0.8, 3.0)]
    assert noise[1] < noise[0]
