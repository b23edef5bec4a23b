"""Budgets as they are typed, and the recipe that keeps them."""

from __future__ import annotations

from collections.abc import Mapping

from pithnet.errors import RecipeError
from pithnet.recipe.schema import Recipe, parse

_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}
_DISTILLED = {"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 0.1}
_MOST_VIEWS = 6
_HOW = "write it as in bytes=63k, macs=0.5, parameters=1.5M or rate=2.5"
_REAL = ("rate",)  # bits a weight, of which there may be a part


def parse_budget(text: str) -> dict[str, float]:
    """Reads budgets: "bytes=63k,macs=0.5" becomes {"bytes": 63000.0, "macs": 0.5}.

    Args:
        text: Names and amounts. k, M and G are 10^3, 10^6 and 10^9; a number up to 1 is a share, but that
            of `rate`, which may be any number above 0.

    Raises:
        RecipeError: A name comes twice, or an amount is neither a share up to 1 nor a whole number above 1,
            or a `rate` not above 0.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, amount = (piece.strip() for piece in part.partition("="))
        if not (name and equals and amount):
            raise RecipeError(f"budget {part.strip()!r} is not NAME=AMOUNT; {_HOW}")
        if name in found:
            raise RecipeError(f"budget {name} is given twice")
        found[name] = _amount(name, amount)
    return found


def _amount(name: str, text: str) -> float:
    unit = _UNITS.get(text[-1], 1)
    try:
        value = float(text[:-1] if unit > 1 else text) * unit
    except ValueError:
        raise RecipeError(f"budget {name}={text} is no number; {_HOW}") from None
    is_positive = 0 < value < float("inf")
    if name in _REAL:
        if not is_positive:
            raise RecipeError(f"budget {name}={text} is no number above 0; {_HOW}")
    elif not is_positive or (value > 1 and value != round(value)):
        raise RecipeError(
            f"budget {name}={text} is neither a share up to 1 nor a whole number above 1; {_HOW}"
        )
    return value


def with_budget(recipe: Recipe, budget: Mapping[str, float]) -> Recipe:
    """Returns the recipe with these budgets in the last step that takes each, in the place of its own.

    Args:
        recipe: The recipe.
        budget: Amounts by name, as `parse_budget` gives them.

    Raises:
        RecipeError: No step of the recipe takes a budget of that name, or one step would get two of which it
            takes either.
    """
    if not isinstance(budget, Mapping):
        raise RecipeError(f'a budget is a mapping such as {{"bytes": 63_000}}, not {budget!r}')
    content = recipe.model_dump(exclude_unset=True)
    steps = [dict(step) for step in content["steps"]]
    given: dict[int, str] = {}
    for name, amount in budget.items():
        number = _last(recipe, name)
        if number in given:
            raise RecipeError(f"give {given[number]} or {name}, not both: step {number + 1} keeps one budget")
        given[number] = name
        kind = recipe.steps[number].kind
        settings = recipe.steps[number].settings
        assert settings is not None
        others = {key: value for key, value in steps[number][kind].items() if key not in settings.budgets}
        steps[number][kind] = {**others, name: amount}
    return parse({**content, "steps": steps}, recipe.name)


def with_calibration(recipe: Recipe, count: int) -> Recipe:
    """Returns the recipe with this number of images in each step that looks at some without labels.

    Args:
        recipe: The recipe.
        count: How many images, 0 for none at all.

    Raises:
        RecipeError: No step of the recipe looks at images without labels, or the count is negative.
    """
    content = recipe.model_dump(exclude_unset=True)
    steps = [dict(step) for step in content["steps"]]
    found = [step for step in steps if "post_training" in step]
    if not found:
        raise RecipeError(f"recipe {recipe.name!r} calibrates on no images: it has no step post_training")
    for step in found:
        step["post_training"] = {**step["post_training"], "calibrate": count}
    return parse({**content, "steps": steps}, recipe.name)


def with_distillation(recipe: Recipe, epochs: int) -> Recipe:
    """Returns the recipe with a training after its last rounding without labels, taught by the float network.

    Levels, BN and biases go on learning from the float network's answers alone, on augmented training images,
    while the price of bits keeps the budget.

    Args:
        recipe: The recipe.
        epochs: How often each training image is seen.

    Raises:
        RecipeError: The recipe has no step `post_training`, or the number of epochs is below 1.
    """
    if epochs < 1:
        raise RecipeError(f"a distillation takes 1 epoch or more, not {epochs}")
    content = recipe.model_dump(exclude_unset=True)
    steps = [dict(step) for step in content["steps"]]
    found = [step for step in steps if "post_training" in step]
    if not found:
        raise RecipeError(f"recipe {recipe.name!r} has no step post_training, after which it could distil")
    found[-1]["post_training"] = {**found[-1]["post_training"], "trained": True}
    found[-1]["train"] = {"epochs": epochs, **_DISTILLED}
    taught = {"weight": 1.0, "temperature": 4.0, "views": max(1, min(epochs, _MOST_VIEWS))}
    told = (
        "Small without labels; levels go on learning from the float network or a teacher, in the same bytes."
    )
    changed = {"description": told, "steps": steps, "distill": taught, "augment": True}
    return parse({**content, **changed}, recipe.name)


def _last(recipe: Recipe, name: str) -> int:
    taken = {
        number: step.settings.budgets for number, step in enumerate(recipe.steps) if step.settings is not None
    }
    found = [number for number, names in taken.items() if name in names]
    if not found:
        known = sorted({known for names in taken.values() for known in names})
        has = f"it takes {', '.join(known)}" if known else "none of its steps takes a budget"
        raise RecipeError(f"recipe {recipe.name!r} takes no budget of {name}; {has}")
    return found[-1]
