"""Area under the ROC curve with its interval, exams drawn anew: images of one exam are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

DRAWS, SEED = 1000, 0
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Case:
    """A score, and whether there is what it is a score of."""

    score: float
    positive: bool


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Return the probability that a positive scores higher than a negative, ties half; None without one of either."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def auc_with_interval(exams: Sequence[Sequence[Case]]) -> dict[str, float | None]:
    """Return `auc` over all cases and the 95 % interval of its bootstrap (`low`, `high`), exams drawn with their cases.

    None where there is no positive or no negative; draws without one are left out.
    """
    groups = [(np.array([c.score for c in cases]), np.array([c.positive for c in cases])) for cases in exams if cases]
    whole = _of(groups, range(len(groups)))
    if whole is None:
        return {"auc": None, "low": None, "high": None}
    rng = np.random.default_rng(SEED)
    drawn = (_of(groups, rng.integers(0, len(groups), len(groups)).tolist()) for _ in range(DRAWS))
    low, high = np.percentile([one for one in drawn if one is not None] or [whole], INTERVAL)
    return {"auc": whole, "low": float(low), "high": float(high)}


def _of(groups: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]], chosen: Sequence[int]) -> float | None:
    if not groups:
        return None
    return auc(np.concatenate([groups[n][0] for n in chosen]), np.concatenate([groups[n][1] for n in chosen]))
