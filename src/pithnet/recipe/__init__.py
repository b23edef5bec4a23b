"""What to do, as data."""

from pithnet.recipe.budgets import parse_budget, with_budget, with_calibration, with_distillation
from pithnet.recipe.files import as_recipe, load_recipe, presets, to_yaml
from pithnet.recipe.passes import PassSettings, Prune, Quantize, Regularize, Share
from pithnet.recipe.post_training import PostTraining
from pithnet.recipe.schema import (
    FORMAT_BITS,
    SETTINGS,
    Distill,
    Keep,
    Recipe,
    Step,
    forget_settings,
    parse,
    register_settings,
)
from pithnet.recipe.shrinking import Shrink
from pithnet.training import Train

__all__ = [
    "FORMAT_BITS",
    "SETTINGS",
    "Distill",
    "Keep",
    "PassSettings",
    "PostTraining",
    "Prune",
    "Quantize",
    "Recipe",
    "Regularize",
    "Share",
    "Shrink",
    "Step",
    "Train",
    "as_recipe",
    "forget_settings",
    "load_recipe",
    "parse",
    "parse_budget",
    "presets",
    "register_settings",
    "to_yaml",
    "with_budget",
    "with_calibration",
    "with_distillation",
]
