"""Coded concepts: the one reviewed table of every code this node writes.

A code that is not in pydicom's dictionaries stands in `REVIEWED` with the place it was looked up; the conformance
gate refuses any other. Knows nothing of objects or files.
"""

from __future__ import annotations

from dataclasses import dataclass


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

# Sites
LUNG = Code("39607008", "SCT", "Lung")
UPPER_LOBE = Code("45653009", "SCT", "Upper lobe of lung")
MIDDLE_LOBE = Code("72481006", "SCT", "Middle lobe of right lung")
LOWER_LOBE = Code("90572001", "SCT", "Lower lobe of lung")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")

# Measurements
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
VOLUME = Code("118565006", "SCT", "Volume")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
MEAN = Code("373098007", "SCT", "Mean")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
SUM_OF_VOXELS = Code("126030", "DCM", "Sum of segmented voxel method for volume")

# Units (UCUM)
MM = Code("mm", "UCUM", "mm")
MM3 = Code("mm3", "UCUM", "mm3")
HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "%")
