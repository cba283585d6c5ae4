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

# Mammography CAD (PS3.16 TID 4000 and what it includes): findings (CID 6014), composite features (CID 6016)
BREAST_DENSITY = Code("129793001", "SCT", "Mammography breast density")
"""What the standard calls a mass seen on one image."""
CALCIFICATION_CLUSTER = Code("129769006", "SCT", "Calcification Cluster")
ARCHITECTURAL_DISTORTION = Code("129792006", "SCT", "Architectural distortion of breast")
BREAST_COMPOSITION = Code("129715009", "SCT", "Breast composition")
BREAST_MASS = Code("129788004", "SCT", "Mammographic breast mass")
MASS_WITH_CALCIFICATIONS = Code("111459", "DCM", "Mass with calcifications")
ASYMMETRIC_TISSUE = Code("129790003", "SCT", "Asymmetric breast tissue")
FOCAL_ASYMMETRY = Code("129789007", "SCT", "Focal asymmetric breast tissue")
LEFT_BREAST = Code("80248007", "SCT", "Left breast")
RIGHT_BREAST = Code("73056007", "SCT", "Right breast")
BOTH_BREASTS = Code("63762007", "SCT", "Both breasts")
LATERALITY = Code("272741003", "SCT", "Laterality")

# BI-RADS words of a mass: shape (CID 6004), margin (CID 6006), density (CID 6008)
ROUND_SHAPE = Code("42700002", "SCT", "Round shape")
OVAL_SHAPE = Code("84360004", "SCT", "Ovoid shape (Oval)")
IRREGULAR_SHAPE = Code("49608001", "SCT", "Irregular")
CIRCUMSCRIBED = Code("129738007", "SCT", "Circumscribed lesion")
MICROLOBULATED = Code("129739004", "SCT", "Microlobulated lesion")
OBSCURED = Code("129740002", "SCT", "Obscured lesion")
INDISTINCT = Code("129741003", "SCT", "Indistinct lesion")
SPICULATED = Code("129742005", "SCT", "Spiculated lesion")
HIGH_DENSITY = Code("129744006", "SCT", "High density lesion")
EQUAL_DENSITY = Code("129745007", "SCT", "Equal density (isodense) lesion")
LOW_DENSITY = Code("129746008", "SCT", "Low density (not containing fat) lesion")

# BI-RADS words of calcifications: type (CID 6010), distribution (CID 6012)
PUNCTATE = Code("129755006", "SCT", "Punctate calcification")
AMORPHOUS = Code("129760005", "SCT", "Amorphous calcification")
COARSE_HETEROGENEOUS = Code("129763007", "SCT", "Heterogeneous calcification")
FINE_PLEOMORPHIC = Code("111344", "DCM", "Fine pleomorphic calcification")
FINE_LINEAR_BRANCHING = Code("129762002", "SCT", "Fine linear, branching (casting) calcification")
GROUPED = Code("129766004", "SCT", "Grouped calcification distribution")
LINEAR = Code("129765000", "SCT", "Linear calcification distribution")
SEGMENTAL = Code("129768003", "SCT", "Segmental calcification distribution")
REGIONAL = Code("129767008", "SCT", "Regional calcification distribution")
DIFFUSE = Code("129764001", "SCT", "Diffuse calcification distribution")

