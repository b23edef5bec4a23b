"""When a pass that works while a training runs does its work."""

from __future__ import annotations

from dataclasses import dataclass

from pithnet.errors import RecipeError


@dataclass
class Updates:
    """A number of updates, one at the start of each of as many equal parts of a training's beginning.

    Args:
        number: How many updates there are; 1 or more.
        until: The share of the training over which they are spread, in [0, 1]. From there on only the last
            one is due, where it has not been done.
        last: The update that was done last, counted from 0; -1 before the first.

    Raises:
        RecipeError: `number` is below 1.
    """

    number: int
    until: float = 1.0
    last: int = -1

    def __post_init__(self) -> None:
        if self.number < 1:
            raise RecipeError(f"updates is {self.number}; use 1 or more")

    def due(self, done: float) -> bool:
        """Returns whether an update is due, and counts it as done.

        Args:
            done: The share of the training that is done, in [0, 1].
        """
        part = self.number - 1
        if done < self.until:
            part = min(int(done / self.until * self.number), part)
        if part == self.last:
            return False
        self.last = part
        return True

    @property
    def begun(self) -> float:
        """The share of the parts before that of the last update, in [0, 1)."""
        return max(self.last, 0) / self.number

    @property
    def reached(self) -> float:
        """The share of the parts up to and with that of the last update, in [0, 1]."""
        return (self.last + 1) / self.number
