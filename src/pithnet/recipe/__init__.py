"""What to do, as data."""

from pithnet.recipe.files import as_recipe, load_recipe, presets, to_yaml
from pithnet.recipe.schema import (
    Distill,
    Keep,
    Prune,
    Quantize,
    Recipe,
    Regularize,
    Share,
    Step,
    Train,
    parse,
)

__all__ = [
    "Distill",
    "Keep",
    "Prune",
    "Quantize",
    "Recipe",
    "Regularize",
    "Share",
    "Step",
    "Train",
    "as_recipe",
    "load_recipe",
    "parse",
    "presets",
    "to_yaml",
]
