"""What `lab deep-compression` tries, how it trains, and what its first three items start from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from pithnet.labs.deep_compression import pipeline
from pithnet.labs.options import LabOptions
from pithnet.labs.start import earlier
from pithnet.labs.teachers import NONE, LabTeacher
from pithnet.learn import Training, from_scratch
from pithnet.recipe import Recipe, load_recipe

BY_RECIPE, ONE_SHOT, FROM_FILE = "recipe", "one-shot", "file"


@dataclass(frozen=True)
class Settings:
    """The lab's trainings and widths. `agreement` is what item 1 asks for.

    `one_shot` is the share of zeros, in one ranking over all layers, of the network that items 1 to 3 start
    from where the recipe is not carried out.
    """

    baseline: Training
    tune: Training
    recipe: Recipe
    bits: tuple[int, ...] = (6, 5, 4, 3)
    init_bits: tuple[int, ...] = (4, 3)
    huffman_bits: int = 5
    agreement: float = 0.99
    one_shot: float = 0.5

    def taught(self, teacher: LabTeacher | None) -> Settings:
        """Returns the same, with a recipe that does not distil where there is no teacher."""
        if teacher is None or teacher.kind != NONE:
            return self
        distill = self.recipe.distill.model_copy(update={"weight": 0.0})
        return replace(self, recipe=self.recipe.model_copy(update={"distill": distill}))


def full_settings(seed: int) -> Settings:
    """Returns the preset of the same name, and 40 epochs for the float network."""
    recipe = load_recipe("deep-compression").model_copy(update={"seed": seed})
    tune = Training(2, lr=0.01)
    return Settings(from_scratch(40), tune, recipe)


def quick_settings(seed: int) -> Settings:
    """Returns the demo's recipe in a quarter of its epochs."""
    recipe = pipeline.shortened(load_recipe("demo"), 4).model_copy(update={"seed": seed})
    tune = Training(1, lr=0.02)
    return Settings(from_scratch(8), tune, recipe, init_bits=(3,))


def starting_point(out: Path, options: LabOptions, wanted: Collection[str]) -> str:
    """Returns FROM_FILE with --pruned, BY_RECIPE where item 4 is asked for, else ONE_SHOT.

    A lab that goes on keeps what it began with, where that is to be had without the file.
    """
    if options.pruned is not None:
        return FROM_FILE
    if options.resume and (before := earlier(out, "start")) in (BY_RECIPE, ONE_SHOT):
        return before
    return BY_RECIPE if "4" in wanted else ONE_SHOT
