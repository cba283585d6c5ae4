"""Asking the archive: what it holds of a study or of a patient, and letting it come here. For whoever needs images that
are not here: completion asks for the rest of a study, priors for the patient's earlier ones.

One protocol (base.py), two ways to speak it: C-FIND and C-MOVE (dimse.py), QIDO-RS and WADO-RS (dicomweb.py, and of an
Orthanc its plug-in: orthanc.py). Knows nothing of why something is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsai.archive import open_archive
from pacsai.queries.base import Holdings, Listed, ListedSeries, ListedStudy

if TYPE_CHECKING:
    from pacsai.config import Site
    from pacsai.spool import Spool

__all__ = ["ANSWERING", "Holdings", "Listed", "ListedSeries", "ListedStudy", "open_holdings"]

ANSWERING = ("dimse", "dicomweb", "orthanc")
"""The kinds of archives that can be asked."""


def open_holdings(site: Site, spool: Spool) -> Holdings:
    """Return the site's archive as one that answers queries; the site's settings see to its kind."""
    from pacsai.archive.dicomweb import StowArchive
    from pacsai.archive.dimse import CStoreArchive
    from pacsai.archive.orthanc import OrthancArchive

    archive = open_archive(site)
    if isinstance(archive, CStoreArchive):
        from pacsai.queries.dimse import QueryRetrieve

        return QueryRetrieve(archive)
    if isinstance(archive, OrthancArchive):
        from pacsai.queries.orthanc import OrthancHoldings

        return OrthancHoldings(archive, site.node.limits, spool)
    assert isinstance(archive, StowArchive)  # noqa: S101 - the site's settings see to it
    from pacsai.queries.dicomweb import QidoWado

    return QidoWado(archive, site.node.limits, spool)
