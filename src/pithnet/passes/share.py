"""Weight sharing: few distinct values per layer, by 1-D clustering of the non-zero weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pithnet.errors import RecipeError
from pithnet.heartbeat import working
from pithnet.passes.amounts import layer_amounts
from pithnet.passes.guard import guarded
from pithnet.passes.layers import selected_layers
from pithnet.passes.records import Record
from pithnet.results import LayerRow
from pithnet.surgery import (
    Weighted,
    set_codebook,
)
from pithnet.tensor import Clustering, ecsq_1d, kmeans_1d
from pithnet.tensor._checks import require_nonnegative
from pithnet.tensor.clustering.kmeans import require_settings


def checked_levels(bits: int | None, levels: int | None, init: str, rate_weight: float) -> int:
    """Returns the number of levels that settings of `share` ask for.

    Args:
        bits: 1 to 16 for 2^bits levels; None where `levels` is given.
        levels: 1 to 65535; None where `bits` is given.
        init: A way in which `kmeans_1d` begins.
        rate_weight: The price of a level's code length, 0 or more.

    Raises:
        RecipeError: Neither or both of `bits` and `levels` are given, or an argument is out of range or
            unknown.
    """
    require_settings(1, init, 1)
    require_nonnegative(rate_weight, "rate_weight")
    if (bits is None) == (levels is None):
        raise RecipeError("sharing needs either bits or levels")
    if bits is not None:
        if not 1 <= bits <= 16:
            raise RecipeError(f"bits must be from 1 to 16, not {bits}")
        return 2**bits
    assert levels is not None
    if not 1 <= levels <= 65_535:
        raise RecipeError(f"levels must be from 1 to 65535, not {levels}")
    return levels


def layer_levels(
    layers: Sequence[tuple[str, Weighted]],
    bits: int | None,
    levels: int | None,
    overrides: Mapping[str, int],
    init: str,
    rate_weight: float,
) -> dict[str, int]:
    """Returns how many levels each layer gets at most.

    Args:
        layers: The layers by name.
        bits: 2^bits levels a layer, from 1 to 16 bits; None where `levels` says it.
        levels: So many levels a layer, from 1 to 65,535; None where `bits` says it.
        overrides: Bits, or levels where these are given, of some layers by pattern.
        init: Where k-means starts.
        rate_weight: The price of a bit, 0 or more.

    Raises:
        RecipeError: A number is out of range, a name unknown, or a pattern matches no layer.
    """
    chosen = checked_levels(bits, levels, init, rate_weight)
    own = {
        pattern: checked_levels(
            None if bits is None else asked, None if levels is None else asked, init, rate_weight
        )
        for pattern, asked in overrides.items()
    }
    return layer_amounts(layers, chosen, own, "shared")


def cluster(
    weight: Tensor, k: int, init: str, rate_weight: float, generator: torch.Generator | None
) -> Clustering | None:
    """Clusters the non-zero weights, and returns None where all are zero.

    Args:
        weight: (...), floats; zeros are left out.
        k: The largest number of clusters.
        init: A way in which `kmeans_1d` begins.
        rate_weight: The price of a bit of code length, in units of the mean squared non-zero weight; 0
            clusters by distance alone.
        generator: The source of random numbers; torch's global one where None.

    Returns:
        Centroids, float64 for float64 weights and else float32, and the assignment of the non-zero weights in
        order.
    """
    values = weight.detach()[weight != 0]
    if not len(values):
        return None
    values = values if values.dtype == torch.float64 else values.float()
    if rate_weight == 0:
        return kmeans_1d(values, k, init, generator)
    return ecsq_1d(values, k, rate_weight * float(values.double().square().mean()), init, generator=generator)


@guarded
@torch.no_grad()
def share(
    model: nn.Module,
    bits: int | None = None,
    *,
    levels: int | None = None,
    init: str = "optimal",
    rate_weight: float = 0.0,
    overrides: Mapping[str, int] | None = None,
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> Record:
    """Gives each layer a codebook, in place: its non-zero weights take one of 2^bits (or `levels`) values.

    Zeros stay zero and are not counted among the values. The assignment is fixed from then on; the codebooks
    train (Han, Mao & Dally 2016, section 3). A weight that several layers share has one codebook. Run it
    before the optimizer is built: the parameters change their shape.

    Args:
        model: The network, shared in place.
        bits: 1 to 16 for 2^bits values per layer; None where `levels` is given.
        levels: 1 to 65535 values per layer; None where `bits` is given.
        init: "linear", "random", "density", "kmeans++" or "optimal", as `pithnet.tensor.kmeans_1d` takes it.
        overrides: Bits, or levels where these are given, of some layers, by pattern; the last pattern that
            fits counts.
        rate_weight: > 0 chooses values by distortion + rate_weight * code length (entropy-constrained
            quantization); in units of the layer's mean squared non-zero weight per bit.
        skip: As `prune`'s.
        also: As `prune`'s.
        generator: Where the random ways to begin draw from; torch's global generator where None.

    Returns:
        The zeros and the number of values of each layer.

    Raises:
        RecipeError: Bits or levels are out of range, or neither or both are given; the init is unknown, the
            rate weight negative, or a pattern matches nothing.
        ModelError: A layer cannot be shared, as `selected_layers` says.
    """
    rows, layers = [], selected_layers(model, skip, also)
    counts = layer_levels(layers, bits, levels, overrides or {}, init, rate_weight)
    with working("share", len(layers), "layers") as step:
        for name, layer in layers:
            weight, k = layer.weight, counts[name]
            found = cluster(weight, k, init, rate_weight, generator)
            # Of a network's largest layer, one byte a weight is what one can afford.
            small = torch.uint8 if k < 256 else torch.int32
            index = torch.zeros(weight.shape, dtype=small, device=weight.device)
            centroids = weight.new_zeros(0)
            if found is not None:
                index[weight != 0] = (found.assignment + 1).to(small)
                centroids = found.centroids.to(weight.dtype)
            set_codebook(layer, index, centroids)
            rows.append(shared_row(name, layer))
            step.advance()
    what = checked_levels(bits, levels, init, rate_weight)
    return Record.of(model, f"share {what} levels", rows, skip)


def shared_row(name: str, layer: Weighted) -> LayerRow:
    """Returns the zeros and the number of values of a layer as it is."""
    values = layer.weight.detach()
    distinct = values[values != 0].unique().numel()
    return LayerRow(name, values.numel(), int((values == 0).sum()), distinct)
