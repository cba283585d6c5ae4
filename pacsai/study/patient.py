"""Whether two studies are of one patient, by what their headers say."""

from __future__ import annotations

from collections.abc import Mapping

from pacsai.study import plain

IDENTITY = {
    "PatientID": "the Patient ID",
    "IssuerOfPatientID": "the issuer of the Patient ID",
    "PatientBirthDate": "the birth date",
    "PatientSex": "the sex",
    "PatientName": "the name",
}
"""What must agree wherever both say it, and what it is called to a reader."""


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Return what tells two patients apart, as "the birth date differs"; "" where nothing does.

    What is empty tells nothing, nor does how a name is written (`study.plain`). The words hold nothing of the values.
    """
    for keyword, words in IDENTITY.items():
        ours, theirs = plain(one.get(keyword)), plain(other.get(keyword))
        if ours and theirs and ours != theirs:
            return f"{words} differs"
    return ""
