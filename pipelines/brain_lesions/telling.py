"""From lesions followed to what a result says: what is gone, the brain as a whole, the study compared with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime

import numpy as np

from pacsai import terms
from pacsai.changes import Earlier
from pacsai.finding import Finding, Mask, Measurement
from pacsai.sequences import Prior
from pacsai.volume import Volume
from pipelines.brain_lesions.followed import Followed


def gone(one: Followed, label: str, *, remarks: tuple[str, ...] = ()) -> Finding:
    """Return the finding of a lesion that is gone: its old place and volume, no mask and no probability."""
    return Finding(
        kind=terms.LESION_OF_BRAIN,
        label=one.known_as or label,
        probability=None,
        centre_mm=one.centre_mm,
        site=terms.BRAIN,
        change=one.change,
        prior_volume_mm3=one.prior_volume_mm3,
        tracking_uid=one.tracking_uid,
        remarks=(*remarks, *one.remarks),
    )


def total(findings: Sequence[Finding], shape_kji: tuple[int, int, int], prior_mm3: float | None = None) -> Finding:
    """Return the total over findings: how many have a mask, their volume, and the mask of all of them.

    Its place is that of the largest, or of the first where none has a mask. At least one finding is wanted.

    Parameters
    ----------
    shape_kji : tuple of int
        Of the grid that the masks lie on.
    prior_mm3 : float or None
        Volume of all lesions in the earlier study.
    """
    present = [finding for finding in findings if finding.mask is not None]
    whole = np.zeros(shape_kji, dtype=np.bool_)
    for finding in present:
        if finding.mask is not None:
            whole[finding.mask.box] |= finding.mask.array
    volume_mm3 = sum(finding.value(terms.VOLUME) or 0.0 for finding in present)
    largest = max(present or findings[:1], key=lambda finding: finding.value(terms.VOLUME) or 0.0)
    return Finding(
        kind=terms.LESION_OF_BRAIN,
        label="All lesions",
        probability=None,
        centre_mm=largest.centre_mm,
        site=terms.BRAIN,
        mask=Mask(whole, (0, 0, 0)) if present else None,
        measurements=(
            Measurement(terms.LESION_COUNT, float(len(present)), terms.NO_UNITS),
            Measurement(terms.VOLUME, volume_mm3, terms.MM3, terms.SUM_OF_VOXELS),
        ),
        prior_volume_mm3=prior_mm3,
    )


def compared_with(prior: Prior, current: Volume, prior_mm3: float | None = None) -> Earlier:
    """Return the study that `current` was compared with; the day of the current one is its images' StudyDate."""
    return Earlier(
        study_instance_uid=prior.study_instance_uid,
        study_date=prior.study_date,
        current_date=_day(current),
        volume_mm3=prior_mm3,
    )


def _day(volume: Volume) -> date | None:
    said = str(volume.source[0].header.get("StudyDate") or "") if volume.source else ""
    with suppress(ValueError):
        return datetime.strptime(said, "%Y%m%d").date()
    return None
