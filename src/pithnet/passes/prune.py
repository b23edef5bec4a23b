"""Pruning at once: how many weights, or groups of them, each layer loses, and which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import RecipeError, require_known
from pithnet.heartbeat import working
from pithnet.learn import Loss
from pithnet.passes.amounts import layer_amounts
from pithnet.passes.evidence import Found, collect
from pithnet.passes.granularities import Granularity, Weights, get_granularity
from pithnet.passes.guard import guarded
from pithnet.passes.layers import refuse_coded, selected_layers
from pithnet.passes.records import Record
from pithnet.passes.scopes import SCOPES
from pithnet.results import LayerRow
from pithnet.surgery import Mask, Weighted, latent_weight, parametrization, set_mask
from pithnet.tensor import Criterion, Evidence, get_criterion, std_threshold, threshold_mask

_WEIGHTS = Weights()


@guarded
@torch.no_grad()
def prune(
    model: nn.Module,
    sparsity: float | None = None,
    *,
    scope: str = "global",
    criterion: str = "magnitude",
    granularity: str = "weight",
    overrides: Mapping[str, float] | None = None,
    batches: Any = None,
    loss: Loss | None = None,
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    recoverable: bool = False,
    generator: torch.Generator | None = None,
) -> Record:
    """Masks `model` in place so that exactly round(sparsity * weights) are zero, not counting biases and BN.

    Whole groups of weights go where `granularity` says so: those of lowest mean score, as many as bring the
    number of zeros nearest to that, in all layers together (scope "global") or in each. A global ranking may
    empty a layer.

    A weight that several layers share has one mask and counts once. Of a model pruned before, what is masked
    goes first; with less sparsity than it has, some of that comes back, as zeros that learn. A group that is
    kept keeps the zeros that it had.

    Args:
        model: The network, masked in place.
        sparsity: Share of zeros, in [0, 1]; it may be left out where the granularity is N:M.
        scope: "global" ranks all layers together, "uniform" gives each the same share,
            "erk" spares small layers. It has no say where the granularity is N:M.
        criterion: A name in `pithnet.tensor.CRITERIA`; the weights of lowest scores go.
        granularity: "weight"; "kernel", what connects one input channel with one output channel; "filter",
            all weights of one output, which "row" and "neuron" name too; "channel", all weights of one input
            (in a grouped convolution, of the inputs at one place in all groups); or N:M, such as "2:4": of
            every M neighbours along the axis of the inputs the N of highest scores stay, of a rest of fewer
            than M weights as many, so layers of up to N inputs keep all.
        overrides: Shares of zeros for some layers, by pattern; the last pattern that fits counts. The other
            layers have `sparsity` among themselves.
        batches: A loader of (inputs, labels), or whatever else `pithnet.learn.read_batch` reads, for criteria
            that look at data: "taylor" and "snip" need labels, "wanda" inputs alone. It is read once; a list
            of a few batches does. The model runs in eval mode and in a copy, and is not changed by it.
        loss: `(outputs, targets) -> scalar`, whose gradients these criteria take; the cross-entropy where
            None.
        skip: Name patterns of layers and parameters to leave alone.
        also: Name patterns of parameters of two dimensions or more to compress beside the known kinds of
            layer (`surgery.register_kind`): bare matrices, experts. What is compressed once counts as a layer
            from then on, in later passes too.
        recoverable: Pruned weights learn on from zero, unseen by the network, and come back when the model is
            pruned again if they have outgrown others by then.
        generator: Where the criterion "random" draws from; torch's global generator where None.

    Returns:
        The zeros of each layer, and for filters, neurons and channels which of them are gone.

    Raises:
        RecipeError: The sparsity is outside [0, 1] or unlike that of N:M, the scope, criterion or granularity
            is unknown, or the criterion needs batches and there are none.
        DataError: The batches lack the labels that the criterion needs.
        ModelError: A layer cannot be pruned, as `selected_layers` says; or no gradient reaches it, or its
            inputs are not known, and the criterion needs them.
    """
    unit = get_granularity(granularity)
    amount = unit.amount(sparsity)
    require_known("pruning scope", scope, SCOPES, RecipeError)
    rank = get_criterion(criterion)
    layers = selected_layers(model, skip, also)
    refuse_coded(layers)
    evidence: list[Found] = [{} for _ in layers]
    with working("prune", len(layers), "layers") as step:
        if rank.needs_batches:
            evidence = collect(model, rank, batches, loss, skip=skip, also=also)
        scores = []
        for (_, layer), found in zip(layers, evidence, strict=True):
            scores.append(_scores(layer, rank, found, generator))
            step.advance()
        own = layer_shares(layers, overrides or {}, unit)
        _apply(layers, _masks(layers, scores, unit, scope, amount, own), recoverable)
    return Record.of(model, f"prune {unit.title(scope, amount)}", mask_rows(layers, unit), skip)


@guarded
@torch.no_grad()
def prune_by_std(model: nn.Module, s: float, *, skip: Sequence[str] = (), also: Sequence[str] = ()) -> Record:
    """Masks `model` in place: in each layer the weights with |w| <= s * std(w) of that layer become zero.

    Args:
        model: The network, masked in place.
        s: How many standard deviations, 0 or more.
        skip: As `prune`'s.
        also: As `prune`'s.

    Returns:
        The zeros of each layer.

    Raises:
        RecipeError: s is below 0.
        ModelError: A layer cannot be pruned, as `selected_layers` says.
    """
    if not s >= 0:
        raise RecipeError(f"s counts standard deviations and cannot be {s}; use 0 or more")
    layers = selected_layers(model, skip, also)
    refuse_coded(layers)
    masks = [threshold_mask(m.weight, std_threshold(m.weight, s)) for _, m in layers]
    _apply(layers, masks, recoverable=False)
    return Record.of(model, f"prune std {s:.4g}", mask_rows(layers), skip)


def layer_shares(
    layers: list[tuple[str, Weighted]], overrides: Mapping[str, float], unit: Granularity
) -> dict[str, float | None]:
    """Returns each layer's own share of zeros, None where it has none; raises as `layer_amounts`."""
    checked = {pattern: unit.amount(share) for pattern, share in overrides.items()}
    return layer_amounts(layers, None, checked, "pruned")


