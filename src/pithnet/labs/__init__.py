"""The classic experiments: a lab's `run(out, options)` measures, writes tables, plots and a page.

It stands in the module that LABS names; the lab's other modules have names that begin with that one's, or say
what they measure.
"""

from pithnet.labs.catalogue import LABS
from pithnet.labs.options import LabOptions

__all__ = ["LABS", "LabOptions"]
