"""The labs by name."""

from __future__ import annotations

# Paths, not modules: `pithnet lab --help` lists the labs without importing torch.
LABS = {
    "linear": "pithnet.labs.linear.experiment",
    "fixed-point": "pithnet.labs.fixed_point.experiment",
    "pruning": "pithnet.labs.pruning.experiment",
    "deep-compression": "pithnet.labs.deep_compression.experiment",
    "ptq": "pithnet.labs.ptq.experiment",
    "claims": "pithnet.labs.claims.experiment",
}
