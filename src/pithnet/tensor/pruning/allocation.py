"""How many weights each layer loses when the whole model is to lose `sparsity` of them. Totals are exact."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pithnet.errors import RecipeError
from pithnet.tensor._checks import require_fraction


def uniform(sizes: Sequence[int], sparsity: float) -> list[int]:
    """Returns the zeros of each layer, the same share of each.

    The sum is round(sparsity * sum(sizes)); what rounding leaves over goes to the largest remainders.

    Args:
        sizes: The weights of each layer.
        sparsity: The share of zeros in all, in [0, 1].

    Raises:
        RecipeError: The sparsity is outside [0, 1].
    """
    require_fraction(sparsity, "sparsity")
    total = sum(sizes)
    target = round(sparsity * total)
    # Integer arithmetic: no float noise can move a remainder across a whole number.
    zeros = [size * target // total if total else 0 for size in sizes]
    remainders = [size * target % total if total else 0 for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda layer: -remainders[layer])
    for layer in by_remainder[: target - sum(zeros)]:
        zeros[layer] += 1
    return zeros


def erk(shapes: Sequence[Sequence[int]], sparsity: float) -> list[int]:
    """Returns the zeros of each layer by Erdos-Renyi-Kernel (RigL, Evci et al. 2020, section 3).

    The density of layer l is proportional to sum(shape_l) / prod(shape_l). Layers whose density would exceed
    1 stay dense, and the rest carry their share. The sum is round(sparsity * weights).

    Args:
        shapes: As torch has them, (out, in, kh, kw) or (out, in).
        sparsity: The share of zeros in all, in [0, 1].

    Raises:
        RecipeError: The sparsity is outside [0, 1].
    """
    require_fraction(sparsity, "sparsity")
    sizes = [math.prod(shape) for shape in shapes]
    target = round(sparsity * sum(sizes))
    densities = _erk_densities(shapes, sizes, kept=sum(sizes) - target)
    return _apportion(
        [size * (1.0 - density) for size, density in zip(sizes, densities, strict=True)], sizes, target
    )


def _erk_densities(shapes: Sequence[Sequence[int]], sizes: list[int], kept: int) -> list[float]:
    """Densities in [0, 1] that keep `kept` weights in all, up to float rounding."""
    dense = {layer for layer, size in enumerate(sizes) if size == 0}
    while True:
        sparse = [layer for layer in range(len(sizes)) if layer not in dense]
        budget = kept - sum(sizes[layer] for layer in dense)
        # size * sum(shape)/size: at scale 1 a layer keeps sum(shape) weights.
        mass = sum(sum(shapes[layer]) for layer in sparse)
        scale = budget / mass if mass else 0.0
        over = {layer for layer in sparse if scale * sum(shapes[layer]) > sizes[layer]}
        if not over:
            return [
                1.0 if layer in dense else scale * sum(shapes[layer]) / sizes[layer]
                for layer in range(len(sizes))
            ]
        # Making one dense only raises the others' scale, so none of these would come back under 1.
        dense |= over


def _apportion(ideal: list[float], sizes: list[int], target: int) -> list[int]:
    """Integers near `ideal`, each in [0, size], with the sum `target`: the largest remainders first."""
    counts = [min(max(math.floor(x), 0), size) for x, size in zip(ideal, sizes, strict=True)]
    order = sorted(range(len(sizes)), key=lambda layer: counts[layer] - ideal[layer])
    while (missing := target - sum(counts)) != 0:
        step = 1 if missing > 0 else -1
        open_layers = [layer for layer in order[::step] if 0 <= counts[layer] + step <= sizes[layer]]
        if not open_layers:
            raise RecipeError(f"Cannot place {target} zeros in {sum(sizes)} weights.")
        for layer in open_layers[: abs(missing)]:
            counts[layer] += step
    return counts
