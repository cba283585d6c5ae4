"""Coded concepts: the one reviewed table of every code this node writes.

A code that is not in pydicom's dictionaries stands in `REVIEWED` with the place it was looked up; the conformance
gate refuses any other. Knows nothing of objects or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

_Concepts = Mapping[str, Mapping[str, Mapping[str, tuple[str, object]]]]  # scheme: keyword: value: (meaning, CIDs)


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 8.1): `value` and `scheme` identify it, `meaning` is for people and does not."""

    value: str
    scheme: str
    meaning: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and (self.value, self.scheme) == (other.value, other.scheme)

    def __hash__(self) -> int:
        return hash((self.value, self.scheme))


# Findings and structures
NODULE = Code("27925004", "SCT", "Nodule")
MASS = Code("4147007", "SCT", "Mass")
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")

LESION_OF_BRAIN = Code("301766008", "SCT", "Lesion of Brain")
ENHANCING_LESION = Code("C113842", "NCIt", "Enhancing Lesion")
NON_ENHANCING_LESION = Code("C81175", "NCIt", "Non-Enhancing Lesion")
NECROSIS = Code("6574001", "SCT", "Necrosis")
EDEMA = Code("79654002", "SCT", "Edema")

# Sites
BRAIN = Code("12738006", "SCT", "Brain")
LUNG = Code("39607008", "SCT", "Lung")
UPPER_LOBE = Code("45653009", "SCT", "Upper lobe of lung")
MIDDLE_LOBE = Code("72481006", "SCT", "Middle lobe of right lung")
LOWER_LOBE = Code("90572001", "SCT", "Lower lobe of lung")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
MIDLINE = Code("261129000", "SCT", "Midline")
CEREBRAL_WHITE_MATTER = Code("68523003", "SCT", "Cerebral White Matter")

# Qualities of a nodule: (NODULE_TYPE, one of the four)
NODULE_TYPE = Code("C41144", "NCIt", "Texture")
SOLID = Code("RID50151", "RADLEX", "solid pulmonary nodule")
PART_SOLID = Code("RID50152", "RADLEX", "part-solid pulmonary nodule")
GROUND_GLASS = Code("112120", "DCM", "Ground glass opacity")
CALCIFIED = Code("237897009", "SCT", "Calcified")

# Change against an earlier study: (CHANGE, one of CID 6134; "new" out of its sibling CID 6002, "gone" beside both)
CHANGE = Code("111049", "DCM", "Qualitative Difference")
NEW_FINDING = Code("129721008", "SCT", "New finding")
INCREASE_IN_SIZE = Code("15454001", "SCT", "Increase in size")
NO_SIGNIFICANT_CHANGE = Code("129723006", "SCT", "No significant changes in the finding")
DECREASE_IN_SIZE = Code("19776001", "SCT", "Decrease in size")
RESOLVED = Code("723506003", "SCT", "Resolved")

# The earlier study that a result was compared with
COMPARED = Code("122140", "DCM", "Comparison with Prior Study Done")
YES = Code("373066001", "SCT", "Yes")
STUDY_UID = Code("121018", "DCM", "Procedure Study Instance UID")
STUDY_DATE = Code("111060", "DCM", "Study Date")
INTERVAL = Code("385673002", "SCT", "Interval")

# Measurements
LESION_COUNT = Code("246206008", "SCT", "Number of lesions")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
VOLUME = Code("118565006", "SCT", "Volume")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
SUM_OF_VOXELS = Code("126030", "DCM", "Sum of segmented voxel method for volume")

# Derivations (CID 7464): as the `method` of a measurement they become its derivation
MEAN = Code("373098007", "SCT", "Mean")
MEDIAN = Code("373099004", "SCT", "Median")
MINIMUM = Code("255605001", "SCT", "Minimum")
MAXIMUM = Code("56851009", "SCT", "Maximum")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
DERIVATIONS = frozenset({MEAN, MEDIAN, MINIMUM, MAXIMUM, STANDARD_DEVIATION})

# Units (UCUM)
MM = Code("mm", "UCUM", "mm")
MM3 = Code("mm3", "UCUM", "cubic millimeter")
HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "Percent")
DAY = Code("d", "UCUM", "day")
NO_UNITS = Code("1", "UCUM", "no units")

