"""The Mammography CAD SR: what a CAD says of an exam (`Exam`), and the document that workstations draw.

highdicom 0.28.2 and DCMTK 3.6.7 have no template of it; conformance/ checks what is written here.
"""

from pacsai.objects.cad_sr.document import mammography_cad_sr
from pacsai.objects.cad_sr.library import exam_image
from pacsai.objects.cad_sr.model import (
    Composite,
    Composition,
    Exam,
    ExamImage,
    Intent,
    Kind,
    Mark,
    Relation,
    Run,
    Status,
)

__all__ = [
    "Composite",
    "Composition",
    "Exam",
    "ExamImage",
    "Intent",
    "Kind",
    "Mark",
    "Relation",
    "Run",
    "Status",
    "exam_image",
    "mammography_cad_sr",
]
