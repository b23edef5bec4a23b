"""Weights that are whole multiples of a step: int8 holds them exactly."""

from __future__ import annotations

import torch
from torch import Tensor

# The product code * step is rounded to float32 once (2^-24), the largest weight it is found from once more.
_ROUNDING = 2.0**-22
_SAMPLE = 32
_CHUNK = 1 << 20  # weights looked at together: bounds the memory for float64 copies


def integer_grid(weight: Tensor, limit: int = 127) -> tuple[Tensor, Tensor] | None:
    """Finds codes and steps with weight = codes * steps in every output channel.

    Equality is that of float32 products, up to the last bit. A symmetric quantizer of 8 bits or fewer lies on
    such a grid, a codebook in general does not.

    Args:
        weight: float32 (C, ...).
        limit: The largest magnitude of a code.

    Returns:
        None where there is no such grid; else codes, int8 of the weight's shape in -limit..limit, and steps,
        float32 (C,): the largest that will do, 1 for a channel of zeros.
    """
    channels = max(1, _CHUNK // max(weight[:1].numel(), 1))
    parts = []
    for part in weight.detach().split(channels):
        found = _on_grid(part.double().flatten(1), limit)
        if found is None:
            return None
        parts.append(found)
    codes, steps = (torch.cat(halves) for halves in zip(*parts, strict=True))
    return codes.view_as(weight), steps


def _on_grid(rows: Tensor, limit: int) -> tuple[Tensor, Tensor] | None:
    """Does what `integer_grid` does, for float64 (C, M)."""
    top = rows.abs().amax(1)
    codes, steps = torch.zeros_like(rows), torch.ones_like(top)
    fits = _candidates(rows, top, limit)
    left = torch.nonzero(top > 0).flatten()
    while len(left):
        highest = fits[:, left].to(torch.uint8).argmax(0)  # the first that fits: the largest step
        if not bool(fits[highest, left].all()):
            return None
        step = top[left] / (highest + 1)
        rounded = rows[left] / step[:, None]
        whole = rounded.round()
        good = ((rounded - whole).abs() <= _ROUNDING * whole.abs()).all(1)
        codes[left[good]], steps[left[good]] = whole[good], step[good]
        fits[highest, left] = False
        left = left[~good]
    return codes.to(torch.int8), _nearest_float32(rows, codes, steps)


def _candidates(rows: Tensor, top: Tensor, limit: int) -> Tensor:
    """Returns bool (limit, C): whether channel c's largest weights are multiples of the largest over n."""
    largest = rows.abs().topk(min(_SAMPLE, rows.shape[1]), dim=1).values
    largest /= top.clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    fits = torch.empty(limit, len(rows), dtype=torch.bool, device=rows.device)
    for n in range(1, limit + 1):
        scaled = largest * n
        whole = scaled.round()
        fits[n - 1] = ((scaled - whole).abs() <= _ROUNDING * whole).all(1)
    return fits


def _nearest_float32(rows: Tensor, codes: Tensor, steps: Tensor) -> Tensor:
    """Returns the steps as those float32 whose products with the codes come closest to the weights."""
    middle, weights = steps.float(), rows.float()
    up, down = torch.full_like(middle, torch.inf), torch.full_like(middle, -torch.inf)
    candidates = torch.stack([middle, middle.nextafter(up), middle.nextafter(down)])
    errors = [(codes.float() * s[:, None] - weights).abs().sum(1) for s in candidates]
    best = torch.stack(errors).argmin(0)
    return candidates.gather(0, best[None])[0]
