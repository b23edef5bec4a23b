"""The labs by name."""

from __future__ import annotations

# Paths, not modules: `pithnet lab --help` lists the labs without importing torch.
LABS = {
    "linear": "pithnet.labs.linear",
    "fixed-point": "pithnet.labs.fixed_point",
    "pruning": "pithnet.labs.pruning",
    "deep-compression": "pithnet.labs.deep_compression",
    "ptq": "pithnet.labs.ptq",
    "claims": "pithnet.labs.claims",
}
