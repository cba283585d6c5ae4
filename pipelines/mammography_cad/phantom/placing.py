"""Who is imaged: four views of two breasts, the same lesions on both views of a breast."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipelines.mammography_cad.phantom.calcifications import Cluster, Grains, random_cluster
from pipelines.mammography_cad.phantom.detector import random_detector, random_look
from pipelines.mammography_cad.phantom.grids import Grid
from pipelines.mammography_cad.phantom.lesions import Mass, random_mass
from pipelines.mammography_cad.phantom.markers import random_marker
from pipelines.mammography_cad.phantom.outline import Outline, random_body, view_outline
from pipelines.mammography_cad.phantom.scene import Scene, at
from pipelines.mammography_cad.phantom.strands import vessels
from pipelines.mammography_cad.phantom.tissue import random_parenchyma

VIEWS = ("R CC", "L CC", "R MLO", "L MLO")
_Lesion = Mass | Cluster


@lru_cache(maxsize=16)
def scenes(
    seed: int,
    field_mm: tuple[float, float],
    lesions: int | None,
    density: str | None,
    views: tuple[str, ...] = VIEWS,
) -> tuple[Scene, ...]:
    """Return views of an exam, before they are drawn, in hanging order; each is the same whichever others are asked."""
    rng = np.random.default_rng([seed, 41])
    body = random_body(rng)
    tissue = random_parenchyma(rng, body.depth_mm, density)
    detector, look = random_detector(rng), random_look(rng)
    n = lesions if lesions is not None else int(rng.choice((0, 1, 2), p=(0.35, 0.45, 0.2)))
    wanted = [(str(rng.choice(("R", "L"))), _random_lesion(rng)) for _ in range(n)]
    far = [float(rng.uniform(0.2, 0.85)) for _ in wanted]
    found = []
    for k, name in enumerate(VIEWS):
        if name not in views:
            continue
        own = np.random.default_rng([seed, 42, k])
        outline = view_outline(own, body, name[2:], field_mm)
        placed: list[_Lesion] = []
        for (side, lesion), part in zip(wanted, far, strict=True):
            if side == name[0]:
                placed += _placed(own, lesion, part * body.depth_mm, outline, placed)
        seed_of = int(own.integers(2**31))
        harmless, spots = _nodes(own, outline), _harmless_spots(own, outline, seed_of)
        marker = random_marker(np.random.default_rng([seed, 43]), name, field_mm, body.depth_mm)
        found.append(
            Scene(name, seed_of, field_mm, outline, tissue, tuple(placed), harmless, spots, detector, look, marker)
        )
    return tuple(found)


def _random_lesion(rng: np.random.Generator) -> _Lesion:
    kind = str(rng.choice(("mass", "cluster", "distortion", "asymmetry"), p=(0.5, 0.36, 0.07, 0.07)))
    return random_cluster(rng) if kind == "cluster" else random_mass(rng, kind)


def _placed(
    rng: np.random.Generator, lesion: _Lesion, far_mm: float, outline: Outline, others: list[_Lesion]
) -> list[_Lesion]:
    """Return the lesion about `far_mm` from the nipple; nothing where it finds no room."""
    v, u = outline.nipple
    height = outline.grid.v_mm + outline.grid.shape[0] * outline.grid.step_mm + outline.grid.v_mm
    reach = min(lesion.radius_mm, 15.0)
    for _ in range(60):
        angle, far = rng.normal(0, 0.7), max(6.0 + reach, far_mm + rng.normal(0, 3))
        place = (v + far * np.sin(angle), u - far * np.cos(angle))
        here = Grid(1.0, place[0], place[1], (1, 1))
        deep = float(outline.inside(here)[0, 0])
        muscle = float(outline.in_muscle(here)[0, 0])
        within = reach < place[0] < height - reach and place[1] > reach + 2
        free = all(np.hypot(place[0] - o.at[0], place[1] - o.at[1]) > reach + o.radius_mm + 5 for o in others)
        if within and free and deep > reach + 3 and muscle < -2:
            return [at(lesion, place, float(angle), int(rng.integers(2**31)))]
    return []


def _nodes(rng: np.random.Generator, outline: Outline) -> tuple[Mass, ...]:
    """Return lymph nodes near the armpit: oval, circumscribed, no lesions."""
    if outline.pectoral is None or rng.random() < 0.4:
        return ()
    length, width = outline.pectoral
    found = []
    for _ in range(int(rng.integers(1, 4))):
        v = rng.uniform(5, 0.35 * length)
        place = (v, width * (1 - v / length) + rng.normal(4, 8))
        radius, seed = float(rng.uniform(2, 5.5)), int(rng.integers(2**31))
        found.append(Mass("mass", "oval", "circumscribed", "low", False, place, radius, seed))
    return tuple(found)


def _harmless_spots(rng: np.random.Generator, outline: Outline, seed: int) -> tuple[Grains, ...]:
    """Return single round calcifications, and tram tracks along a vessel."""
    v, u = outline.nipple
    n = int(rng.integers(0, 6))
    spread = np.array([0.6 * outline.body.half_height_mm, 0.5 * u])
    places = np.array([v, 0.5 * u]) + rng.uniform(-0.8, 0.8, (n, 2)) * spread
    size = rng.uniform(0.3, 1.6, n)
    single = Grains(places, size, np.ones(n), np.zeros(n), 9 * np.sqrt(size / 0.35))
    lines = vessels(seed, outline)
    if rng.random() > 0.12 or not lines:
        return (single,)
    line = max(lines, key=lambda each: each.width_mm)
    pick = np.sort(rng.integers(1, len(line.points) - 1, 3 * len(line.points)))
    way = line.points[pick + 1] - line.points[pick - 1]
    across = np.stack([-way[:, 1], way[:, 0]], axis=1) / np.linalg.norm(way, axis=1, keepdims=True)
    sign = rng.choice((-0.5, 0.5), len(pick))[:, None] * line.width_mm
    at_wall = line.points[pick] + across * sign + rng.normal(0, 0.1, across.shape)
    m = len(pick)
    angle = np.arctan2(way[:, 0], way[:, 1])
    return single, Grains(at_wall, rng.uniform(0.2, 0.45, m), rng.uniform(2, 4, m), angle, rng.uniform(2, 7, m))
