"""The recipe that a command line names, with what it puts in the place of the recipe's own settings."""

from __future__ import annotations

from pithnet.commands.settings import CompressSettings, PlanSettings
from pithnet.recipe import (
    Recipe,
    load_recipe,
    parse_budget,
    with_budget,
    with_calibration,
    with_distillation,
)


def asked_recipe(settings: CompressSettings | PlanSettings) -> Recipe:
    """Reads the recipe that the settings name, and changes it as they say.

    Args:
        settings: The recipe's name or file, and budget, images and epochs in the place of its own.

    Raises:
        RecipeError: The recipe is not valid, or takes none of what is asked for.
    """
    recipe = load_recipe(settings.recipe)
    if settings.budget is not None:
        recipe = with_budget(recipe, parse_budget(settings.budget))
    if settings.calibrate is not None:
        recipe = with_calibration(recipe, settings.calibrate)
    return recipe if settings.distill is None else with_distillation(recipe, settings.distill)