def _masks(
    layers: list[tuple[str, Weighted]],
    scores: list[Tensor],
    unit: Granularity,
    scope: str,
    amount: float,
    own: Mapping[str, float | None],
) -> list[Tensor]:
    """The masks of layers with a share of their own, each by itself, and of the others by the scope."""
    if all(share is None for share in own.values()):
        return unit.masks(layers, scores, scope, amount)
    masks = dict[str, Tensor]()
    for (name, layer), score in zip(layers, scores, strict=True):
        share = own[name]
        if share is not None:
            masks[name] = unit.masks([(name, layer)], [score], "uniform", share)[0]
    others = [(pair, score) for pair, score in zip(layers, scores, strict=True) if pair[0] not in masks]
    if others:
        rest = unit.masks([pair for pair, _ in others], [score for _, score in others], scope, amount)
        masks |= {pair[0]: mask for (pair, _), mask in zip(others, rest, strict=True)}
    return [masks[name] for name, _ in layers]


def _scores(layer: Weighted, rank: Criterion, found: Found, generator: torch.Generator | None) -> Tensor:
    """The scores of a layer's weights, -1 for what is gone for good."""
    mask = parametrization(layer, Mask)
    weight = latent_weight(layer) if mask is not None and mask.recoverable else layer.weight
    scores = rank(Evidence(weight, generator=generator, **found))
    if mask is None or (mask.recoverable and rank.looks_at_weight):
        return scores
    # What is gone goes first: a score that does not look at the weight would keep zeros in place of others.
    return torch.where(mask.mask, scores, -1.0)


def _apply(layers: list[tuple[str, Weighted]], masks: list[Tensor], recoverable: bool) -> None:
    for (_, layer), mask in zip(layers, masks, strict=True):
        set_mask(layer, mask, recoverable)
        # A pruned weight starts again from zero. With its old value it would drift, unseen by the loss, and
        # come back as noise: in a trial on ResNet-20 that tripled the loss at 80 % zeros.
        latent_weight(layer).masked_fill_(~mask, 0.0)


def mask_rows(layers: list[tuple[str, Weighted]], unit: Granularity = _WEIGHTS) -> Iterator[LayerRow]:
    """Yields the zeros of the layers' masks as they are now."""
    for name, layer in layers:
        mask = parametrization(layer, Mask)
        zeros = 0 if mask is None else int((~mask.mask).sum())
        gone = None if mask is None else unit.gone(layer, mask.mask)
        yield LayerRow(name, latent_weight(layer).numel(), zeros, zero_groups=gone)
