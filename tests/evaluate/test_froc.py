"""The LUNA16 protocol on cases small enough to be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pacsai.evaluate.froc import RATES, Froc, Scored, Truth, TruthError, read_truth, score
from pacsai.evaluate.froc_plot import plot

ORIGIN = (0.0, 0.0, 0.0)
NODULE = Truth("scan 1", ORIGIN, 10.0)


def mark(x: float, probability: float = 0.5, scan: str = "scan 1") -> Scored:
    return Scored(scan, (x, 0.0, 0.0), probability)


def test_a_mark_hits_nearer_than_half_the_diameter() -> None:
    assert score([mark(4.99)], [NODULE], ["scan 1"]).hits == ((NODULE, 0.5),)


def test_a_mark_at_half_the_diameter_is_false_and_the_nodule_missed() -> None:
    froc = score([mark(5.0)], [NODULE], ["scan 1"])
    assert (froc.hits, froc.misses, froc.false_marks) == ((), (NODULE,), (mark(5.0),))


def test_a_mark_on_another_scan_does_not_hit() -> None:
    froc = score([mark(0.0, scan="scan 2")], [NODULE], ["scan 1", "scan 2"])
    assert froc.misses == (NODULE,)
    assert len(froc.false_marks) == 1


def test_several_marks_on_one_nodule_count_once_with_the_highest_probability() -> None:
    froc = score([mark(1.0, 0.3), mark(2.0, 0.9), mark(3.0, 0.6)], [NODULE], ["scan 1"])
    assert froc.hits == ((NODULE, 0.9),)
    assert froc.false_marks == ()


def test_a_mark_on_an_excluded_finding_is_neither_hit_nor_false() -> None:
    froc = score([mark(50.0)], [NODULE], ["scan 1"], excluded=[Truth("scan 1", (50.0, 0.0, 0.0), 6.0)])
    assert (froc.hits, froc.false_marks) == ((), ())


def test_one_mark_may_hit_two_nodules_that_overlap() -> None:
    other = Truth("scan 1", (3.0, 0.0, 0.0), 10.0)
    assert len(score([mark(1.0)], [NODULE, other], ["scan 1"]).hits) == 2


def test_lesions_and_marks_of_scans_that_were_not_looked_at_are_left_out() -> None:
    froc = score([mark(0.0, scan="scan 9")], [Truth("scan 9", ORIGIN, 10.0)], ["scan 1"])
    assert (froc.hits, froc.misses, froc.false_marks) == ((), (), ())


def test_without_scans_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        score([], [], [])


@pytest.fixture
def worked_out() -> Froc:
    """Two scans, four nodules. By falling probability: hit, false, hit, false, hit; the fourth nodule is missed.

    0.9 hit   -> 0.0 false per scan, 1/4
    0.8 false -> 0.5 false per scan, 1/4
    0.7 hit   -> 0.5 false per scan, 2/4
    0.6 false -> 1.0 false per scan, 2/4
    0.5 hit   -> 1.0 false per scan, 3/4
    """
    nodules = [Truth("scan 1", (100.0 * n, 0.0, 0.0), 10.0) for n in range(4)]
    marks = [mark(0, 0.9), mark(50, 0.8, "scan 2"), mark(100, 0.7), mark(50, 0.6), mark(200, 0.5)]
    return score(marks, nodules, ["scan 1", "scan 2"])


def test_the_curve_has_a_point_for_each_threshold(worked_out: Froc) -> None:
    expected = [
        (0, 0, np.inf),
        (0, 0.25, 0.9),
        (0.5, 0.25, 0.8),
        (0.5, 0.5, 0.7),
        (1.0, 0.5, 0.6),
        (1.0, 0.75, 0.5),
    ]
    np.testing.assert_allclose(worked_out.curve, expected)


def test_sensitivity_is_linear_between_points_and_held_after_the_last(worked_out: Froc) -> None:
    # at a rate with several points the highest counts; 0.75 lies between (0.5, 0.5) and (1.0, 0.5)
    assert [worked_out.sensitivity(rate) for rate in (0.125, 0.5, 0.75, 1.0, 8.0)] == [0.25, 0.5, 0.5, 0.75, 0.75]


def test_a_step_that_rises_while_false_marks_are_added_is_interpolated() -> None:
    both = [mark(0, 0.9), mark(100, 0.4), mark(50, 0.4), mark(60, 0.4)]  # one threshold adds a hit and two false
    nodules = [NODULE, Truth("scan 1", (100.0, 0.0, 0.0), 10.0)]
    froc = score(both, nodules, ["scan 1"])
    assert froc.sensitivity(1.0) == pytest.approx(0.75)  # half-way from (0, 0.5) to (2, 1.0)


def test_cpm_is_the_mean_at_the_seven_rates(worked_out: Froc) -> None:
    assert RATES == (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    assert worked_out.cpm == pytest.approx((0.25 + 0.25 + 0.5 + 0.75 + 0.75 + 0.75 + 0.75) / 7)


def test_scans_without_nodules_thin_out_the_false_marks() -> None:
    froc = score([mark(0, 0.5), mark(50, 0.6)], [NODULE], [f"scan {n}" for n in range(1, 9)])
    assert froc.sensitivity(0.125) == 1.0


def test_perfect_marks_score_one_and_none_score_zero() -> None:
    assert score([mark(0)], [NODULE], ["scan 1"]).cpm == 1.0
    assert score([], [NODULE], ["scan 1"]).cpm == 0.0


def test_lesions_of_one_kind_are_scored_with_the_others_excluded() -> None:
    small = Truth("scan 1", (100.0, 0.0, 0.0), 6.0, "ground glass")
    froc = score([mark(0, 0.9), mark(50, 0.8)], [small], ["scan 1"], excluded=[NODULE])
    assert (len(froc.misses), len(froc.false_marks)) == (1, 1)


def test_a_table_of_luna16_is_read(shared_data: Path) -> None:
    lesions = read_truth(shared_data / "luna16" / "annotations.csv")
    assert len(lesions) == 1186
    assert lesions[0].place_mm == (-128.6994211, -175.3192718, -298.3875064)


def test_a_negative_diameter_is_ten_millimetres(tmp_path: Path) -> None:
    table = tmp_path / "excluded.csv"
    table.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1,2,3,-1\n")
    assert read_truth(table)[0].diameter_mm == 10.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seriesuid,x,y,z\n", "lacks the column"),
        ("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1,2,left,5\n", "line 2: coordinates and diameter"),
        ("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1\n", "line 2: coordinates and diameter"),
    ],
)
def test_a_bad_table_is_told_by_column_or_line(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "truth.csv"
    table.write_text(text)
    with pytest.raises(TruthError, match=said):
        read_truth(table)


def test_the_plot_draws_a_better_curve_higher(worked_out: Froc) -> None:
    better = score([mark(0)], [NODULE], ["scan 1"])
    worse, best = (np.array(plot(froc, "curve")) for froc in (worked_out, better))
    line = np.array((0, 90, 170))
    rows = [np.flatnonzero((picture == line).all(axis=2).any(axis=1)).min() for picture in (worse, best)]
    assert rows[1] < rows[0]
