"""The classic experiments of the field, one module each: `run(out, ...)` measures, writes tables, plots and a page."""

from __future__ import annotations

# Paths, not modules: `pithnet lab --help` lists the labs without importing torch.
LABS = {"pruning": "pithnet.labs.pruning", "deep-compression": "pithnet.labs.deep_compression"}

__all__ = ["LABS"]
