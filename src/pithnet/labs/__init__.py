"""The classic experiments: a lab's `run(out, options)` measures, writes tables, figures and a page."""

from pithnet.labs.catalogue import LABS
from pithnet.labs.options import LabOptions

__all__ = ["LABS", "LabOptions"]
