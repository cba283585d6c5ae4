"""From voxels to coded findings: with marks that are known, and with the trained networks on real nodules."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pacsai import terms
from pacsai.finding import Outcome, Result
from pacsai.registry import PipelineError, find
from pacsai.study.reading import read_folder
from pacsai.volume import Volume, read_volume
from pipelines.chest_ct_nodules import pipeline
from pipelines.chest_ct_nodules.detect import Mark
from pipelines.chest_ct_nodules.net import new_networks
from pipelines.chest_ct_nodules.pipeline import CUT, NO_LUNGS, ChestCTNodules, load, phantom
from pipelines.chest_ct_nodules.turn import turn_of
from tests.conftest import missing
from tests.lidc import consensus, dice
from tests.pipelines.chest_ct_nodules.ellipsoids import LEFT_LUNG, SPACING, ball, chest

NODULE_HU = 33.0
"""The stand-in for detection marks exactly the voxels of this value."""


def marks_of_known_value(array: NDArray[np.float32], *_: Any, **__: Any) -> tuple[Mark, ...]:
    labels, n = ndimage.label(array == NODULE_HU)
    boxes = ndimage.find_objects(labels)
    return tuple(
        Mark(
            ndimage.center_of_mass(labels == number),
            0.9,
            labels[box] == number,
            tuple(part.start for part in box),
        )
        for number, box in zip(range(1, n + 1), boxes, strict=True)
    )


@pytest.fixture
def nodules(monkeypatch: pytest.MonkeyPatch) -> ChestCTNodules:
    monkeypatch.setattr(pipeline, "detect", marks_of_known_value)
    return ChestCTNodules(new_networks())


def body(centre_mm: tuple[float, float, float] = LEFT_LUNG, radius_mm: float = 8.0) -> NDArray[np.float32]:
    """Return the chest of ellipsoids with one ball, `centre_mm` as (z, y, x)."""
    hu = chest()
    hu[ball(centre_mm, (radius_mm,) * 3)] = NODULE_HU
    return hu


def volume_of(hu: NDArray[np.float32]) -> Volume:
    affine = np.diag([*SPACING[::-1], 1.0])
    return Volume(hu, affine, frame_of_reference_uid="2.25.1", source=())


def test_a_nodule_becomes_a_coded_finding(nodules: ChestCTNodules) -> None:
    finding = nodules.analyse(volume_of(body())).findings[0]
    assert (finding.kind, finding.site, finding.laterality) == (terms.NODULE, terms.LUNG, terms.LEFT)
    assert finding.label == "Nodule 1"
    assert finding.probability == 0.9
    assert finding.centre_mm == pytest.approx(LEFT_LUNG[::-1], abs=1.3)
    assert finding.value(terms.LONG_AXIS) == pytest.approx(16, abs=2.5)
    assert finding.value(terms.VOLUME) == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.1)
    assert finding.value(terms.ATTENUATION) == pytest.approx(NODULE_HU)
    assert finding.qualities == ((terms.NODULE_TYPE, terms.SOLID),)


@pytest.mark.parametrize(("z_mm", "third"), [(60.0, "lower"), (110.0, "middle"), (165.0, "upper")])
def test_the_height_is_told_as_a_third_and_not_as_a_lobe(nodules: ChestCTNodules, z_mm: float, third: str) -> None:
    finding = nodules.analyse(volume_of(body((z_mm, *LEFT_LUNG[1:])))).findings[0]
    assert finding.remarks == (f"{third} third of the left lung, by height and not by lobe",)


def test_from_thirty_millimetres_on_it_is_a_mass(nodules: ChestCTNodules) -> None:
    finding = nodules.analyse(volume_of(body(radius_mm=17.0))).findings[0]
    assert (finding.kind, finding.label) == (terms.MASS, "Mass 1")


def test_a_nodule_that_the_scan_cuts_says_so_and_claims_no_height(nodules: ChestCTNodules) -> None:
    slab = body()[42:60]
    assert nodules.analyse(volume_of(slab)).findings[0].remarks == (CUT,)


def test_a_chest_without_marks_is_no_finding(nodules: ChestCTNodules) -> None:
    assert nodules.analyse(volume_of(chest())).outcome == Outcome.NO_FINDING


def test_without_lungs_it_is_not_analysed(nodules: ChestCTNodules) -> None:
    result = nodules.analyse(volume_of(np.full((20, 40, 40), 40, dtype=np.float32)))
    assert (result.outcome, result.reason) == (Outcome.NOT_ANALYSED, NO_LUNGS)


@pytest.mark.parametrize(
    ("axes", "steps"),
    [((0, 1, 2), (-1, 1, 1)), ((0, 1, 2), (1, -1, -1)), ((2, 0, 1), (1, -1, 1)), ((1, 0, 2), (1, 1, -1))],
)
def test_orientation_changes_nothing(
    nodules: ChestCTNodules, axes: tuple[int, int, int], steps: tuple[int, int, int]
) -> None:
    turned = turned_volume(volume_of(body()), axes, steps)
    finding = nodules.analyse(turned).findings[0]
    assert finding.laterality == terms.LEFT
    assert finding.centre_mm == pytest.approx(LEFT_LUNG[::-1], abs=1.3)
    assert finding.mask is not None
    assert np.array_equal(finding.mask.paste(turned.shape_kji), turned.array == NODULE_HU)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("steps", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_a_turn_gives_lps_axes_and_its_masks_come_back(axes: tuple[int, int, int], steps: tuple[int, int, int]) -> None:
    upright = Volume(np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.diag([1.0, 2, 3, 1]), "2.25.1", ())
    turned = turned_volume(upright, axes, steps)
    turn = turn_of(turned.affine)
    assert np.array_equal(turn(turned.array), upright.array)
    assert turn.spacing_mm(turned.spacing_mm) == (3.0, 2.0, 1.0)
    crop = (slice(1, 3), slice(0, 3), slice(2, 4))
    mask = turn.back(np.ones((2, 3, 2), dtype=np.bool_), (1, 0, 2), turned.shape_kji)
    assert set(turned.array[mask.paste(turned.shape_kji)]) == set(upright.array[crop].ravel())


def turned_volume(volume: Volume, axes: tuple[int, int, int], steps: tuple[int, int, int]) -> Volume:
    """Return the same voxels at the same places, stored along other axes and in other directions."""
    array = volume.array.transpose(axes)
    affine = volume.affine.copy()
    columns = volume.affine[:3, 2::-1][:, list(axes)]  # steps along the new k, j, i
    for axis, step in enumerate(steps):
        if step < 0:
            affine[:3, 3] += columns[:, axis] * (array.shape[axis] - 1)
    affine[:3, 2::-1] = columns * steps
    k, j, i = (slice(None, None, step) for step in steps)
    return Volume(np.ascontiguousarray(array[k, j, i]), affine, volume.frame_of_reference_uid, volume.source)


def test_it_cannot_run_without_weights() -> None:
    with pytest.raises(ValueError, match="without its weights"):
        load(None)


def test_the_phantom_tells_where_its_nodules_are() -> None:
    made = phantom(5)
    for lesion in made.lesions:
        k, j, i = np.rint(made.volume.index_kji(lesion.centre_mm)).astype(int)
        assert 0 <= k < made.volume.shape_kji[0]
        assert made.volume.array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].max() > -700


@pytest.fixture(scope="module")
def trained() -> ChestCTNodules:
    package = find("chest_ct_nodules")
    weights = package.manifest.weights
    if weights is None or not (package.folder / weights.file).is_file():
        missing("the trained weights of chest_ct_nodules")
    loaded = package.load()
    assert isinstance(loaded, ChestCTNodules)
    return loaded


def real(folder: Path) -> Volume:
    return read_volume(read_folder(folder)[0].series[0].instances)


@pytest.mark.parametrize("slab", ["lidc-0001", "lidc-0003"])
def test_the_readers_nodule_is_found_and_measured(trained: ChestCTNodules, shared_data: Path, slab: str) -> None:
    folder = shared_data / "ct" / slab
    volume = real(folder)
    truth = consensus(next(folder.glob("*.xml")), volume)[0]
    findings = trained.analyse(volume).findings
    overlap = [dice(finding.mask.paste(volume.shape_kji), truth) for finding in findings if finding.mask]
    assert overlap, "nothing was found"
    assert max(overlap) >= 0.6
    readers_mm = pipeline.measure(truth, volume.array, volume.spacing_mm).long_axis_mm
    assert findings[int(np.argmax(overlap))].value(terms.LONG_AXIS) == pytest.approx(readers_mm, rel=0.2)
    if slab == "lidc-0003":  # never trained on
        assert int(np.argmax(overlap)) == 0, "the nodule is the first mark"
        assert len(findings) <= 2


@pytest.mark.slow
def test_a_real_chest_has_at_most_three_marks(trained: ChestCTNodules, shared_data: Path) -> None:
    result = trained.analyse(real(shared_data / "ct" / "c3n-00247"))
    assert result.outcome == Outcome.FINDINGS
    assert len(result.findings) <= 3
    assert result.findings[0].laterality == terms.RIGHT  # its spiculated lesion lies low in the right lung


@pytest.mark.slow
def test_the_same_volume_gives_the_same_result(trained: ChestCTNodules, shared_data: Path) -> None:
    volume = real(shared_data / "ct" / "lidc-0003")
    assert _numbers(trained.analyse(volume)) == _numbers(trained.analyse(volume))


def _numbers(result: Result) -> list[Any]:
    return [
        (finding.probability, finding.centre_mm, tuple(measurement.value for measurement in finding.measurements))
        for finding in result.findings
    ]


def test_other_weights_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "chest_ct_nodules"
    folder.mkdir()
    manifest = Path(pipeline.__file__).with_name("manifest.yaml")
    (folder / "manifest.yaml").write_bytes(manifest.read_bytes())
    (folder / "weights.safetensors").write_bytes(b"other weights")
    with pytest.raises(PipelineError, match="SHA-256"):
        find(str(folder)).load()
