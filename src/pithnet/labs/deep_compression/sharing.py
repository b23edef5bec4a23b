"""What sharing weights costs: distance to the float network, memory, and the work of the clustering."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pithnet.data import Batches
from pithnet.labs.notebook import Row
from pithnet.surgery import weighted_layers
from pithnet.tensor import kmeans_1d


class Reference:
    """A network's answers on some images, to compare others with: no label is used."""

    def __init__(self, model: nn.Module, batches: Batches) -> None:
        self.batches = batches
        self.log_p = self._log_p(model)

    @torch.inference_mode()
    def _log_p(self, model: nn.Module) -> torch.Tensor:
        model.eval()
        device = next(model.parameters()).device
        images = (x.to(device) for x, *_ in self.batches if x is not None)
        return torch.cat([F.log_softmax(model(x), 1) for x in images])

    def compare(self, model: nn.Module) -> Row:
        """kl: mean KL(reference || model) in nats; agreement: share of images with the same answer."""
        log_q = self._log_p(model)
        kl = F.kl_div(log_q, self.log_p, reduction="batchmean", log_target=True)
        agreement = (log_q.argmax(1) == self.log_p.argmax(1)).double().mean()
        return {"kl": float(kl), "agreement": float(agreement)}


@torch.no_grad()
def sharing_columns(model: nn.Module, before: nn.Module, bits: int) -> Row:
    """Returns the memory of the shared weights in bytes, and whether the zeros are those of `before`.

    `index_bytes` counts `bits` for each non-zero weight, and no positions; codebooks are float32.
    """
    nonzeros = levels = 0
    kept = True
    for (_, layer), (_, start) in zip(weighted_layers(model), weighted_layers(before), strict=True):
        weight = layer.weight
        kept = kept and torch.equal(weight == 0, start.weight == 0)
        nonzeros += int(weight.count_nonzero())
        levels += weight[weight != 0].unique().numel()
    return {
        "nonzeros": nonzeros,
        "index_bytes": -(-nonzeros * bits // 8),
        "codebook_bytes": 4 * levels,
        "zeros_kept": kept,
    }


@torch.no_grad()
def clustering_columns(model: nn.Module, bits: int, init: str, generator: torch.Generator) -> Row:
    """Returns the inertia over all layers, and k-means' iterations in all and in the slowest layer.

    With a generator of the same seed these are the very clusterings that `passes.share` makes.
    """
    inertia, iterations = 0.0, []
    for _, layer in weighted_layers(model):
        values = layer.weight[layer.weight != 0]
        if len(values):
            found = kmeans_1d(values, 2**bits, init, generator)
            inertia += found.inertia
            iterations.append(found.iterations)
    return {"inertia": inertia, "iterations": sum(iterations), "most_iterations": max(iterations, default=0)}


@torch.no_grad()
def most_distinct_values(model: nn.Module) -> int:
    """Returns the most distinct non-zero weights that any layer has."""
    return max(layer.weight[layer.weight != 0].unique().numel() for _, layer in weighted_layers(model))
