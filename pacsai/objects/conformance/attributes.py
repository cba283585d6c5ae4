"""Attributes: what must be there (PS3.3, types 1 and 2) and what values may look like (PS3.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydicom import config
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from pacsai.objects.conformance.walk import items, name_of, own, sequence_of
from pacsai.objects.source import ResultObject, Source

_COMMON_1 = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality SeriesNumber InstanceNumber "
    "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions SeriesDescription"
)
_COMMON_2 = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber"
)
_PIXELS_1 = (
    "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "PixelData ImageType"
)
_DOCUMENT_1 = (
    "ContentDate ContentTime ValueType ConceptNameCodeSequence ContinuityOfContent ContentTemplateSequence "
    "ContentSequence CurrentRequestedProcedureEvidenceSequence"
)
_TYPE_1 = {
    "SEG": f"{_COMMON_1} {_PIXELS_1} ContentLabel ContentDate ContentTime LossyImageCompression SegmentationType "
    "SegmentSequence NumberOfFrames SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence "
    "DimensionOrganizationSequence DimensionIndexSequence FrameOfReferenceUID ReferencedSeriesSequence",
    "SR": f"{_COMMON_1} {_DOCUMENT_1} CompletionFlag VerificationFlag PreliminaryFlag",
    "KO": f"{_COMMON_1} {_DOCUMENT_1}",
    "REJECTION": f"{_COMMON_1} {_DOCUMENT_1}",
    "CADSR": f"{_COMMON_1} {_DOCUMENT_1} CompletionFlag VerificationFlag PreliminaryFlag",
    "GSPS": f"{_COMMON_1} ContentLabel PresentationCreationDate PresentationCreationTime ReferencedSeriesSequence "
    "DisplayedAreaSelectionSequence GraphicAnnotationSequence GraphicLayerSequence SoftcopyVOILUTSequence "
    "PresentationLUTShape",
    "SC": f"{_COMMON_1} {_PIXELS_1} ConversionType PlanarConfiguration BurnedInAnnotation",
}
_TYPE_2 = {
    "SEG": f"{_COMMON_2} ContentDescription ContentCreatorName PositionReferenceIndicator",
    "SR": f"{_COMMON_2} ReferencedPerformedProcedureStepSequence PerformedProcedureCodeSequence",
    "KO": f"{_COMMON_2} ReferencedPerformedProcedureStepSequence",
    "REJECTION": f"{_COMMON_2} ReferencedPerformedProcedureStepSequence",
    "CADSR": f"{_COMMON_2} ReferencedPerformedProcedureStepSequence PerformedProcedureCodeSequence",
    "GSPS": f"{_COMMON_2} ContentDescription ContentCreatorName",
    "SC": f"{_COMMON_2} PatientOrientation",
}
_IN_ITEMS = {
    "SegmentSequence": "SegmentNumber SegmentLabel SegmentAlgorithmType SegmentAlgorithmName TrackingID TrackingUID "
    "SegmentedPropertyCategoryCodeSequence SegmentedPropertyTypeCodeSequence",
    "GraphicAnnotationSequence": "GraphicLayer ReferencedImageSequence",
    "GraphicObjectSequence": "GraphicAnnotationUnits GraphicDimensions NumberOfGraphicPoints GraphicData GraphicType "
    "TrackingID TrackingUID",
    "TextObjectSequence": "UnformattedTextValue",
    "GraphicLayerSequence": "GraphicLayer GraphicLayerOrder",
    "SoftcopyVOILUTSequence": "WindowCenter WindowWidth",
    "DisplayedAreaSelectionSequence": "DisplayedAreaTopLeftHandCorner DisplayedAreaBottomRightHandCorner "
    "PresentationSizeMode",
    "AlgorithmIdentificationSequence": "AlgorithmFamilyCodeSequence AlgorithmName AlgorithmVersion",
    "ContributingEquipmentSequence": "PurposeOfReferenceCodeSequence Manufacturer",
    "ContentSequence": "RelationshipType ValueType",
    "ReferencedSOPSequence": "ReferencedSOPClassUID ReferencedSOPInstanceUID",
    "ReferencedImageSequence": "ReferencedSOPClassUID ReferencedSOPInstanceUID",
    "MeasuredValueSequence": "NumericValue MeasurementUnitsCodeSequence",
}
"""Type 1 attributes of the items of a sequence, wherever it stands; an item that has one must have them all."""
_SOP_CLASSES = {
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "SR": "1.2.840.10008.5.1.4.1.1.88.34",
    "KO": "1.2.840.10008.5.1.4.1.1.88.59",
    "REJECTION": "1.2.840.10008.5.1.4.1.1.88.59",
    "GSPS": "1.2.840.10008.5.1.4.1.1.11.1",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
    "CADSR": "1.2.840.10008.5.1.4.1.1.88.50",
}
_BULK = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN", "SQ"})


def missing(one: ResultObject, _: Sequence[ResultObject], source: Source) -> Iterator[str]:  # noqa: ARG001
    """Yield what an object of its kind must have and has not."""
    dataset = one.dataset
    if dataset.get("SOPClassUID") != _SOP_CLASSES[one.kind]:
        yield f"SOPClassUID is {dataset.get('SOPClassUID')}, not that of a {one.kind}"
    for keyword in _TYPE_1[one.kind].split():
        if _is_empty(dataset, keyword):
            yield f"{keyword} (type 1) is missing or empty"
    for keyword in _TYPE_2[one.kind].split():
        if keyword not in dataset:
            yield f"{keyword} (type 2) is missing"
    for path, item in items(dataset):
        by_reference = "ReferencedContentItemIdentifier" in item  # the value type stands where it refers to
        for keyword in _IN_ITEMS.get(sequence_of(path), "").split():
            by_table = keyword in ("WindowCenter", "WindowWidth") and "VOILUTSequence" in item
            if _is_empty(item, keyword) and not (by_reference and keyword == "ValueType") and not by_table:
                yield f"{path}.{keyword} (type 1) is missing or empty"


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    return keyword not in dataset or dataset[keyword].is_empty


def malformed(one: ResultObject, _: Sequence[ResultObject], source: Source) -> Iterator[str]:
    """Yield the values that their value representation, multiplicity or the dictionary forbids."""
    for path, item in items(own(one.dataset, source)):
        for element in item:
            for complaint in _complaints(element):
                yield f"{path}{'.' if path else ''}{name_of(element)} {complaint}"


def _complaints(element: DataElement) -> Iterator[str]:
    if element.tag.element == 0:
        yield "is a group length, which is retired"
        return
    if element.tag.is_private or not element.keyword:
        yield "is not in the dictionary of DICOM"
        return
    if element.VR not in (dictionary_VR(element.tag), *dictionary_VR(element.tag).split(" or ")):
        yield f"has VR {element.VR}, and the dictionary says {dictionary_VR(element.tag)}"
    if not element.is_empty and not _allows(dictionary_VM(element.tag), element.VM) and element.VR != "SQ":
        yield f"has {element.VM} values, and the dictionary allows {dictionary_VM(element.tag)}"
    if element.VR not in _BULK and not element.is_empty:
        yield from _bad_values(element)


def _bad_values(element: DataElement) -> Iterator[str]:
    values = element.value if element.VM > 1 else [element.value]
    for value in values:
        try:
            validate_value(element.VR, str(value) if element.VR in ("IS", "DS") else value, config.RAISE)
        except (ValueError, TypeError) as error:
            yield f"does not fit VR {element.VR}: {_without_value(str(error))}"


def _without_value(complaint: str) -> str:
    """Return pydicom's complaint without the value it quotes, which may be a patient's."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", complaint)


def _allows(multiplicity: str, count: int) -> bool:
    """Tell whether a multiplicity of the dictionary, such as 1, 1-3, 2-n or 2-2n, allows `count` values."""
    low, _, high = multiplicity.partition("-")
    if not high:
        return count == int(low)
    if not high.endswith("n"):
        return int(low) <= count <= int(high)
    return count >= int(low) and count % int(high[:-1] or 1) == 0
