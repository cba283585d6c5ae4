"""Rigid registration: where the places of one image lie in another of the same head.

Mattes mutual information (Mattes et al., IEEE TMI 2003) by SimpleITK, from coarse to fine, begun from the headers and
from the centres of what is bright with a search over rotations. The answer is checked by a second run from another
start and by how much the images tell of each other; one that fails is flagged, and never to be used. Everything is
seeded and the number of threads is fixed, so the same images give the same answer.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name that its own manual gives it)
from numpy.typing import ArrayLike, NDArray

from pacsai.volume import Grid
from pacsai.volume.itk import shrunk, to_itk

Matrix = NDArray[np.float64]

LEVELS_MM = (8.0, 4.0, 2.0)
"""Voxel sizes of the search, of the two runs that must agree, and of the last step."""
ROTATIONS_DEGREES = (-16.0, 0.0, 16.0)
"""Where the search over rotations looks, about each axis."""
SAMPLES = (4000, 12000, 30000)
"""Voxels that are compared at each level."""
BINS = 32
THICKER = 1.5
"""An image of thicker slices than this many times the other's is looked up in it, not the other way round.

Values between thick slices are smoother than those on them, and mutual information takes that for likeness: measured
1.4 mm against 0.7 mm of error for aligned T2 of 5 mm and T1 of 1 mm.
"""
EDGE_MM = 8.0
"""How far beyond what is bright voxels are compared: edges tell most."""
MIN_VOXELS = 100
ARM_MM = 60.0
"""Half the size of a head: a turn moves its surface by this much times the angle."""
KEPT_STARTS = 3
NUDGE = ((4.0, -4.0, 4.0), (-5.0, 5.0, -5.0))
"""How far from the first run's end the second one starts: degrees about x, y, z, and mm."""
MIN_NMI = 1.06
"""Least normalised mutual information ((H(a) + H(b)) / H(a, b), Studholme 1999; 1 = nothing in common).

Measured: a head on itself in another contrast 1.17 to 1.39, on another person's 1.09 to 1.12, on no head up to 1.06.
"""
MIN_OVERLAP = 0.55
"""Least part of the smaller bright region that the other one covers."""
MAX_DISAGREEMENT_MM = 2.0
"""How far the two runs may end from each other, mean over the head."""
SAME_PLACE_MM = 0.7
"""A found movement below this is none where the headers' place is as good."""


