"""`pacsai analyse`, `evaluate`, `wrap`: the researcher's commands, on folders, without a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.box import SIMPLE
from rich.table import Table

from pacsai.cli.common import CommandError, JsonOption, errors, out, print_json, told_plainly
from pacsai.pipeline import Condition, Manifest

if TYPE_CHECKING:
    from pacsai.study import Study

AcceptOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Change an acceptance rule for a trial, e.g. instances.min=1."),
]
DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
FOLDER = "A folder with the DICOM files of one study, or of two of one patient for a pipeline that compares them."
Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="A pipeline's name, or the path of its folder.")]


def analyse(
    pipeline: Pipeline,
    folder: Annotated[Path, typer.Argument(help=FOLDER, exists=True)],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the objects and report.json go.")],
    accept: AcceptOption = None,
    result: Annotated[list[str] | None, typer.Option(help="Kinds of objects: SEG, SR, GSPS, SC, KO, CADSR.")] = None,
    study: Annotated[str | None, typer.Option(help="Which study, where the folder holds several.")] = None,
    json: JsonOption = False,
) -> None:
    """Analyse a folder of DICOM offline, without a node, and write the result objects.

    Every analysis ends in one of: findings, no finding, not analysed (with the reason).
    """
    from pacsai.child import memory_limit, save
    from pacsai.flow import Order, analyse_study
    from pacsai.objects.common import Author
    from pacsai.registry import find
    from pacsai.study.reading import read_folder

    with told_plainly(), ExitStack() as limits:
        package = find(pipeline)
        limits.enter_context(memory_limit(package.manifest.resources.memory_gb))
        accepts = relaxed(package.manifest.accepts, accept or [])
        results = tuple(kind.upper() for kind in result) if result else package.manifest.writes
        order = Order(
            package=package,
            accepts=accepts,
            results=results,
            author=Author(title=package.manifest.title),
            folder=out_folder,
            now=datetime.now(UTC),
        )
        with errors.status("reading headers ..."):
            studies = read_folder(folder)
        pair = _current_and_prior(studies, study, package.manifest)
        if pair is None:
            _tell_no_study(folder, [one.study_instance_uid for one in studies], package.name, json)
            return
        current, order = pair[0], replace(order, prior=pair[1], remarks=_of_several(studies, pair))
        with errors.status(f"{package.name} analyses {len(current.instances)} images ..."):
            report = save(analyse_study(current, order), out_folder)
    print_json(report) if json else print_report(report)


def _current_and_prior(
    studies: Sequence[Study], uid: str | None, manifest: Manifest
) -> tuple[Study, Study | None] | None:
    """Return the study to be analysed and its prior, None where that is not clear."""
    from pacsai.comparison import latest_two

    if manifest.sequences or (manifest.input == "images" and manifest.prior):
        return latest_two(studies, uid)
    wanted = [one for one in studies if uid in (None, one.study_instance_uid)]
    return (wanted[0], None) if len(wanted) == 1 else None


def _of_several(studies: Sequence[Study], pair: tuple[Study, Study | None]) -> tuple[str, ...]:
    """Return what to say where the folder holds more studies than are looked at."""
    if pair[1] is None or len(studies) <= len(pair):
        return ()
    return (f"of {len(studies)} studies in the folder the analysed one and the one before it were looked at",)


def evaluate(
    pipeline: Pipeline,
    studies: Annotated[Path, typer.Option(help="A folder of studies, one folder each.", exists=True)],
    truth: Annotated[
        Path,
        typer.Option(
            help="CSV: seriesuid,coordX,coordY,coordZ,diameter_mm, for exams of images "
            "sop_instance_uid,x,y,radius,kind,malignant; or a folder of masks named by patient or study.",
            exists=True,
        ),
    ],
    excluded: Annotated[Path | None, typer.Option(help="Findings that count neither as hit nor as false.")] = None,
    accept: AcceptOption = None,
    plot: Annotated[Path | None, typer.Option(help="Write the FROC curve as a PNG.")] = None,
    json: JsonOption = False,
) -> None:
    """Score a pipeline: against a table of places by the LUNA16 protocol, against a folder of masks by overlap."""
    from pacsai.evaluate import evaluate_folder
    from pacsai.evaluate.exams import evaluate_exams
    from pacsai.evaluate.segmenting import evaluate_masks
    from pacsai.registry import find

    with told_plainly(), errors.status("reading headers ...") as status:
        package = find(pipeline)
        accepts = relaxed(package.manifest.accepts, accept or [])
        exams = package.manifest.input == "images"
        if (truth.is_dir() or exams) and (excluded or plot):
            raise CommandError("--excluded and --plot go with a table of places in volumes")
        if exams:
            scores = evaluate_exams(package, studies, truth, accepts=accepts, tell=status.update)
        elif truth.is_dir():
            scores = evaluate_masks(package, studies, truth, accepts=accepts, tell=status.update)
        else:
            scores = evaluate_folder(
                package, studies, truth, accepts=accepts, excluded=excluded, plot=plot, tell=status.update
            )
    if json:
        print_json(scores)
    else:
        tables = _exam_tables if exams else _overlap_table if truth.is_dir() else _froc_table
        out.print(tables(pipeline, scores))


def _froc_table(pipeline: str, scores: dict[str, Any]) -> Table:
    table = Table("false marks per scan", "sensitivity", title=f"{pipeline}: CPM {scores['cpm']:.3f}")
    for rate, sensitivity in zip(scores["fp_per_scan"], scores["sensitivity"], strict=True):
        table.add_row(f"{rate:g}", f"{sensitivity:.3f}")
    return table


def _exam_tables(pipeline: str, scores: dict[str, Any]) -> Table:
    areas = (f"{name} AUC {_cell(scores[f'{name}_auc']['auc'], 3) or 'not known'}" for name in ("image", "exam"))
    table = Table("lesions", "number", title=f"{pipeline}: {', '.join(areas)}")
    for rate in scores["fp_per_image"]:
        table.add_column(f"at {rate:g} false marks per image")
    for name, row in {"all": scores, "malignant": scores["malignant"], **scores["kinds"]}.items():
        table.add_row(name, str(row["lesions"]), *(f"{value:.3f}" for value in row["sensitivity"]))
    return table


def _overlap_table(pipeline: str, scores: dict[str, Any]) -> Table:
    names = ("dice", "sensitivity_voxel", "lesion_sensitivity", "lesion_precision", "lesion_f1", "volume_error_ml",
             "hausdorff95_mm")  # fmt: skip
    table = Table("truth", *(name.replace("_", " ") for name in names), title=pipeline)
    for row in (*scores["studies"], scores | {"truth": "all (mean)"}):
        table.add_row(row["truth"], *("" if row[name] is None else f"{row[name]:.2f}" for name in names))
    return table


def wrap(
    files: Annotated[list[Path], typer.Argument(help="NIfTI, NRRD, PNG, JPEG or PGM files.", exists=True)],
    modality: Annotated[str, typer.Option(help="CT, MR, MG, CR or DX.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the DICOM files go.")],
    patient_id: Annotated[str, typer.Option(help="(0010,0020) of the new study.")] = "WRAPPED",
    study: Annotated[str, typer.Option(help="A name; calls with the same one write into one study.")] = "",
    body_part: Annotated[str, typer.Option(help="BodyPartExamined, e.g. CHEST.")] = "",
    laterality: Annotated[str, typer.Option(help="L or R, for MG.")] = "",
    view: Annotated[str, typer.Option(help="CC, MLO, ML or LM for MG; AP, PA, LL ... for CR and DX.")] = "",
    same_space: Annotated[bool, typer.Option(help="The volumes are registered: one frame of reference.")] = False,
    date: Annotated[datetime | None, typer.Option(formats=DATES, help="When the study was made.")] = None,
    contrast: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AGENT", help="A file made after contrast medium: t1post=gadobutrol."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make DERIVED DICOM studies from research images, so that they can be sent and analysed like any other."""
    from pacsai import wrap as wrapping

    about = wrapping.About(
        patient_id=patient_id, study=study, body_part=body_part, laterality=laterality, view=view, acquired=date
    )  # fmt: skip
    agents = dict(one.partition("=")[::2] for one in contrast or [])
    try:
        with told_plainly():
            written = wrapping.wrap(files, modality, out_folder, about, same_space=same_space, contrast=agents)
    except wrapping.WrapError as error:
        raise CommandError(str(error)) from error
    if json:
        print_json([str(path) for path in written])
    else:
        out.print(f"{len(written)} DICOM files in {out_folder}")


