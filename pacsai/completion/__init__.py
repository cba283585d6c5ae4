"""Completion by evidence: whether a study is all here, judged by what the archive lists of it.

A quiet study may lack images: a sender that broke off, a route that was forgotten. Where the site wants it, the archive
is asked what it holds, what is missing is fetched, and what stays missing is written into the result. What
modalities and archives announce by MPPS and IAN is evidence, too (steps.py). Late images make
a new revision, whose SR names the one before (predecessor.py). Knows nothing of jobs and of what an analysis is.
"""

from __future__ import annotations

from pacsai.completion.evidence import Evidence
from pacsai.completion.predecessor import predecessors
from pacsai.completion.record import remarks
from pacsai.completion.steps import Steps

__all__ = ["Evidence", "Steps", "predecessors", "remarks"]
