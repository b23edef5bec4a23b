"""What repairs without labels leave of the error that rounding made, on images they have not seen."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from comparisons import Value, comparison
from comparisons.networks import error, images, plain_net, residual_net
from pithnet.passes import (
    correct_biases,
    equalize,
    match_norms,
    quantize,
    quantize_without_labels,
    reconstruct,
    reconstruct_blocks,
)
from pithnet.policies import divergence
from pithnet.surgery import fold_into_layers_

QUANTIZERS = ("linear", "dynamic", "lsq", "apot")


@comparison
def matched_norms(seed: int) -> Iterator[Value]:
    """2 bits with and without the statistics of BN matched."""
    seen, fresh = images(seed)
    reference, model = plain_net(seed), plain_net(seed)
    quantize(model, 2, quantizer="dynamic", fit="range")
    before = error(model, reference, fresh)
    match_norms(model, reference, seen)
    yield Value("error left", error(model, reference, fresh) / before, 1)


@comparison
def corrected_biases(seed: int) -> Iterator[Value]:
    """3 bits on a folded network: the mean of its answers on the very images is the reference's."""
    seen, fresh = images(seed)
    reference, model = plain_net(seed), plain_net(seed)
    quantize(model, 3, activations=8, calibrate=seen, fit="range")
    before, apart = error(model, reference, fresh), _mean_difference(model, reference, seed)
    correct_biases(model, reference, seen)
    yield Value("error left", error(model, reference, fresh) / before, 1)
    yield Value("difference of means left", _mean_difference(model, reference, seed) / apart, 0.5)


def _mean_difference(model: nn.Module, reference: nn.Module, seed: int) -> float:
    seen, _ = images(seed)
    with torch.no_grad():
        return float((model(seen) - reference(seen)).mean(0).abs().max())


@comparison
def equalized_ranges(seed: int) -> Iterator[Value]:
    """5 bits with one step per tensor, where channels differ in size a hundredfold."""
    _, fresh = images(seed)
    reference = plain_net(seed)
    fold_into_layers_(reference)
    reference[3].weight *= torch.logspace(-2, 0, 12).view(-1, 1, 1, 1)
    reference[3].bias *= torch.logspace(-2, 0, 12)
    plain, equal = copy.deepcopy(reference), copy.deepcopy(reference)
    equalize(equal)
    for model in (plain, equal):
        quantize(model, None, overrides={"3": 5, "6": 5}, granularity="tensor", fit="range")
    yield Value("error left", error(equal, reference, fresh) / error(plain, reference, fresh), 1)


@comparison
def second_order_rounding(seed: int) -> Iterator[Value]:
    """3 bits rounded by GPTQ and to the nearest levels."""
    seen, fresh = images(seed)
    reference = plain_net(seed)
    for quantizer in QUANTIZERS:
        for granularity in ("tensor", "channel", "group"):
            model = plain_net(seed)
            quantize(model, 3, quantizer=quantizer, granularity=granularity, group_size=9, fit="range")
            before = error(model, reference, fresh)
            reconstruct(model, seen)
            yield Value(f"{quantizer}, {granularity}", error(model, reference, fresh) / before, 1)


@comparison
def learned_rounding(seed: int) -> Iterator[Value]:
    """3 bits rounded by AdaRound and to the nearest levels, on the images it learned from."""
    seen, _ = images(seed)
    reference, model = plain_net(seed), plain_net(seed)
    quantize(model, 3, fit="range")
    before = error(model, reference, seen)
    reconstruct(model, seen, "adaround", steps=250)
    yield Value("error left", error(model, reference, seen) / before, 1)


@comparison
def learned_blocks(seed: int) -> Iterator[Value]:
    """2 bits with matched norms, before and after the blocks learn."""
    seen, fresh = images(seed)
    reference = residual_net(seed)
    for quantizer in QUANTIZERS:
        model = residual_net(seed)
        quantize(model, 2, quantizer=quantizer, fit="mse")
        match_norms(model, reference, seen)
        before = error(model, reference, fresh)
        reconstruct_blocks(model, reference, seen, steps=100)
        yield Value(quantizer, error(model, reference, fresh) / before, 1)


@comparison
def without_labels(seed: int) -> Iterator[Value]:
    """2 bits with all repairs, without blocks, and plainly rounded: divergence of the answers."""
    seen, fresh = images(seed)
    reference, model, unblocked, plain = (residual_net(seed) for _ in range(4))
    quantize(plain, 2, quantizer="dynamic", fit="range")
    quantize_without_labels(model, 2, seen, steps=100)
    quantize_without_labels(unblocked, 2, seen, steps=0)
    found, without, worst = (divergence(m, reference, fresh) for m in (model, unblocked, plain))
    yield Value("divergence left", found / worst, 0.5)
    yield Value("of that without blocks", found / without, 1)
