"""A four-view exam on disk and what a CAD might say of it, for the tests of the Mammography CAD SR."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pacsai import terms
from pacsai.finding import Provenance, Result
from pacsai.objects.cad_sr import Composite, Composition, Exam, Kind, Mark, Relation, Run, Status, exam_image
from pacsai.objects.source import Source
from pacsai.study import Series, Study
from pacsai.terms import Code
from pacsai.wrap import About, wrap
from tests.objects.samples import NOW
from tests.phantoms import edit, instances

VIEWS = ("R CC", "L CC", "R MLO", "L MLO")
SHAPES = {"R CC": (240, 180), "L CC": (250, 190), "R MLO": (260, 200), "L MLO": (270, 210)}
"""Rows and columns, different for each view, so that a mark on the wrong image shows."""
ORIENTATIONS = {"R CC": ("P", "L"), "L CC": ("A", "R"), "R MLO": ("P", "FL"), "L MLO": ("A", "FR")}
PROVENANCE = Provenance(
    pipeline="mammography_cad",
    version="1.0.0",
    model_digest="d" * 64,
    inputs_digest="e" * 64,
    configuration_digest="f" * 64,
)

OVAL = Code("84360004", "SCT", "Ovoid shape (Oval)")
SPICULATED = Code("129742005", "SCT", "Spiculated lesion")
INDISTINCT = Code("129741003", "SCT", "Indistinct lesion")
HIGH_DENSITY = Code("129744006", "SCT", "High density lesion")
PLEOMORPHIC = Code("111344", "DCM", "Fine pleomorphic calcification")
GROUPED = Code("129766004", "SCT", "Grouped calcification distribution")

DETECTIONS = (terms.BREAST_DENSITY, terms.CALCIFICATION_CLUSTER, terms.ARCHITECTURAL_DISTORTION)
ANALYSES = (terms.SPATIAL_COLLOCATION, terms.ASYMMETRY_ANALYSIS)


def result() -> Result:
    """Return a signed result of the analysis; the findings themselves stand in the exam."""
    return Result.of(()).signed(PROVENANCE)


def four_views(folder: Path, **header: Any) -> Source:
    """Write R CC, L CC, R MLO and L MLO, each a series of its own, and return them in this order."""
    paths = []
    for number, name in enumerate(VIEWS, start=1):
        side, view = name.split()
        Image.fromarray(np.full(SHAPES[name], 20 * number, dtype=np.uint8)).save(folder / f"{side}{view}.png")
        about = About(
            patient_id="P1",
            patient_name="Müller^Änne",
            study="exam",
            laterality=side,
            view=view,
            series_number=number,
            spacing_mm=(0.1, 0.1),
            patient_orientation=ORIENTATIONS[name],
            acquired=NOW.replace(year=2025),
        )
        paths += wrap([folder / f"{side}{view}.png"], "MG", folder / "out", about)
    for path in paths:
        edit(
            path,
            **{
                "SpecificCharacterSet": "ISO_IR 100",
                "PatientSex": "F",
                "AccessionNumber": "A1",
                "StudyID": "1",
                **header,
            },
        )
    return source_of(instances(paths))


def source_of(images: tuple[Any, ...]) -> Source:
    """Return mammograms, each of a series of its own, as the source of result objects."""
    first = images[0].header
    series = tuple(Series(image.header.SeriesInstanceUID, "MG", (image,)) for image in images)
    study = Study(first.StudyInstanceUID, first.PatientID, first.get("AccessionNumber", ""), series)
    return Source(study=study, instances=images, volume=None, now=NOW)


def uid(source: Source, view: str) -> str:
    """Return the SOP Instance UID of a view such as "L CC"."""
    return source.instances[VIEWS.index(view)].sop_instance_uid


def mass(source: Source, view: str, centre: tuple[float, float], number: int, **changes: Any) -> Mark:
    """Return a described mass with an outline of four corners."""
    column, row = centre
    outline = ((column - 8, row - 5), (column + 9, row - 6), (column + 7, row + 6), (column - 7, row + 5))
    values = {
        "image": uid(source, view),
        "kind": Kind.MASS,
        "centre": centre,
        "outline": outline,
        "probability": 0.734,
        "certainty": 0.9,
        "label": f"Mass {number}",
        "tracking_uid": PROVENANCE.uid(f"finding {number}"),
        "shape": OVAL,
        "margins": (INDISTINCT, SPICULATED),
        "density": HIGH_DENSITY,
        "size_mm": 11.26,
    }
    return Mark(**(values | changes))  # type: ignore[arg-type]


def cluster(source: Source, view: str, centre: tuple[float, float], number: int, **changes: Any) -> Mark:
    """Return a described cluster of calcifications, without outline."""
    values = {
        "image": uid(source, view),
        "kind": Kind.CALCIFICATIONS,
        "centre": centre,
        "probability": 0.41,
        "label": f"Calcifications {number}",
        "tracking_uid": PROVENANCE.uid(f"finding {number}"),
        "morphologies": (PLEOMORPHIC,),
        "distribution": GROUPED,
        "count": 12,
        "size_mm": 6.0,
    }
    return Mark(**(values | changes))  # type: ignore[arg-type]


def composite(kind: Code, number: int, *marks: Mark, **changes: Any) -> Composite:
    """Return marks that are one thing."""
    values = {
        "kind": kind,
        "marks": marks,
        "probability": max(mark.probability for mark in marks),
        "label": f"Lesion {number}",
        "tracking_uid": PROVENANCE.uid(f"composite {number}"),
    }
    return Composite(**(values | changes))  # type: ignore[arg-type]


def runs(source: Source, kinds: tuple[Code, ...], status: Status = Status.SUCCEEDED) -> tuple[Run, ...]:
    """Return that each of `kinds` was tried on all four views."""
    everywhere = tuple(image.sop_instance_uid for image in source.instances)
    return tuple(Run(kind=kind, status=status, images=everywhere, algorithm=f"{kind.meaning} v1") for kind in kinds)


def normal(source: Source) -> Exam:
    """Return an exam in which everything was tried and nothing was found."""
    return Exam(
        images=tuple(exam_image(instance.header) for instance in source.instances),
        detections=runs(source, DETECTIONS),
        analyses=runs(source, ANALYSES),
        case_score=0.03,
    )


def abnormal(source: Source) -> Exam:
    """Return an exam with a mass and a cluster on both left views, an asymmetry, a distortion and a lone mass."""
    plain = {"shape": None, "margins": (), "density": None}
    findings = (
        composite(
            terms.BREAST_MASS, 1, mass(source, "L CC", (60.0, 100.0), 1), mass(source, "L MLO", (70.5, 120.25), 2)
        ),
        composite(
            terms.CALCIFICATION_CLUSTER,
            2,
            cluster(source, "L CC", (33, 44), 3),
            cluster(source, "L MLO", (44, 55), 4, outline=((40, 50), (50, 50), (45, 60))),
        ),
        composite(
            terms.ASYMMETRIC_TISSUE,
            3,
            mass(source, "R CC", (90, 80), 5, kind=Kind.ASYMMETRY, label="Asymmetry 5", **plain),
            mass(source, "L CC", (80, 70), 6, kind=Kind.ASYMMETRY, label="Asymmetry 6", size_mm=None, **plain),
            relation=Relation.CONTRALATERAL,
        ),
        mass(source, "R MLO", (100, 150), 7, kind=Kind.DISTORTION, label="Distortion 7", outline=(), **plain),
        mass(source, "R MLO", (0, 0), 8, outline=(), size_mm=None),
    )
    compositions = (
        Composition(laterality=terms.RIGHT_BREAST, category=terms.SCATTERED_DENSITIES, percent=21.44),
        Composition(laterality=terms.LEFT_BREAST, category=terms.HETEROGENEOUSLY_DENSE, percent=33.0),
    )
    return replace(
        normal(source), findings=findings, compositions=compositions, case_score=0.8, remarks=("No prior exam.",)
    )
