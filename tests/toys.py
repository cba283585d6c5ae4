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


EXAM_MANIFEST = """\
name: {name}
version: 1.2.3
title: Bright dots
accepts: {{Modality: MG}}
input: images
writes: [CADSR, SR, GSPS, SC, KO]
intended_use: research
prior: {prior}
"""

EXAM_CODE = """
import numpy as np
from scipy import ndimage
from pacsai import terms
from pacsai.exam import Exam, View
from pacsai.finding import Finding, Measurement, Result
from pacsai.pipeline import ExamLesion, ExamPhantom
from pacsai.reading import Attempt, BreastDensity, Joined, Reading, Spot

MASS, CALCIFICATIONS = terms.BREAST_MASS, terms.CALCIFICATION_CLUSTER

class Dots:
    def analyse(self, exam):
        if any((view.array > 0.02).mean() < 0.02 for view in exam.views):
            return Result.not_analysed("an image shows no breast")
        findings = tuple(finding for view in exam.views for finding in self._of(view))
        masses = tuple(n for n, one in enumerate(findings) if one.kind == MASS)
        reading = Reading(
            detections=tuple(Attempt(kind=kind) for kind in (terms.BREAST_DENSITY, CALCIFICATIONS)),
            analyses=(Attempt(kind=terms.SPATIAL_COLLOCATION, algorithm="same place"),) if len(masses) == 2 else (),
            joined=(Joined(kind=MASS, members=masses, probability=0.8, label="Lesion 1"),) if len(masses) == 2 else (),
            densities=(BreastDensity(laterality="L", category=terms.SCATTERED_DENSITIES, percent=21.4),),
            case_score=max((one.probability for one in findings), default=0.03),
            assessment=terms.BI_RADS_4 if findings else terms.BI_RADS_1,
        )
        told = ["views: " + ", ".join(view.name for view in exam.views)]
        told += [f"prior views: {', '.join(v.name for v in exam.prior.views)}"] if exam.prior else []
        return Result.of(findings, tuple(told), reading)

    def every_candidate(self):
        return self

    def _of(self, view):
        labels, count = ndimage.label(view.array > 0.97)
        boxes = ndimage.find_objects(labels)
        for n in range(1, count + 1):
            (top, bottom), (left, right) = ((s.start, s.stop) for s in boxes[n - 1])
            area = int((labels == n).sum())
            around = view.array[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3]
            if area < 4 or np.median(around[around < 0.97]) > 0.8:
                continue
            mass = area > 30
            centre = tuple(float(c) for c in ndimage.center_of_mass(labels == n))
            (t, b), (l, r) = (top - 0.5, bottom - 0.5), (left - 0.5, right - 0.5)
            corners = ((t, l), (t, r), (b, r), (b, l))
            long_axis_mm = (right - left) * view.spacing_mm[1] if view.spacing_mm else None
            size = (Measurement(terms.LONG_AXIS, long_axis_mm, terms.MM),) if long_axis_mm else ()
            count_of = () if mass else (Measurement(terms.NUMBER_OF_CALCIFICATIONS, 3, terms.NO_UNITS),)
            yield Finding(
                kind=MASS if mass else CALCIFICATIONS,
                label=f"{'Mass' if mass else 'Calcifications'} {view.name}",
                probability=0.7 if mass else 0.4,
                on=Spot(view.name, centre, corners if mass else ()),
                site=terms.LEFT_BREAST if view.laterality == "L" else terms.RIGHT_BREAST,
                measurements=(*size, *count_of),
            )

def load(weights):
    return Dots()

def phantom(seed, full=False):
    array = np.full((60, 40), 0.4, np.float32)
    array[20:28, 10:18] = 1
    view = View("L CC", "L", "CC", array, (0.1, 0.1), False, None, None)
    return ExamPhantom(Exam((view,)), (ExamLesion("L CC", (23.5, 13.5), 5.7, "mass", True),))
"""


def toy_exam_pipeline(parent: Path, *, name: str = "dots", prior: bool = False) -> Path:
    """Write a pipeline folder that marks bright dots of mammograms: large ones as masses, small ones as clusters."""
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text(EXAM_MANIFEST.format(name=name, prior=str(prior).lower()), encoding="utf-8")
    (folder / "pipeline.py").write_text(EXAM_CODE, encoding="utf-8")
    return folder