# Mammography CAD: parts of the tree
MAMMOGRAPHY_CAD_REPORT = Code("111036", "DCM", "Mammography CAD Report")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LATERALITY = Code("111027", "DCM", "Image Laterality")
IMAGE_VIEW = Code("111031", "DCM", "Image View")
IMAGE_VIEW_MODIFIER = Code("111032", "DCM", "Image View Modifier")
PATIENT_ORIENTATION_ROW = Code("111044", "DCM", "Patient Orientation Row")
PATIENT_ORIENTATION_COLUMN = Code("111043", "DCM", "Patient Orientation Column")
IMAGE_STUDY_DATE = Code("111060", "DCM", "Study Date")
IMAGE_STUDY_TIME = Code("111061", "DCM", "Study Time")
IMAGE_CONTENT_DATE = Code("111018", "DCM", "Content Date")
IMAGE_CONTENT_TIME = Code("111019", "DCM", "Content Time")
HORIZONTAL_SPACING = Code("111026", "DCM", "Horizontal Pixel Spacing")
VERTICAL_SPACING = Code("111066", "DCM", "Vertical Pixel Spacing")
IMPRESSION_DESCRIPTION = Code("111033", "DCM", "Impression Description")
ASSESSMENT_CATEGORY = Code("111005", "DCM", "Assessment Category")
INDIVIDUAL_IMPRESSION = Code("111034", "DCM", "Individual Impression/Recommendation")
RENDERING_INTENT = Code("111056", "DCM", "Rendering Intent")
PRESENTATION_REQUIRED = Code("111150", "DCM", "Presentation Required: Rendering device is expected to present")
PRESENTATION_OPTIONAL = Code("111151", "DCM", "Presentation Optional: Rendering device may present")
NOT_FOR_PRESENTATION = Code("111152", "DCM", "Not for Presentation: Rendering device expected not to present")
SINGLE_IMAGE_FINDING = Code("111059", "DCM", "Single Image Finding")
COMPOSITE_FEATURE = Code("111015", "DCM", "Composite Feature")
COMPOSITE_TYPE = Code("111016", "DCM", "Composite type")
RELATED_SPATIALLY = Code("111154", "DCM", "Target Content Items are related spatially")
RELATED_CONTRALATERALLY = Code("111155", "DCM", "Target Content Items are related contra-laterally")
SCOPE_OF_FEATURE = Code("111057", "DCM", "Scope of Feature")
ON_THE_ONLY_IMAGE = Code("111156", "DCM", "Feature detected on the only image")
ON_ONE_OF_THE_IMAGES = Code("111157", "DCM", "Feature detected on only one of the images")
ON_MULTIPLE_IMAGES = Code("111158", "DCM", "Feature detected on multiple images")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
PROBABILITY_OF_CANCER = Code("111047", "DCM", "Probability of cancer")
CENTER = Code("111010", "DCM", "Center")
OUTLINE = Code("111041", "DCM", "Outline")
LESION_DENSITY = Code("111035", "DCM", "Lesion Density")
SHAPE = Code("107644003", "SCT", "Shape")
MARGIN = Code("112233002", "SCT", "Margin")
CALCIFICATION_TYPE = Code("111009", "DCM", "Calcification Type")
CALCIFICATION_DISTRIBUTION = Code("111008", "DCM", "Calcification Distribution")
NUMBER_OF_CALCIFICATIONS = Code("111038", "DCM", "Number of calcifications")
PERCENT_FIBROGLANDULAR = Code("111046", "DCM", "Percent Fibroglandular Tissue")
BREAST_TISSUE_DENSITY = Code("112191", "DCM", "Breast tissue density")
DERIVATION = Code("121401", "DCM", "Derivation")
TWO_DIMENSIONAL_METHOD = Code("112188", "DCM", "Two-dimensional method")
NO_UNITS = Code("1", "UCUM", "no units")
NOT_ALL_SUCCEEDED_WITHOUT_FINDINGS = Code("111243", "DCM", "Not all algorithms succeeded; without findings")
NOT_ALL_SUCCEEDED_WITH_FINDINGS = Code("111244", "DCM", "Not all algorithms succeeded; with findings")
SUMMARY_OF_DETECTIONS = Code("111064", "DCM", "Summary of Detections")
SUMMARY_OF_ANALYSES = Code("111065", "DCM", "Summary of Analyses")
SUCCESSFUL_DETECTIONS = Code("111063", "DCM", "Successful Detections")
FAILED_DETECTIONS = Code("111025", "DCM", "Failed Detections")
SUCCESSFUL_ANALYSES = Code("111062", "DCM", "Successful Analyses")
FAILED_ANALYSES = Code("111024", "DCM", "Failed Analyses")
DETECTION_PERFORMED = Code("111022", "DCM", "Detection Performed")
ANALYSIS_PERFORMED = Code("111004", "DCM", "Analysis Performed")
SUCCEEDED = Code("111222", "DCM", "Succeeded")
PARTIALLY_SUCCEEDED = Code("111223", "DCM", "Partially Succeeded")
FAILED = Code("111224", "DCM", "Failed")
NOT_ATTEMPTED = Code("111225", "DCM", "Not Attempted")
SPATIAL_COLLOCATION = Code("133884007", "SCT", "Spatial collocation analysis")
ASYMMETRY_ANALYSIS = Code("133889002", "SCT", "Asymmetric breast tissue analysis")
COMPOSITION_ANALYSIS = Code("133890006", "SCT", "Breast composition analysis")
TEMPORAL_CORRELATION = Code("133886009", "SCT", "Temporal correlation")
ALMOST_ENTIRELY_FAT = Code("129716005", "SCT", "Almost entirely fat")
SCATTERED_DENSITIES = Code("129717001", "SCT", "Scattered fibroglandular densities")
HETEROGENEOUSLY_DENSE = Code("129718006", "SCT", "Heterogeneously dense")
EXTREMELY_DENSE = Code("129719003", "SCT", "Extremely dense")

# BI-RADS assessment categories (CID 6027), in the words of the fifth edition
BI_RADS_0 = Code("397138000", "SCT", "0 - Incomplete - Need additional imaging evaluation +/- priors")
BI_RADS_1 = Code("397140005", "SCT", "1 - Negative")
BI_RADS_2 = Code("397141009", "SCT", "2 - Benign")
BI_RADS_3 = Code("397143007", "SCT", "3 - Probably Benign")
BI_RADS_4 = Code("397144001", "SCT", "4 - Suspicious")
BI_RADS_5 = Code("397145000", "SCT", "5 - Highly suggestive of malignancy")
ASSESSMENTS = (BI_RADS_0, BI_RADS_1, BI_RADS_2, BI_RADS_3, BI_RADS_4, BI_RADS_5)

REVIEWED: Mapping[Code, str] = {
    **dict.fromkeys(ASSESSMENTS, "PS3.16 CID 6027; pydicom 3.0.2 has the long SNOMED names, which are no LO"),
    INDIVIDUAL_IMPRESSION: "PS3.16 TID 4003 row 1; pydicom 3.0.2 has a zero-width space in the meaning",
    SHAPE: "PS3.16 TID 4011 row 2; pydicom has only the full SNOMED name",
    MARGIN: "PS3.16 TID 4011 row 3; pydicom has another of its names",
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
