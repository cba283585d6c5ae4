"""What a pipeline of mammograms is given: the views of one exam, and those of the exam before where there is one.

Pixel coordinates are (row j, column i), whole numbers at pixel centres; only the writers of objects know other counts.
Which images these are is selection/mg.py's; how their pixels become values is mammography.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pacsai.reading import Place
from pacsai.study import Instance


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One mammogram to analyse.

    Attributes
    ----------
    name : str
        Side and view, such as "L CC".
    laterality, view : str
        "L" or "R"; "CC" or "MLO".
    array : float32 [row j, column i]
        As stored in `analysed`, neither flipped nor cropped. A larger value is denser tissue, brighter on an image for
        presentation; 0 to 1 over the range of the breast, whatever the depth of the stored values.
    spacing_mm : (between rows, between columns) or None
        At the breast, magnification allowed for. None where no header tells: sizes are then not told in mm.
    for_processing : bool
        `array` are detector values, linear in exposure or its logarithm, and no image processed for people.
    analysed, shown : Instance
        What `array` was read from, and what results are drawn on. They have the same matrix.
    notes : tuple of str
        What a reader should know of this image, such as that it is synthetic.
    """

    name: str
    laterality: str
    view: str
    array: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None
    for_processing: bool
    analysed: Instance
    shown: Instance
    notes: tuple[str, ...] = ()

    def holds(self, places: Iterable[Place]) -> bool:
        """Tell whether all places (row, column) lie in the image: a pixel reaches half a pixel about its centre."""
        rows, columns = self.array.shape
        return all(-0.5 <= j <= rows - 0.5 and -0.5 <= i <= columns - 0.5 for j, i in places)


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """The mammograms of a study that are analysed.

    Attributes
    ----------
    views : tuple of View
        In the order in which they are hung: R CC, L CC, R MLO, L MLO, as far as they are there. At least one.
    missing : tuple of str
        Names of the views of a screening exam that are not there.
    prior : Exam or None
        The patient's earlier exam.
    study_instance_uid, study_date
        Told where two exams are compared; the date is None where the headers give none.
    """

    views: tuple[View, ...]
    missing: tuple[str, ...] = ()
    prior: Exam | None = None
    study_instance_uid: str = ""
    study_date: date | None = None

    def view(self, name: str) -> View | None:
        """Return the view called `name`, or None where it is missing."""
        return next((view for view in self.views if view.name == name), None)
