"""Small pipelines for tests: real folders that keep the contract, and some that break it on purpose."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

MANIFEST = """\
name: {name}
version: 1.2.3
title: Bright balls
accepts: {{Modality: CT, instances: {{min: 3}}}}
input: volume
weights: {{file: weights.safetensors, sha256: {sha256}, architecture: one threshold}}
resources: {{memory_gb: {memory_gb}, timeout_s: {timeout_s}}}
writes: [SEG, SR, GSPS]
intended_use: research
"""

CODE = """
import os, signal, time
import numpy as np
from safetensors.numpy import load_file
from scipy import ndimage
from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement, Result
from pacsai.pipeline import Lesion, Phantom
from pacsai.volume import Volume

class Balls:
    def __init__(self, threshold_hu):
        self.threshold_hu = threshold_hu

    def analyse(self, volume):
        {misbehave}
        labels, count = ndimage.label(volume.array > self.threshold_hu)
        findings = tuple(self._finding(volume, labels == n, n) for n in range(1, count + 1))
        return Result.of(findings)

    def _finding(self, volume, mask, number):
        where = ndimage.find_objects(mask.astype(int))[0]
        kji = ndimage.center_of_mass(mask)
        long_axis_mm = float((where[2].stop - where[2].start) * volume.spacing_mm[2])
        return Finding(
            kind=terms.NODULE, site=terms.LUNG, label=f"Ball {{number}}", probability=0.9,
            centre_mm=tuple(float(c) for c in volume.world_mm(kji)),
            mask=Mask(mask[where], tuple(s.start for s in where)),
            measurements=(
                Measurement(terms.LONG_AXIS, long_axis_mm, terms.MM),
                Measurement(terms.SHORT_AXIS, long_axis_mm, terms.MM),
                Measurement(terms.VOLUME, float(mask.sum() * np.prod(volume.spacing_mm)), terms.MM3),
                Measurement(terms.ATTENUATION, float(volume.array[mask].mean()), terms.HU),
            ),
        )

def load(weights):
    threshold = load_file(weights)["threshold_hu"]
    if threshold.shape != (1,):
        raise ValueError(f"threshold_hu has shape {{threshold.shape}}, expected (1,)")
    return Balls(float(threshold[0]))

def phantom(seed, full=False):
    array = np.full((8, 32, 32), -800, np.float32)
    array[3:5, 10:14, 20:24] = 50
    volume = Volume(array=array, affine=np.eye(4), frame_of_reference_uid="2.25.1", source=())
    return Phantom(volume, (Lesion((21.5, 11.5, 3.5), 4.0, "solid"),))
"""


def toy_pipeline(
    parent: Path, *, name: str = "balls", misbehave: str = "pass", timeout_s: float = 60, memory_gb: float = 4
) -> Path:
    """Write a pipeline folder that marks every region above -200 HU; `misbehave` is a line that runs first."""
    folder = parent / name
    folder.mkdir(parents=True)
    digest = toy_weights(folder, np.array([-200], dtype=np.float32))
    manifest = MANIFEST.format(name=name, sha256=digest, timeout_s=timeout_s, memory_gb=memory_gb)
    (folder / "manifest.yaml").write_text(manifest, encoding="utf-8")
    (folder / "pipeline.py").write_text(CODE.format(misbehave=misbehave), encoding="utf-8")
    return folder


def toy_weights(folder: Path, threshold_hu: np.ndarray) -> str:
    """Write the toy's weights and return their SHA-256."""
    path = folder / "weights.safetensors"
    save_file({"threshold_hu": threshold_hu}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


SEQUENCES_MANIFEST = """\
name: {name}
version: 1.2.3
title: Bright spots
accepts: {{Modality: MR, instances: {{min: 3}}}}
input: volumes
sequences: {sequences}
writes: [SEG, SR]
intended_use: research
"""

SEQUENCES_CODE = """
from datetime import date
import numpy as np
from scipy import ndimage
from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement, Result
from pacsai.pipeline import Lesion, Phantom
from pacsai.sequences import Sequences
from pacsai.volume import Volume

class Spots:
    def analyse(self, sequences):
        volume = sequences.volumes[sequences.reference]
        labels, count = ndimage.label(volume.array > 900)
        told = ["sequences: " + ", ".join(sequences.volumes)]
        if prior := sequences.prior:
            told.append(f"prior of {prior.study_date}: {', '.join(prior.volumes)}; known: {len(prior.known)}")
        findings = tuple(self._finding(volume, labels == n, n, prior) for n in range(1, count + 1))
        return Result.of(findings, remarks=tuple(told))

    def _finding(self, volume, mask, number, prior):
        where = ndimage.find_objects(mask.astype(int))[0]
        centre = tuple(float(c) for c in volume.world_mm(ndimage.center_of_mass(mask)))
        near = [k for k in (prior.known if prior else ()) if np.linalg.norm(np.subtract(k.centre_mm, centre)) < 5]
        return Finding(
            kind=terms.NODULE, site=terms.LUNG, label=f"Spot {number}", probability=0.9, centre_mm=centre,
            mask=Mask(mask[where], tuple(s.start for s in where)),
            tracking_uid=near[0].tracking_uid if near else "",
            measurements=(Measurement(terms.VOLUME, float(mask.sum() * np.prod(volume.spacing_mm)), terms.MM3),),
        )

def load(weights):
    return Spots()

def phantom(seed, full=False):
    array = np.full((8, 32, 32), 100, np.float32)
    array[3:5, 10:14, 20:24] = 1000
    volume = Volume(array=array, affine=np.eye(4), frame_of_reference_uid="2.25.1", source=())
    return Phantom(volume, (Lesion((21.5, 11.5, 3.5), 4.0, "spot"),), Sequences({"FLAIR": volume}, "FLAIR"))
"""


def toy_sequences_pipeline(
    parent: Path,
    *,
    name: str = "spots",
    sequences: str = "{FLAIR: required, T1: optional, T1C: optional, T2: optional}",
) -> Path:
    """Write a pipeline folder that marks every region of FLAIR above 900, and says what it was given."""
    folder = parent / name
    folder.mkdir(parents=True)
    manifest = SEQUENCES_MANIFEST.format(name=name, sequences=sequences)
    (folder / "manifest.yaml").write_text(manifest, encoding="utf-8")
    (folder / "pipeline.py").write_text(SEQUENCES_CODE, encoding="utf-8")
    return folder
