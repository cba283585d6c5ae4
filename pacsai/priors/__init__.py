"""Priors: the patient's earlier study, for pipelines that compare with it (`prior: true` in their manifest).

It is looked for in the spool, then in the archive (archived.py), which lets it come into the spool, where it is held
for comparison and starts nothing. Whose it is, is judged on what is here (wanted.py, here.py), and what was chosen is
written down once (choice.py). Nothing holds an analysis up for longer than `priors.wait_s` (desk.py).
"""

from __future__ import annotations

from pacsai.priors.choice import Choice
from pacsai.priors.desk import Priors

__all__ = ["Choice", "Priors"]