class _NothingToCompareError(Exception):
    """An image without contrast, or no overlap at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Where the places of a reference image lie in another image.

    Attributes
    ----------
    matrix : float64 (4, 4)
        Maps homogeneous LPS mm (x, y, z, 1) of the reference's frame to the other image's frame; rigid.
    accepted : bool
        Whether it may be used. If not, `matrix` is only a record of what was tried.
    reason : str
        Why it was not accepted; empty where it was.
    nmi : float
        Normalised mutual information of the two images after registration, 1 (nothing in common) to 2.
    overlap : float
        Part of the smaller bright region (head, or brain where stripped) that the other one covers, 0 to 1.
    disagreement_mm : float
        Mean distance, over the reference's head, between the ends of two runs, the second begun a little off the
        first one's end and with other samples.
    moved_mm : float
        Mean distance, over the reference's head, that the headers' places were moved by; 0 where they were kept.
    """

    matrix: Matrix
    accepted: bool
    reason: str
    nmi: float
    overlap: float
    disagreement_mm: float
    moved_mm: float

    def to_other(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Return places (..., 3) of the reference's frame in the other image's frame, mm."""
        return moved(self.matrix, xyz)

    def to_reference(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Return places (..., 3) of the other image's frame in the reference's frame, mm."""
        return moved(np.linalg.inv(self.matrix), xyz)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two images at one voxel size: a `share` of the first one's voxels `inside` is looked up in the second.

    `region` is where in the second image, if not everywhere.
    """

    fixed: Any
    moving: Any
    inside: Any
    share: float
    region: Any | None


def moved(matrix: NDArray[Any], xyz: ArrayLike) -> NDArray[np.float64]:
    """Return the places (..., 3) that `matrix` (4, 4) maps the places (..., 3) to."""
    places: NDArray[np.float64] = np.asarray(xyz, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return places


def register(
    reference: Grid, other: Grid, *, region: NDArray[np.bool_] | None = None, seed: int = 0, threads: int = 1
) -> Registration:
    """Return where the places of `reference` lie in `other`, by rigid registration.

    Parameters
    ----------
    reference, other : Grid
        Images of the same head, of any contrasts, resolutions and orientations.
    region : bool [k, j, i], optional
        Where on the reference's grid to compare, as the brain, so that a moved jaw does not count; it is taken a little
        wider, since edges tell most. By default whatever is bright.
    seed : int
        Of the choice of the voxels that are compared.
    threads : int
        The same number gives the same answer; registrations of several sequences may run beside each other.
    """
    turned_round = max(other.spacing_mm) > THICKER * max(reference.spacing_mm)
    first, second = (other, reference) if turned_round else (reference, other)
    regions = (None, region) if turned_round else (region, None)
    try:
        pairs = [_pair(first, second, regions, mm, n) for mm, n in zip(LEVELS_MM, SAMPLES, strict=True)]
        found = _registered(pairs, seed, threads)
    except (_NothingToCompareError, RuntimeError) as error:  # SimpleITK raises RuntimeError where nothing overlaps
        reason = (
            str(error) if isinstance(error, _NothingToCompareError) else "the images do not overlap enough to compare"
        )
        return Registration(np.eye(4), False, reason, 1.0, 0.0, float("inf"), 0.0)
    return replace(found, matrix=np.asarray(np.linalg.inv(found.matrix), np.float64)) if turned_round else found


def _registered(pairs: list[_Pair], seed: int, threads: int) -> Registration:
    """Return the registration: search, two runs that must agree, the last step, the verdict."""
    coarse, middle, fine = pairs
    starts = _starts(coarse, seed, threads)
    ends = [_run(middle, start, seed, threads) for start in starts[:2]]
    end = min(ends, key=lambda e: e[1])[0]
    again = _run(middle, _nudged(end), seed + 1, threads, step_mm=4.0)[0]
    places = _places(middle)
    apart = _mean_distance(end, again, places)
    best = _run(fine, end, seed, threads, step_mm=0.5)[0]
    best = _headers_if_as_good(fine, best, places, seed, threads)
    found = Registration(
        matrix=_matrix(best),
        accepted=True,
        reason="",
        nmi=_nmi(middle, best),
        overlap=_overlap(middle, best),
        disagreement_mm=apart,
        moved_mm=_mean_distance(best, sitk.Euler3DTransform(), places),
    )
    return replace(found, accepted=not _objection(found), reason=_objection(found))


def _objection(found: Registration) -> str:
    """Return what speaks against using a registration, or nothing."""
    if found.overlap < MIN_OVERLAP:
        return f"only {found.overlap:.0%} of the smaller head lies in the other"
    if found.nmi < MIN_NMI:
        return f"the images have too little in common (normalised mutual information {found.nmi:.3f})"
    if found.disagreement_mm > MAX_DISAGREEMENT_MM:
        return f"two runs ended {found.disagreement_mm:.1f} mm apart"
    return ""


def _pair(first: Grid, second: Grid, regions: tuple[NDArray[np.bool_] | None, ...], mm: float, samples: int) -> _Pair:
    """Return both images with voxels of about `mm`, and where to compare them."""
    fixed, moving = _shrunk(first, mm), _shrunk(second, mm)
    inside = _widened(_bright(fixed) if regions[0] is None else _mask(first, regions[0], mm))
    voxels = int(sitk.GetArrayViewFromImage(inside).sum())
    if voxels < MIN_VOXELS:
        raise _NothingToCompareError("there is nothing to compare in the reference image")
    region = None if regions[1] is None else _widened(_mask(second, regions[1], mm))
    return _Pair(fixed, moving, inside, min(1.0, samples / voxels), region)


def _widened(mask: Any) -> Any:
    return sitk.BinaryDilate(mask, [max(1, round(EDGE_MM / s)) for s in mask.GetSpacing()])


def _shrunk(grid: Grid, mm: float) -> Any:
    """Return the means of blocks of about `mm`, outliers clipped."""
    image = shrunk(to_itk(grid.array, grid.affine), mm)
    values = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise _NothingToCompareError("an image is empty")
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.8)))
    if high <= low:
        raise _NothingToCompareError("an image is as good as empty")
    return sitk.Clamp(image, sitk.sitkFloat32, low, high)


def _mask(grid: Grid, region: NDArray[np.bool_], mm: float) -> Any:
    return shrunk(to_itk(region.astype(np.float32), grid.affine), mm) > 0.25


def _bright(image: Any) -> Any:
    """Return where the image is brighter than air: half of Otsu's threshold between air and the rest."""
    values = sitk.GetArrayViewFromImage(image)
    low = float(np.percentile(values, 1))
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(image)
    return image > low + 0.5 * (otsu.GetThreshold() - low)


def _starts(coarse: _Pair, seed: int, threads: int) -> list[Any]:
    """Return the places worth a run, best first: the headers' and centred ones with every turn, each pulled right."""
    fixed, moving = _centre(coarse.fixed), _centre(coarse.moving)
    candidates = [_transform(fixed, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))]
    turns = itertools.product(np.radians(ROTATIONS_DEGREES), repeat=3)
    candidates += [_transform(fixed, turn, moving - fixed) for turn in turns]
    method = _method(coarse, seed, threads)
    rated = sorted(((_value(method, coarse, c), n) for n, c in enumerate(candidates)))
    chosen = [candidates[n] for _, n in rated[:KEPT_STARTS]]
    if not any(c is candidates[0] for c in chosen):
        chosen.append(candidates[0])
    ended = sorted((_run(coarse, start, seed, threads, step_mm=4.0) for start in chosen), key=lambda e: e[1])
    return [end for end, _ in ended]