def relaxed(accepts: Mapping[str, Condition], changes: list[str]) -> dict[str, Condition]:
    """Return `accepts` with changes such as "instances.min=1", "BodyPart=CHEST" or "SliceThickness.max=5"."""
    rules = {key: condition.model_dump() for key, condition in accepts.items()}
    for change in changes:
        left, equals, text = change.partition("=")
        key, _, part = left.partition(".")
        if not equals or part not in ("", "min", "max"):
            raise CommandError(f"--accept {change}: expected KEY=VALUE, KEY.min=NUMBER or KEY.max=NUMBER")
        if key not in rules:
            raise CommandError(f"--accept {change}: the pipeline has no rule {key}; it has {', '.join(rules)}")
        value = yaml.safe_load(text)
        rules[key] = {**rules[key], part: value} if part else value
    try:
        return {key: Condition.model_validate(rule) for key, rule in rules.items()}
    except ValidationError as error:
        raise CommandError(f"--accept: {error.errors()[0]['msg']}") from error


def print_report(report: dict[str, Any]) -> None:
    """Print a report for a person: outcome, findings, series, objects."""
    reason = f" because {report['reason']}" if report["reason"] else ""
    out.print(f"[bold]{report['pipeline']} {report['version']}: {report['outcome']}[/]{reason}")
    if report["findings"]:
        out.print(findings_table(report["findings"]))
    for series in report["series"]:
        out.print(f"  {'taken' if series['taken'] else 'left '}  {series['description']}: {series['reason']}")
    for one in report["objects"]:
        note = f"  [red]not to be sent: {'; '.join(one['problems'])}[/]" if one["problems"] else ""
        out.print(f"  {one['kind']:5} {one['file']}{note}", soft_wrap=True)
    out.print(report["intended_use"])


