"""Where the zeros are: per layer, and whether they form whole kernels or filters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pithnet.labs.notebook import Row
from pithnet.labs.training import zeros
from pithnet.surgery import weighted_layers


@torch.no_grad()
def layer_rows(model: nn.Module, reference: nn.Module) -> list[Row]:
    """Returns a row per layer: name, size, zeros, sparsity; std and kurtosis of the layer of `reference`."""
    starts = {name: layer.weight for name, layer in weighted_layers(reference)}
    rows = []
    for name, layer in weighted_layers(model):
        size, zeros = layer.weight.numel(), int((layer.weight == 0).sum())
        row = {"name": name, "size": size, "zeros": zeros, "sparsity": zeros / size}
        start = starts[name]
        rows.append(row | {"start_std": float(start.std(correction=0)), "start_kurtosis": kurtosis(start)})
    return rows


def sparsity_columns(model: nn.Module, start: nn.Module) -> Row:
    """Returns zeros of all layers and of each, and how many kernels and filters are zero as a whole."""
    layers, found = layer_rows(model, start), zeros(model)
    total = sum(r["size"] for r in layers)
    row: Row = {"sparsity": found / total, "zeros": found, "weights": total}
    return row | {"structure": structure(model), "layers": layers}


def kurtosis(values: Tensor) -> float:
    """Returns the mean fourth power of (w - mean) / std: 3 for normal values; 0 for equal ones.

    Pearson's kurtosis of the population, with nothing subtracted, says how heavy the tails are; Laplace's is
    6. It is of any shape and in float64.
    """
    if values.min() == values.max():
        return 0.0
    # In one order whatever the memory format, so that the same weights give the same last digit.
    w = values.detach().double().flatten()
    centred = w - w.mean()
    return float(centred.pow(4).mean() / centred.square().mean().square())


@torch.no_grad()
def structure(model: nn.Module) -> Row:
    """Counts the k x k kernels and filters of the convolutions that are zero as a whole.

    `empty_kernels_if_scattered` is how many kernels would be if each layer's zeros lay anywhere in it
    independently: the sum over the layers of kernels * sparsity^(k * k).
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


_MEASURES = {"kurtosis": "start_kurtosis", "standard deviation": "start_std", "number of weights": "size"}


def correlations(layers: list[Row]) -> dict[str, float]:
    """Spearman's rank correlation of sparsity with the kurtosis, std and size of the start's layers."""
    shares = [r["sparsity"] for r in layers]
    return {
        name: rank_correlation([float(r[key]) for r in layers], shares) for name, key in _MEASURES.items()
    }


def by_layer(row: Row) -> Row:
    """Returns the layers of a row with the most and the fewest zeros, and what these shares go along with."""
    ordered, found = sorted(row["layers"], key=lambda r: r["sparsity"]), correlations(row["layers"])
    strongest = max(found, key=lambda name: abs(found[name]))
    said = {"most": ordered[:-4:-1], "fewest": ordered[:3], "count": len(ordered)}
    return said | {"correlations": found, "strongest": strongest}


def _ranks(values: Tensor) -> Tensor:
    return ((values[:, None] > values).sum(1) + (values[:, None] >= values).sum(1)).double() / 2
