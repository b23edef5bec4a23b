"""A pass of a recipe as a value: what it needs, what it will do, how it begins, and what it did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from torch import nn

from pithnet.learn import StepSchedule
from pithnet.passes.needs import Given, Need
from pithnet.passes.records import Record
from pithnet.passes.sketch import Sketch
from pithnet.recipe import PassSettings
from pithnet.results import LayerRow

Settings = TypeVar("Settings", bound=PassSettings)


class Pass(ABC, Generic[Settings]):
    """One pass of one recipe, with its settings.

    A subclass and a call of `pithnet.passes.register` make a new pass; docs/adding.md says what one in the
    tree takes. What it can be told is its `config`, a class of `pithnet.recipe`, which knows no torch.

    Attributes:
        config: The class of the settings.
        name: The pass's key in a step of a recipe.
        settings: What the recipe says.
    """

    config: ClassVar[type[PassSettings]] = PassSettings

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings

    @property
    def needs(self) -> frozenset[Need]:
        """What the pass needs beside the weights; it is checked before anything changes."""
        return frozenset()

    @abstractmethod
    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        """Says what the pass will do, and changes the sketch's samples as it would change the weights.

        Args:
            sketch: The layers as the passes before leave them.
            given: What the pass asked for in its `needs`.

        Returns:
            A row for each layer that the pass will touch.

        Raises:
            RecipeError: The settings ask for something that the model cannot give.
            ModelError: A layer cannot be compressed so.
        """

    @abstractmethod
    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        """Changes the model, in place, and returns what is to run while it trains, or None.

        Args:
            model: The network of the run.
            given: What the pass asked for in its `needs`.

        Raises:
            RecipeError: The settings ask for something that the model cannot give.
            ModelError: A layer cannot be compressed so.
            DataError: The batches cannot be used.
        """

    def resume(self, model: nn.Module, given: Given) -> StepSchedule | None:
        """Returns what is to run while a restored model trains on that has been through `begin`, or None.

        Args:
            model: The network as it was when the run stopped.
            given: What the pass asked for in its `needs`.
        """
        return None

    @abstractmethod
    def finish(self) -> Record:
        """Returns what the pass did: the plan's rows, as they happened.

        It is called once: after the step's training where something ran in it, else right after `begin`.
        """

    @property
    def structure(self) -> dict[str, Any] | None:
        """What a later process needs to give a network the same modules and shapes, as plain data.

        It is None where the pass changed numbers only, or parametrizations, which a state_dict tells of.
        """
        return None

    def rebuild(self, model: nn.Module, given: Given, structure: dict[str, Any]) -> None:
        """Gives a network the modules and shapes that it had after the pass, in place, whatever its numbers.

        Args:
            model: The network as it was before the pass.
            given: What the pass asked for in its `needs`.
            structure: What `structure` gave then.
        """
        raise NotImplementedError
