"""Which pass may come after which."""

from __future__ import annotations

from collections.abc import Iterable

from pithnet.errors import RecipeError
from pithnet.passes.layers import refuse_coded
from pithnet.passes.sketch import LayerSketch
from pithnet.surgery import Mask, parametrization

_CODED = {
    "share": ("sharing", "shared"),
    "quantize": ("quantizing", "quantized"),
    "post_training": ("quantizing", "quantized"),
}


def refuse_after_coding(layers: Iterable[LayerSketch], title: str) -> None:
    """Refuses to prune layers that an earlier pass shares, or quantizes without a mask before it.

    Raises:
        RecipeError: A pass of the recipe comes too early.
        ModelError: A layer of the model is coded already.
    """
    known = list(layers)
    refuse_coded((layer.name, layer.layer) for layer in known)
    for layer in known:
        *before, _ = layer.passes
        masked = parametrization(layer.layer, Mask) is not None or {"prune", "regularize"} & set(before)
        coded = [name for name in before if name in _CODED and (name == "share" or not masked)]
        if coded:
            coding, how = _CODED[coded[0]]
            raise RecipeError(
                f"{title!r} comes after {coding}, but {how} weights cannot be pruned; prune before {coding}"
            )
