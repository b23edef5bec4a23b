"""The classic experiments: a lab's `run(out, options)` measures, writes tables, plots and a page.

It stands where LABS says: in a folder of the lab's own, or in a module whose name most of the lab's other
modules begin with.
"""

from pithnet.labs.catalogue import LABS
from pithnet.labs.options import LabOptions

__all__ = ["LABS", "LabOptions"]
