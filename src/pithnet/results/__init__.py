"""What a run folder holds, as types that write it and read it; no torch."""

from pithnet.results.rows import LayerRow
from pithnet.results.store import Store

__all__ = ["LayerRow", "Store"]
