"""Statements on few levels, settled on one small network trained on the bundled digits."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.labs.claims.batches import first_batch
from pithnet.labs.claims.verdicts import DEPENDS, FALSE, TRUE, Found
from pithnet.labs.workbench import Workbench
from pithnet.passes import average_bits, prune, quantize
from pithnet.policies import allocate_bits, divergence, sensitivity
from pithnet.surgery import weighted_layers


def pruning_and_quantization(model: nn.Module, bench: Workbench) -> Found:
    """Statement 1: the damage of pruning and quantization together beside the sum of each alone, in nats."""
    images = bench.calibration_images(512)
    rows = []
    for zeros in (0.3, 0.5, 0.7):
        for bits in (4, 3, 2):
            both = [_damage(model, images, z, b) for z, b in ((zeros, None), (0.0, bits), (zeros, bits))]
            rows.append(
                {"zeros": zeros, "bits": bits, "pruned": both[0], "quantized": both[1], "both": both[2]}
            )
    ratios = [r["both"] / (r["pruned"] + r["quantized"]) for r in rows]
    errors = _errors(model)
    numbers = {"rows": rows, "least_ratio": min(ratios), "largest_ratio": max(ratios), "errors": errors}
    return Found(FALSE if max(ratios) > 1.1 or min(ratios) < 0.9 else TRUE, numbers)


def _damage(model: nn.Module, images: Tensor, zeros: float, bits: int | None) -> float:
    changed = copy.deepcopy(model)
    if zeros:
        prune(changed, zeros, scope="uniform")
    if bits is not None:
        quantize(changed, bits, quantizer="dynamic", granularity="tensor", fit="range")
    return divergence(changed, model, images)


def _errors(model: nn.Module) -> dict[str, float]:
    """Squared error of 3-bit levels per weight, without zeros and with 70 % of them: zeros have none."""
    found = {}
    for zeros in (0.0, 0.7):
        changed = copy.deepcopy(model)
        prune(changed, zeros, scope="uniform")
        before = [layer.weight.detach().clone() for _, layer in weighted_layers(changed)]
        quantize(changed, 3, quantizer="dynamic", granularity="tensor", fit="range")
        after = [layer.weight.detach() for _, layer in weighted_layers(changed)]
        size = sum(w.numel() for w in before)
        found[f"{zeros:g}"] = (
            sum(float((a - b).square().sum()) for a, b in zip(before, after, strict=True)) / size
        )
    return found


def straight_through_gradient(model: nn.Module, bench: Workbench) -> Found:
    """Statement 9: the gradient that reaches the weights beside the one of the quantized weights."""
    quantized = copy.deepcopy(model)
    quantize(quantized, 3, quantizer="dynamic", granularity="tensor", fit="range")
    x, y = first_batch(bench.test_batches())
    layers = [layer for _, layer in weighted_layers(quantized)]
    latent = [p for p in quantized.parameters() if p.ndim > 1]
    F.cross_entropy(quantized(x), y).backward()
    plain = copy.deepcopy(model)
    for (_, layer), source in zip(weighted_layers(plain), layers, strict=True):
        holder = layer.holders[0]
        getattr(holder.module, holder.tensor).data.copy_(source.weight.detach())
    F.cross_entropy(plain(x), y).backward()
    direct = [p for p in plain.parameters() if p.ndim > 1]
    through, own = (torch.cat([_gradient(p).flatten() for p in some]) for some in (latent, direct))
    gap, largest = float((through - own).abs().max()), float(own.abs().max())
    weights = max(layer.weight.detach().unique().numel() for layer in layers)
    numbers: dict[str, Any] = {
        "largest_gap": gap,
        "largest_gradient": largest,
        "distinct_weights_of_a_layer": weights,
        "distinct_gradients": through.unique().numel(),
        "weights": through.numel(),
    }
    # The two networks add the same numbers up in another order at most.
    unchanged = gap <= 0.01 * largest and numbers["distinct_gradients"] > 100 * weights
    return Found(FALSE if unchanged else TRUE, numbers)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def mixed_precision(model: nn.Module, bench: Workbench) -> Found:
    """Statement 10: bits by sensitivity against the same bits everywhere, at equal average bits."""
    choose, judge = bench.calibration_images(256), first_batch(bench.choice_batches())[0]
    harms = sensitivity(model, choose, fit="mse")
    rows: list[dict[str, Any]] = []
    for bits in (2, 3, 4, 5):
        uniform = copy.deepcopy(model)
        quantize(uniform, bits, fit="mse")
        mixed = copy.deepcopy(model)
        found = allocate_bits(model, harms, average_bits=float(bits))
        quantize(mixed, 8, fit="mse", overrides=found)
        rows.append(
            {
                "bits": bits,
                "average": average_bits(mixed),
                "uniform": divergence(uniform, model, judge),
                "mixed": divergence(mixed, model, judge),
                "widths": list(found.values()),
            }
        )
    better = sum(r["mixed"] < r["uniform"] for r in rows)
    verdict = TRUE if better == len(rows) else DEPENDS if better else FALSE
    return Found(verdict, {"rows": rows, "better": better})
