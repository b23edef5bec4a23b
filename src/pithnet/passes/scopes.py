"""How many weights, or groups of them, each layer loses: the scopes of pruning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from pithnet.tensor import erk, global_masks, group_masks, keep_mask, uniform

Scores = Sequence[Tensor]
Spans = Sequence[tuple[int, ...]]


def _global(scores: Scores, sparsity: float, spans: Spans | None = None) -> list[Tensor]:
    """One ranking over all layers."""
    zeros = round(sparsity * sum(s.numel() for s in scores))
    return global_masks(scores, zeros) if spans is None else group_masks(scores, spans, zeros)


def _uniform(scores: Scores, sparsity: float, spans: Spans | None = None) -> list[Tensor]:
    """The same share of zeros in every layer: the lowest scores of each."""
    return _each(scores, uniform([s.numel() for s in scores], sparsity), spans)


def _erk(scores: Scores, sparsity: float, spans: Spans | None = None) -> list[Tensor]:
    """Erdos-Renyi-kernel densities (Evci et al. 2020): small layers keep more."""
    return _each(scores, erk([s.shape for s in scores], sparsity), spans)


def _each(scores: Scores, zeros: Sequence[int], spans: Spans | None) -> list[Tensor]:
    """A ranking within each layer, which loses so many weights, or the whole groups nearest to that."""
    if spans is None:
        return [keep_mask(s, z) for s, z in zip(scores, zeros, strict=True)]
    return [group_masks([s], [d], z)[0] for s, d, z in zip(scores, spans, zeros, strict=True)]


SCOPES: dict[str, Callable[..., list[Tensor]]] = {"global": _global, "uniform": _uniform, "erk": _erk}
