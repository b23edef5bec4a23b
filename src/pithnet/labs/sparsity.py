"""Where the zeros are: per layer, and whether they form whole kernels or filters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pithnet.labs.notebook import Row
from pithnet.surgery import weighted_layers


@torch.no_grad()
def layer_rows(model: nn.Module, reference: nn.Module) -> list[Row]:
    """A row per layer: name, size, zeros, sparsity, and the weights' standard deviation in `reference`."""
    stds = {name: float(layer.weight.std(correction=0)) for name, layer in weighted_layers(reference)}
    rows = []
    for name, layer in weighted_layers(model):
        size, zeros = layer.weight.numel(), int((layer.weight == 0).sum())
        rows.append(
            {"name": name, "size": size, "zeros": zeros, "sparsity": zeros / size, "start_std": stds[name]}
        )
    return rows


@torch.no_grad()
def structure(model: nn.Module) -> Row:
    """How many k x k kernels and filters of the convolutions are zero as a whole.

    empty_kernels_if_scattered: how many kernels would be if each layer's zeros lay anywhere in it
    independently, sum over the layers of kernels * sparsity^(k * k).
    """
    kernels = empty = filters = empty_filters = 0
    scattered = 0.0
    for _, layer in weighted_layers(model):
        if layer.weight.ndim != 4:
            continue
        zero = layer.weight == 0
        whole = zero.flatten(2).all(2)
        kernels, empty = kernels + whole.numel(), empty + int(whole.sum())
        filters, empty_filters = filters + len(whole), empty_filters + int(whole.all(1).sum())
        scattered += whole.numel() * float(zero.double().mean()) ** zero[0, 0].numel()
    return {
        "kernels": kernels,
        "empty_kernels": empty,
        "empty_kernels_if_scattered": scattered,
        "filters": filters,
        "empty_filters": empty_filters,
    }


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing their rank; 0 where one is constant."""
    x, y = _ranks(torch.tensor(a).double()), _ranks(torch.tensor(b).double())
    x, y = x - x.mean(), y - y.mean()
    scale = float(x.norm() * y.norm())
    return float(x @ y) / scale if scale else 0.0


def _ranks(values: Tensor) -> Tensor:
    return ((values[:, None] > values).sum(1) + (values[:, None] >= values).sum(1)).double() / 2
