"""The Mammography CAD SR (PS3.3 A.35.5): the tree of TID 4000 as a document of the source's study."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from highdicom.base import SOPClass
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MammographyCADSRStorage

from pacsai.finding import Result
from pacsai.objects import common
from pacsai.objects.cad_sr import tree
from pacsai.objects.cad_sr.findings import Signature
from pacsai.objects.cad_sr.model import Exam, flaws
from pacsai.objects.common import NODE, Author
from pacsai.objects.source import Source


def mammography_cad_sr(exam: Exam, result: Result, source: Source, author: Author = NODE) -> Dataset:
    """Return the Mammography CAD SR of an exam: COMPLETE, PRELIMINARY, UNVERIFIED.

    TID 4000 is not extensible and has no observer context: who observed stands in the equipment attributes, and the
    words about research use in the Impression Description.

    Parameters
    ----------
    exam : Exam
        Its images must be among `source.instances`.
    result : Result
        The signed result of the same analysis; every UID follows from its provenance.
    source : Source
        The analysed images and the moment of writing.

    Raises
    ------
    ValueError
        The exam contradicts itself (`flaws`), an image is not in the source, or nothing can be filed with the images.
    """
    _refuse_flawed(exam, source)
    images = common.evidence(source)
    dataset = _opened(images[0], result, source, author)
    dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = _references(images)
    earlier = [one for one in source.previous if one.SOPClassUID == MammographyCADSRStorage]
    if earlier := [one for one in earlier if one.SOPInstanceUID != dataset.SOPInstanceUID]:
        dataset.PredecessorDocumentsSequence = _references(earlier)
    dataset.ContributingEquipmentSequence = [common.contributing_equipment(source, result, author)]
    dataset.update(_content(exam, result, author))
    return common.finish(dataset, source)


def _refuse_flawed(exam: Exam, source: Source) -> None:
    known = {instance.sop_instance_uid for instance in source.instances}
    found = list(flaws(exam))
    found += ["an image of the exam is not among those of the source"] * any(
        image.sop_instance_uid not in known for image in exam.images
    )
    if found:
        raise ValueError("; ".join(found))


def _opened(image: Dataset, result: Result, source: Source, author: Author) -> Dataset:
    """Return the document without its content: patient, study, series, equipment and SOP common modules."""
    said = common.identity("CADSR", result, author)
    dataset = SOPClass(
        sop_class_uid=MammographyCADSRStorage,
        modality="SR",
        study_instance_uid=image.StudyInstanceUID,
        study_time=image.StudyTime,
        patient_id=image.PatientID,
        patient_name=image.PatientName,
        patient_birth_date=image.PatientBirthDate,
        patient_sex=image.PatientSex,
        accession_number=image.AccessionNumber,
        study_id=image.StudyID,
        study_date=image.StudyDate,
        referring_physician_name=image.ReferringPhysicianName,
        specific_character_set=image.get("SpecificCharacterSet"),
        content_date=source.now.date(),
        content_time=source.now.time(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **said,
    )
    dataset.copy_patient_and_study_information(image)
    return dataset


def _content(exam: Exam, result: Result, author: Author) -> Dataset:
    provenance = common.provenance_of(result)
    names = {run.kind: run.algorithm for run in exam.detections if run.algorithm}
    signature = Signature(common.title(provenance, author), provenance.version, names)
    parameters = [f"{name} {digest}" for name, digest in common.algorithm_parameters(provenance).items()]
    root = tree.build(exam, signature, parameters)
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "4000"
    root.ContentTemplateSequence = [template]
    return root


def _references(instances: Iterable[Dataset]) -> list[Dataset]:
    """Return instances as a hierarchy of study, series and instance (PS3.3 C.17.2.1)."""
    studies = []
    ordered = sorted(instances, key=lambda one: (one.StudyInstanceUID, one.SeriesInstanceUID))
    for study_uid, of_study in groupby(ordered, key=lambda one: one.StudyInstanceUID):
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = []
        for series_uid, of_series in groupby(of_study, key=lambda one: one.SeriesInstanceUID):
            series = Dataset()
            series.SeriesInstanceUID = series_uid
            series.ReferencedSOPSequence = [_reference(one) for one in of_series]
            study.ReferencedSeriesSequence.append(series)
        studies.append(study)
    return studies


def _reference(instance: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    return item