def findings_table(findings: list[dict[str, Any]]) -> Table:
    """Return the findings as a table; a number that was not taken is left out."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("finding", "prob.", "LPS mm or x, y", "axes mm", "mm3", "mean HU", "kind"):
        table.add_column(name, no_wrap=name != "kind")
    for one in findings:
        axes = " x ".join(f"{one[axis]:.1f}" for axis in ("long_axis_mm", "short_axis_mm") if axis in one)
        centre = _place(one)
        probability, volume, mean = (_cell(one.get(key), d) for key, d in _NUMBERS.items())
        before = one.get("prior_volume_mm3")
        change = " ".join(filter(None, (one.get("change"), before and f"(was {before:.0f} mm3)")))
        kind = ", ".join(filter(None, (*one["qualities"].values(), change)))
        table.add_row(one["label"], probability, centre, axes, volume, mean, kind)
    return table


def _place(one: dict[str, Any]) -> str:
    """Return the centre in LPS mm, or the view with column and row."""
    if "view" in one:
        return f"{one['view']} {one['x']:.0f}, {one['y']:.0f}"
    return ", ".join(f"{coordinate:.0f}" for coordinate in one["centre_mm"])


_NUMBERS = {"probability": 2, "volume_mm3": 0, "mean_hu": 0}


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _tell_no_study(folder: Path, uids: list[str], pipeline: str, json: bool) -> None:
    reason = f"no DICOM study in {folder}" if not uids else f"{len(uids)} studies in {folder}: choose with --study"
    report = {
        "pipeline": pipeline, "outcome": "not analysed", "reason": reason,
        "findings": [], "objects": [], "series": [], "studies": uids,
    }  # fmt: skip
    if json:
        print_json(report)
    else:
        out.print(f"[bold]{pipeline}: not analysed[/], {reason}", *uids, sep="\n")
