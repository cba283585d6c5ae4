"""What other people's checkers say of our objects though nothing is wrong, each with the reason."""

from __future__ import annotations

DCIODVFY: dict[str, str] = {
    "</Laterality(0020,0060)> - is only permitted to be empty when actually unknown": (
        "highdicom writes no Laterality and dciodvfy then reports a missing type 2C attribute as an error, because it "
        "cannot know that the chest is no paired body part; empty, it only warns"
    ),
    "/DeviceUID(0018,1002)> - Attribute is not present in standard DICOM IOD": (
        "dicom3tools of 2022 is older than Device UID in the Contributing Equipment Sequence (PS3.3 C.12.1, CP 1922), "
        "which IHE AIR asks for"
    ),
}
"""Messages of dciodvfy -new (dicom3tools 1.00~20220618)."""

DSRDUMP: dict[str, str] = {
    "Check for template constraints not yet supported": "dsrdump checks no rows of TID 2010; conformance/ does",
}
"""Messages of dsrdump (DCMTK 3.6.7)."""
