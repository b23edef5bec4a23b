"""Recipes by name (the presets) or by path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pithnet.errors import RecipeError, require_known
from pithnet.recipe.schema import Recipe, parse


class _Loader(yaml.SafeLoader):
    """Reads YAML, and refuses a key that comes twice in a mapping: the second would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if any(key.value == other.value for other in keys[:number]):
                found = f"key {key.value!r} comes twice"
                raise yaml.constructor.ConstructorError(None, None, found, key.start_mark)
        return super().construct_mapping(node, deep)


def presets() -> list[str]:
    """Lists the names of the recipes that come with pithnet."""
    folder = resources.files("pithnet.recipe") / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_recipe(name: str | Path) -> Recipe:
    """Reads a preset by name, or a YAML file by path.

    Raises:
        RecipeError: No preset has that name, or the file cannot be read or holds no valid recipe.
    """
    if str(name) in presets():
        text = (resources.files("pithnet.recipe") / "presets" / f"{name}.yaml").read_text("utf-8")
        return parse(yaml.safe_load(text), str(name))
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        require_known("recipe", str(name), presets(), RecipeError, "Or give a YAML file.")
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except OSError as e:
        raise RecipeError(f"recipe {path} cannot be read: {e.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise RecipeError(f"recipe {path} is not YAML: {' '.join(str(e).split())}") from None
    except RecursionError:
        raise RecipeError(f"recipe {path} is nested too deep for a recipe") from None
    return parse(content, str(path))


def as_recipe(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """Makes a Recipe of whatever names or holds one.

    Args:
        recipe: A Recipe, which stays as it is; a mapping with the keys of a YAML file, which may leave out
            `name` and is then called "custom"; or a name or path, as `load_recipe` takes it.

    Raises:
        RecipeError: The recipe is unknown or not valid, or is none of these.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        strange = next((key for key in recipe if not isinstance(key, str)), None)
        if strange is not None:
            raise RecipeError(
                f"recipe: keys are names, and one is {strange!r}; write recipe={{'steps': [...]}}"
            )
        return parse({"name": "custom", **recipe}, "recipe")
    if isinstance(recipe, str | Path):
        return load_recipe(recipe)
    raise RecipeError(
        f"recipe is a {type(recipe).__name__}; give a preset's name, a YAML file, a dict with 'steps', or a "
        "Recipe"
    )


def to_yaml(recipe: Recipe) -> str:
    """Writes the recipe as YAML that `load_recipe` reads back to an equal one; defaults are left out."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
