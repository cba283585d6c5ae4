"""Tumours painted into brains: an enhancing rim or mass, necrosis, oedema along white matter, tissue pushed aside.

Images are float32 [4, k, j, i] in the order of `net.SEQUENCES`, in robust spreads of the brain; tissues are shares
[3, k, j, i] of fluid, grey and white matter. Works on grids of any (cubic) voxel: lengths are given in voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from pipelines.brain_lesions.fields import Array, Bools, blurred, smooth_noise
from pipelines.brain_lesions.painting import FLAIR, T1, T1C, T2

LEAST_MM, MOST_MM = 5.0, 60.0
"""Diameters of the mass, without its oedema."""
NO_RIM_MM = 12.0
"""Smaller than this nothing has a necrotic middle."""


class Kind(StrEnum):
    """What tumours look like, not what they are."""

    RING = "a rim that enhances around necrosis"
    SOLID = "enhancing throughout"
    PATCHY = "enhancing here and there"
    DARK = "not enhancing"
    DURAL = "enhancing, on the brain's surface, pushing it in"


SHARES = {Kind.RING: 0.34, Kind.SOLID: 0.22, Kind.PATCHY: 0.18, Kind.DARK: 0.10, Kind.DURAL: 0.16}


@dataclass(frozen=True, slots=True)
class Tumour:
    """One tumour, not yet painted.

    Attributes
    ----------
    kind : Kind
    radius, rim, reach : float
        Of the mass; of its rim's thickness; how far its oedema reaches (0: none). Voxels.
    stretch : (k, j, i)
        Radii as parts of `radius`.
    push : float
        How much of its radius it made for itself by pushing, 0 to 1.
    rough : float
        How uneven its border is.
    """

    kind: Kind
    radius: float
    rim: float
    reach: float
    stretch: tuple[float, float, float]
    push: float
    rough: float


def random_tumour(rng: np.random.Generator, voxel_mm: float) -> Tumour:
    """Return a tumour of `LEAST_MM` to `MOST_MM`."""
    kind = Kind(rng.choice([str(kind) for kind in SHARES], p=list(SHARES.values())))
    least = {Kind.RING: NO_RIM_MM, Kind.PATCHY: NO_RIM_MM, Kind.DARK: 15.0}.get(kind, LEAST_MM)
    across = float(np.exp(rng.uniform(np.log(least), np.log(MOST_MM))))
    a, b, c = (float(v) for v in rng.uniform(0.75, 1.3, 3))
    reach = float(rng.uniform(3, 10 + 0.4 * across)) if rng.random() < (0.5 if kind is Kind.DURAL else 0.85) else 0.0
    return Tumour(
        kind=kind,
        radius=across / 2 / voxel_mm,
        rim=min(float(rng.uniform(1.5, 7.0)), across / 5) / voxel_mm,
        reach=0.0 if kind is Kind.DARK else reach / voxel_mm,
        stretch=(a, b, c),
        push=float(rng.uniform(0.5, 0.9) if kind is Kind.DURAL else rng.uniform(0.0, 0.6)),
        rough=float(rng.uniform(0.0, 0.15) if kind is Kind.DURAL else rng.uniform(0.1, 0.45)),
    )


def pushed(at: Array, middle: Array, tumour: Tumour) -> Array:
    """Return from where in the brain each place comes once the tumour has pushed tissue aside.

    Parameters
    ----------
    at : float32 [3, k, j, i]
        Places (k, j, i) before.
    middle : float32 [3]
        The tumour's, among them. Tissue keeps its volume: what lay at r lies where r^3 is larger by what was pushed.
    """
    away = at - middle.reshape(3, 1, 1, 1)
    far = np.sqrt((away**2).sum(axis=0)) + np.float32(1e-3)
    made = np.float32(tumour.push * tumour.radius)
    nearer = np.cbrt(np.clip(1 - (made / far) ** 3, 0.02, 1))
    return np.asarray(middle.reshape(3, 1, 1, 1) + away * nearer, dtype=np.float32)


def painted_tumour(
    rng: np.random.Generator, images: Array, tissues: Array, inside: Bools, middle: Array, tumour: Tumour
) -> tuple[Array, Bools]:
    """Return the images with a tumour, and its parts.

    Parameters
    ----------
    inside : bool [k, j, i]
        The brain; nothing is painted elsewhere.
    middle : float [3]
        Index (k, j, i) of the tumour's middle, which may lie outside of the arrays.

    Returns
    -------
    images : float32 [4, k, j, i]
    parts : bool [3, k, j, i]
        Enhancing; necrotic; oedema, which holds tumour that neither enhances nor is necrotic.
    """
    depth = _depth(rng, tissues, inside, middle, tumour)
    mass = depth > 0
    enhancing, necrotic = _parts(rng, depth, mass, tumour)
    around = _oedema(rng, tissues, mass, tumour) & inside & ~mass
    oedema = around | (mass & ~enhancing & ~necrotic)
    parts = np.stack([enhancing, necrotic, oedema])
    return _seen(rng, images, tissues, parts, tumour), parts


def _depth(rng: np.random.Generator, tissues: Array, inside: Bools, middle: Array, tumour: Tumour) -> Array:
    """Return how many voxels deep in the mass each voxel lies, negative outside."""
    shape = inside.shape
    away = np.indices(shape, dtype=np.float32) - middle.reshape(3, 1, 1, 1).astype(np.float32)
    radii = (np.array(tumour.stretch) * tumour.radius).reshape(3, 1, 1, 1)
    gap = np.sqrt(((away / radii) ** 2).sum(axis=0))
    coarse, fine = (smooth_noise(rng, shape, max(2.0, tumour.radius * part)) for part in (0.9, 0.4))
    gap = gap + np.float32(tumour.rough) * (0.7 * coarse + 0.4 * fine) * np.clip(gap, 0, 1)
    wide_fluid = blurred(tissues[0], 1.5) > 0.6  # ventricles stop it, folds do not
    barred = ~inside | (wide_fluid & (tumour.kind is not Kind.DURAL))
    return np.where(barred, -1.0, (1 - gap) * tumour.radius).astype(np.float32)


def _parts(rng: np.random.Generator, depth: Array, mass: Bools, tumour: Tumour) -> tuple[Bools, Bools]:
    """Return what of the mass enhances, and what is necrotic."""
    noise = smooth_noise(rng, mass.shape, max(1.5, tumour.radius * 0.35))
    nothing = np.zeros_like(mass)
    if tumour.kind is Kind.DARK:
        spots = mass & (noise > 1.6) if rng.random() < 0.2 else nothing
        return spots, nothing
    if tumour.kind is Kind.RING:
        shell = depth < tumour.rim * (1 + 0.5 * noise)
        gaps = smooth_noise(rng, mass.shape, max(2.0, tumour.radius)) > rng.uniform(1.0, 2.5)
        return mass & shell & ~gaps, mass & ~shell
    if tumour.kind is Kind.PATCHY:
        level = float(rng.uniform(-0.6, 0.5))
        dead = mass & (noise < level - rng.uniform(0.2, 1.5)) & (depth > 1)
        return mass & (noise > level), dead
    holes = mass & (noise > rng.uniform(1.2, 3.0)) & (depth > tumour.rim)
    return mass & ~holes, holes


def _oedema(rng: np.random.Generator, tissues: Array, mass: Bools, tumour: Tumour) -> Bools:
    """Return where oedema spreads: near the mass, along white matter, in fingers between the folds."""
    if tumour.reach == 0 or not mass.any():
        return np.zeros_like(mass)
    far = ndimage.distance_transform_edt(~mass)
    uneven = 1 + 0.5 * smooth_noise(rng, mass.shape, max(2.0, tumour.reach))
    white = np.clip(1.5 * blurred(tissues[2], 0.6) + 0.2 * blurred(tissues[1], 0.6) - 0.3, 0, 1)
    return np.asarray((far < tumour.reach * uneven * white) & (white > 0.3), dtype=np.bool_)


def _seen(rng: np.random.Generator, images: Array, tissues: Array, parts: Bools, tumour: Tumour) -> Array:
    """Return the images with the parts as each sequence shows them."""
    out = images.copy()
    levels = _levels(rng, images, tissues)
    soft = float(rng.uniform(0.3, 0.7))
    order = (2, 1, 0)  # what enhances comes last: its border is the sharpest
    for part in order:
        if not parts[part].any():
            continue
        wide = soft * (2.0 if part == 2 else 1.0)
        share = np.clip(blurred(parts[part].astype(np.float32), wide) * 1.15, 0, 1)
        texture = smooth_noise(rng, share.shape, max(1.5, tumour.radius * 0.3))
        keeps = np.float32(rng.uniform(0.1, 0.5) if part == 2 else rng.uniform(0.0, 0.15))
        for n in range(4):
            uneven = levels[part, n] + np.float32(0.15 * abs(levels[part, n]) + 0.1) * texture
            wanted = uneven + keeps * (images[n] - np.float32(levels[3, n]))
            out[n] += share * (wanted - out[n])
    return _bled(rng, out, parts)


def _levels(rng: np.random.Generator, images: Array, tissues: Array) -> Array:
    """Return signals [4, sequence] of enhancing part, necrosis, oedema and of normal white matter."""
    white = tissues[2] > 0.7
    plain = np.array([np.median(image[white]) if white.sum() > 20 else 0.0 for image in images])
    water = float(rng.uniform(0.5, 1.3))
    uptake = float(np.clip(rng.lognormal(1.35, 0.5), 1.2, 11))
    # cellular tumour is a little bright on T2; necrosis is like fluid, with or without protein in it
    enhancing = {FLAIR: rng.uniform(0.3, 2.5), T1: rng.uniform(-1.5, -0.2), T1C: uptake, T2: rng.uniform(0.2, 2.5)}
    dark = rng.uniform(-2.8, -1.0)
    necrotic = {FLAIR: rng.uniform(-2.5, 3.0), T1: dark, T1C: dark + rng.uniform(-0.3, 0.8), T2: rng.uniform(2.0, 5.5)}
    pale = -rng.uniform(0.5, 1.4) * water
    oedema = {FLAIR: rng.uniform(1.5, 4.0) * water, T1: pale, T1C: 1.05 * pale, T2: rng.uniform(1.2, 3.2) * water}
    rows = [[float(plain[n] + part[n]) for n in range(4)] for part in (enhancing, necrotic, oedema)]
    return np.array([*rows, list(plain)], dtype=np.float32)


def _bled(rng: np.random.Generator, images: Array, parts: Bools) -> Array:
    """Return the images with, now and then, old blood in the mass: bright on T1 before contrast too."""
    if rng.random() < 0.1:
        blood = np.clip(smooth_noise(rng, parts.shape[1:], 4.0) - 0.8, 0, 1) * (parts[0] | parts[1])
        for n, change in ((T1, rng.uniform(1, 4)), (T1C, rng.uniform(0, 1.5)), (T2, rng.uniform(-3, 2))):
            images[n] += blood * np.float32(change)
    return images