def _value(method: Any, pair: _Pair, transform: Any) -> float:
    """Return the negative mutual information at a transform; 0 (nothing) where the images do not meet."""
    method.SetInitialTransform(transform)
    try:
        return float(method.MetricEvaluate(pair.fixed, pair.moving))
    except RuntimeError:
        return 0.0


def _centre(image: Any) -> NDArray[np.float64]:
    """Return the middle (x, y, z) of what is bright, mm."""
    mask = sitk.GetArrayViewFromImage(_bright(image)) > 0
    k, j, i = (float(axis.mean()) for axis in np.nonzero(mask))
    return np.array(image.TransformContinuousIndexToPhysicalPoint((i, j, k)))


def _transform(centre: Sequence[float] | Matrix, turn: Sequence[float], shift: Sequence[float] | Matrix) -> Any:
    made = sitk.Euler3DTransform()
    made.SetCenter([float(c) for c in centre])
    made.SetRotation(*(float(t) for t in turn))
    made.SetTranslation([float(s) for s in shift])
    return made


def _nudged(transform: Any) -> Any:
    """Return the transform turned and shifted by `NUDGE`, from where a sound descent must come back."""
    turn = np.array([transform.GetAngleX(), transform.GetAngleY(), transform.GetAngleZ()])
    shift = np.array(transform.GetTranslation())
    turned = turn + np.radians(NUDGE[0])
    return _transform(transform.GetCenter(), turned.tolist(), (shift + NUDGE[1]).tolist())


def _method(pair: _Pair, seed: int, threads: int) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(threads)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(pair.inside)
    if pair.region is not None:
        method.SetMetricMovingMask(pair.region)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(pair.share, seed + 1)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _run(pair: _Pair, start: Any, seed: int, threads: int, *, step_mm: float = 2.0) -> tuple[Any, float]:
    """Return where a descent from `start` ends, and the negative mutual information there."""
    method = _method(pair, seed, threads)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm, minStep=step_mm / 50, numberOfIterations=100, relaxationFactor=0.7
    )
    method.SetOptimizerScales([ARM_MM**2] * 3 + [1.0] * 3)
    transform = sitk.Euler3DTransform(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(pair.fixed, pair.moving)
    except RuntimeError:  # ran out of the other image
        return start, 0.0
    return transform, float(method.GetMetricValue())


def _headers_if_as_good(pair: _Pair, found: Any, places: Matrix, seed: int, threads: int) -> Any:
    """Return no movement where a tiny one was found that is hardly better, else what was found."""
    still = sitk.Euler3DTransform()
    if _mean_distance(found, still, places) > SAME_PLACE_MM:
        return found
    method = _method(pair, seed, threads)
    as_good = _value(method, pair, still) <= 0.99 * _value(method, pair, found)
    return still if as_good else found


def _matrix(transform: Any) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _places(pair: _Pair) -> Matrix:
    """Return places (n, 3) all over the region that is compared, mm."""
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(pair.inside))
    chosen = slice(None, None, max(1, len(k) // 500))
    indices = np.stack([i, j, k], axis=1)[chosen].astype(float)
    return np.array([pair.inside.TransformContinuousIndexToPhysicalPoint(index) for index in indices.tolist()])


def _mean_distance(one: Any, another: Any, places: Matrix) -> float:
    apart = moved(_matrix(one), places) - moved(_matrix(another), places)
    return float(np.linalg.norm(apart, axis=1).mean())


def _nmi(pair: _Pair, transform: Any) -> float:
    """Return the normalised mutual information inside the compared region where the images overlap."""
    onto = sitk.Resample(pair.moving, pair.fixed, transform, sitk.sitkLinear, float("nan"))
    a, b = sitk.GetArrayViewFromImage(pair.fixed), sitk.GetArrayViewFromImage(onto)
    both = (sitk.GetArrayViewFromImage(pair.inside) > 0) & np.isfinite(b)
    if both.sum() < MIN_VOXELS:
        return 1.0
    joint, _, _ = np.histogram2d(a[both], b[both], bins=BINS)
    of_a, of_b, of_both = (_entropy(counts) for counts in (joint.sum(axis=1), joint.sum(axis=0), joint))
    return (of_a + of_b) / of_both if of_both > 0 else 1.0


def _entropy(counts: NDArray[np.float64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _overlap(pair: _Pair, transform: Any) -> float:
    """Return the part of the smaller bright region that the other one covers, within the other's field of view."""
    moving = sitk.Resample(_bright(pair.moving), pair.fixed, transform, sitk.sitkNearestNeighbor, 0)
    a = sitk.GetArrayViewFromImage(_bright(pair.fixed)) > 0
    b = sitk.GetArrayViewFromImage(moving) > 0
    smaller = min(int(a.sum()), int(b.sum()))
    return float((a & b).sum() / smaller) if smaller else 0.0