# Documents and their parts
MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
COMMENT = Code("121106", "DCM", "Comment")
OF_INTEREST = Code("113000", "DCM", "Of Interest")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
REJECTED_FOR_SAFETY = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
WRONG_WORKLIST_ENTRY = Code("113038", "DCM", "Incorrect Modality Worklist Entry")
RETENTION_EXPIRED = Code("113039", "DCM", "Data Retention Policy Expired")
REJECTIONS: Mapping[str, Code] = {
    code.value: code for code in (REJECTED_FOR_QUALITY, REJECTED_FOR_SAFETY, WRONG_WORKLIST_ENTRY, RETENTION_EXPIRED)
}
"""Titles of rejection notes by code value (PS3.16 CID 7010; IHE RAD, Imaging Object Change Management)."""
DEVICE = Code("121007", "DCM", "Device")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

# How an analysis ended (concept and CID 6047)
PROCESSING_SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
SUCCEEDED_WITHOUT_FINDINGS = Code("111241", "DCM", "All algorithms succeeded; without findings")
SUCCEEDED_WITH_FINDINGS = Code("111242", "DCM", "All algorithms succeeded; with findings")
NONE_SUCCEEDED = Code("111245", "DCM", "No algorithms succeeded; without findings")

# The imaging procedure that was analysed (CID 100)
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
CT_PROCEDURE = Code("25045-6", "LN", "CT unspecified body region")
MR_PROCEDURE = Code("25056-3", "LN", "MRI unspecified body region")
XR_PROCEDURE = Code("43468-8", "LN", "XR unspecified body region")
PROCEDURES: Mapping[str, Code] = {"CT": CT_PROCEDURE, "MR": MR_PROCEDURE, "CR": XR_PROCEDURE, "DX": XR_PROCEDURE}
"""Procedure by Modality (0008,0060); IMAGING_PROCEDURE for any other."""

REVIEWED: Mapping[Code, str] = {
    QUALITATIVE_EVALUATIONS: "PS3.16 TID 1500 row 12; also in HL7's DICOM SR to FHIR mapping guide",
    NODULE_TYPE: "NCI Thesaurus C41144; used for LIDC texture by QIICR/lidc2dicom (TCIA's LIDC-IDRI SR)",
    SOLID: "RadLex RID50151; used for LIDC texture by QIICR/lidc2dicom",
    PART_SOLID: "RadLex RID50152; used for LIDC texture by QIICR/lidc2dicom",
    RESOLVED: "SNOMED CT 723506003 Resolved (qualifier value); so in HL7 mCODE's phases of a disease",
    LESION_COUNT: "SNOMED CT 246206008; pydicom has only the full name, Number of lesions (observable entity)",
    ENGLISH: "RFC 5646 language tag, TID 1204",
    Code(
        "260753009", "SCT", "Source"
    ): "TID 1600: what highdicom 0.28.2 calls an image; pydicom has only the full name",
    Code("121232", "DCM", "Source Series for Segmentation"): "TID 1411, in highdicom 0.28.2's capitals",
    Code("{pixels}", "UCUM", "Pixels"): "TID 1601: unit of rows and columns in highdicom 0.28.2",
    Code("{-1:1}", "UCUM", "{-1:1}"): "TID 1604: unit of a direction cosine in highdicom 0.28.2",
}
"""Codes that pydicom's dictionaries do not hold, each with where it was looked up."""


def known(code: Code) -> bool:
    """Tell whether `code` may be written: in pydicom's dictionaries or in `REVIEWED`, with a meaning given there."""
    return code.meaning in meanings(code)


def meanings(code: Code) -> frozenset[str]:
    """Return the meanings that a dictionary or the reviewed table gives for the code; empty for an unknown one."""
    reviewed = frozenset(entry.meaning for entry in REVIEWED if entry == code)
    return _dictionary().get((code.scheme, code.value), frozenset()) | reviewed


@cache
def _dictionary() -> Mapping[tuple[str, str], frozenset[str]]:
    """Return pydicom's concepts turned round: (scheme, value) to meanings.

    No public way leads there. Imported late: its table takes as long as the rest of a short command.
    """
    from pydicom.sr._concepts_dict import concepts

    turned: dict[tuple[str, str], set[str]] = {}
    for scheme, keywords in cast(_Concepts, concepts).items():
        for entries in keywords.values():
            for value, (meaning, _) in entries.items():
                turned.setdefault((scheme, value), set()).add(meaning)
    return {key: frozenset(found) for key, found in turned.items()}
