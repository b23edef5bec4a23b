"""What a pass may need beside the weights, and what it is given: nothing that it did not ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import torch
from torch import nn

from pithnet.errors import RecipeError
from pithnet.learn import Loss
from pithnet.surgery.graph.inputs import one_sample


class Need(StrEnum):
    """Something that a pass needs beside the network; each is a field of `Given`, or of its `batches`."""

    BATCHES = "batches"
    LABELS = "labels"
    EXAMPLE = "example"
    WEIGH = "weigh"


_HOW = {
    Need.BATCHES: "training data: give train=, or images on the command line",
    Need.LABELS: "training data with labels: give batches (x, y)",
    Need.EXAMPLE: "an input to run the model on: give training or test data, or a plan an example",
    Need.WEIGH: "the bytes of the file that comes out, which only a whole recipe knows",
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a pass is given.

    Attributes:
        seed: Of every random choice that the pass makes.
        batches: Training batches, as `pithnet.learn.read_batch` takes them.
        labelled: Whether the batches have labels.
        example: The inputs of one batch.
        loss: What the gradients are those of; None is the cross-entropy of the labels.
        weigh: Gives the bytes that the file will take, of a network as this pass may leave it.
    """

    seed: int = 0
    batches: Iterable[Any] | None = None
    labelled: bool = False
    example: Any = None
    loss: Loss | None = None
    weigh: Callable[[nn.Module], int] | None = None

    @property
    def plain_batches(self) -> Iterable[Any]:
        """The batches without augmentation where the loader can leave it out (`data.Batches.plain`)."""
        plain = getattr(self.batches, "plain", None)
        return (self.batches or ()) if plain is None else plain()

    @property
    def sample(self) -> Any:
        """The first sample of the example, (1, ...)."""
        return one_sample(self.example)

    @property
    def generator(self) -> torch.Generator:
        """A new generator of random numbers, in the state that the seed gives."""
        return torch.Generator().manual_seed(self.seed)

    def has(self, need: Need) -> bool:
        """Returns whether there is what the need asks for."""
        if need is Need.LABELS:
            return self.batches is not None and (self.labelled or self.loss is not None)
        return getattr(self, need.value) is not None

    def require(self, needs: Iterable[Need], what: str) -> None:
        """Refuses a pass, called `what`, that needs something there is not.

        Raises:
            RecipeError: It says what is missing and how to give it.
        """
        for need in sorted(needs):
            if not self.has(need):
                raise RecipeError(f"{what} needs {_HOW[need]}")

    def only(self, needs: Iterable[Need]) -> Given:
        """Returns what a pass with these needs gets; all else is left out, so that no pass leans on it."""
        asked = set(needs)
        kept: dict[str, Any] = {"seed": self.seed}
        if asked & {Need.BATCHES, Need.LABELS}:
            kept |= {"batches": self.batches, "labelled": self.labelled, "loss": self.loss}
        if Need.EXAMPLE in asked:
            kept["example"] = self.example
        if Need.WEIGH in asked:
            kept["weigh"] = self.weigh
        return _Narrowed(**kept, names=frozenset(kept))


@dataclass(frozen=True, kw_only=True)
class _Narrowed(Given):
    """`Given.only`: reading what was not asked for is a mistake in the pass, and said to be one."""

    names: frozenset[str] = frozenset()

    def __getattribute__(self, name: str) -> Any:
        read = object.__getattribute__
        if name in _FIELDS and name not in read(self, "names"):
            raise TypeError(f"the pass reads {name!r} and does not declare that it needs it")
        return read(self, name)


_FIELDS = frozenset(field.name for field in fields(Given))
