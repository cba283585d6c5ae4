"""pacsai: the node beside a PACS that runs AI pipelines and answers in standard DICOM. Research use only."""

__version__ = "0.1.0"

RESEARCH_USE_ONLY = "Research use only"
"""The words every outgoing object carries where a reader sees them."""

MANUFACTURER = "pacsai"
"""(0008,0070) of every object this node makes; with MODEL_NAME the guard against analysing our own results."""

MODEL_NAME = "pacsai node"
"""(0008,1090) Manufacturer's Model Name of every object this node makes."""
