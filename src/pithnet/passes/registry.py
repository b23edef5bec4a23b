"""All passes by name; docs/adding.md says how a new one becomes known."""

from __future__ import annotations

from typing import Any

from pithnet.passes.needs import Need
from pithnet.passes.step import Pass
from pithnet.passes.steps.post_training import PostTrainingQuantization
from pithnet.passes.steps.pruning import Pruning
from pithnet.passes.steps.quantization import Quantization
from pithnet.passes.steps.regularizing import Regularizing
from pithnet.passes.steps.sharing import Sharing
from pithnet.passes.steps.shrinking import Shrinking
from pithnet.recipe import Recipe, Step, forget_settings, register_settings

PASSES: dict[str, type[Pass[Any]]] = {
    "prune": Pruning,
    "share": Sharing,
    "regularize": Regularizing,
    "shrink": Shrinking,
    "quantize": Quantization,
    "post_training": PostTrainingQuantization,
}


def register(name: str, kind: type[Pass[Any]]) -> None:
    """Makes a pass known: from then on a step of a recipe may have the key `name`.

    Args:
        name: The key of the pass in a step.
        kind: The class of the pass; its `config` is what the key holds.

    Raises:
        RecipeError: A step has such a key already.
    """
    register_settings(name, kind.config)
    PASSES[name] = kind


def forget(name: str) -> None:
    """Undoes `register`."""
    forget_settings(name)
    del PASSES[name]


def needs_of(recipe: Recipe) -> frozenset[Need]:
    """Returns what the passes of a recipe need beside the weights, all together."""
    works = [pass_of(step) for step in recipe.steps]
    return frozenset().union(*(work.needs for work in works if work is not None))


def pass_of(step: Step) -> Pass[Any] | None:
    """Returns the pass of a recipe's step as a new value, None where the step has none."""
    return None if step.settings is None else PASSES[step.kind](step.kind, step.settings)
