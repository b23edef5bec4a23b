"""The classic experiments, one module each: `run(out, ...)` measures, writes tables, plots and a page."""

from pithnet.labs.catalogue import LABS

__all__ = ["LABS"]
