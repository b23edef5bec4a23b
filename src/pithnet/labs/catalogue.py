"""The labs by name."""

from __future__ import annotations

# Paths, not modules: `pithnet lab --help` lists the labs without importing torch.
LABS = {"pruning": "pithnet.labs.pruning", "deep-compression": "pithnet.labs.deep_compression"}
