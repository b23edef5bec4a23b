"""The classic experiments, one module each: `run(out, options)` measures, writes tables, plots and a page."""

from pithnet.labs.catalogue import LABS
from pithnet.labs.options import LabOptions

__all__ = ["LABS", "LabOptions"]
