"""What a network may cost without some channels, as a caller asks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pithnet.errors import RecipeError, lookup
from pithnet.passes.shrinking.search import SEARCHES, Search


@dataclass(frozen=True)
class Asked:
    """A budget, and how it is spread over the groups of channels.

    Attributes:
        scope: A name in `SEARCHES`.
        budgets: What was given under each name; "rates" is the share that layers keep, all others are a share
            of the whole network's cost or a count. All but one are None.
        progress: The share of what goes in the end that is to go now, in [0, 1].
        full_bytes: The bytes of the whole network, of which a budget of bytes may be a share; None weighs it.
            They are given where the network trains and some of its channels are zero, which take few bytes.
    """

    scope: str
    budgets: Mapping[str, Any]
    progress: float = 1.0
    full_bytes: int | None = None

    def check(self) -> None:
        """Refuses what makes no sense, whatever the network.

        Raises:
            RecipeError: The scope is unknown, the number of budgets is not 1, or it is neither a share nor a
                count nor, of rates, a table.
        """
        lookup("scope", self.scope, SEARCHES, RecipeError)
        named = [name for name, value in self.budgets.items() if value is not None]
        if len(named) != 1:
            *others, last = self.budgets
            found = " and ".join(named) or "none of them"
            raise RecipeError(f"give one of {', '.join(others)} and {last}, such as macs=0.5; given: {found}")
        if self.name != "rates":
            _check_amount(self.name, self.amount)
        elif not isinstance(self.amount, Mapping):
            raise RecipeError(f"rates is a table {{layer: share that it keeps}}, not {self.amount!r}")

    @property
    def search(self) -> Search:
        """What chooses channels."""
        return SEARCHES[self.scope]

    @property
    def name(self) -> str:
        """The name of the budget that is given."""
        return next(name for name, value in self.budgets.items() if value is not None)

    @property
    def amount(self) -> Any:
        """The budget that is given."""
        return self.budgets[self.name]

    @property
    def rates(self) -> dict[str, float]:
        """The share of its outputs that a layer is to keep now, by name."""
        return {
            layer: 1 - self.progress * (1 - rate) if self._rises(rate) else rate
            for layer, rate in self.amount.items()
        }

    def _rises(self, rate: Any) -> bool:
        return self.progress < 1 and isinstance(rate, int | float)

    def count(self, full: int) -> int:
        """Returns the budget of now as a whole number, where the whole network costs `full`."""
        end = math.floor(self.amount * full * (1 + 1e-12)) if self.amount <= 1 else int(self.amount)
        return end if self.progress == 1 else full - math.ceil((full - end) * self.progress)

    def impossible(self, least: int, full: int, stay: str) -> RecipeError:
        """Says that a budget cannot be kept by a network that costs `least` at its least widths.

        Args:
            least: What it costs.
            full: What the whole network costs.
            stay: Which layers cannot lose channels, with the reasons; "" where all can.
        """
        return RecipeError(
            f"{self.name}={self.amount:g} cannot be kept: with every layer at its least width {least:,} of "
            f"{full:,} are left ({least / full:.3g}); ask for more, or lower floor or round_to{stay}"
        )


def _check_amount(name: str, asked: Any) -> None:
    is_number = isinstance(asked, int | float) and not isinstance(asked, bool) and math.isfinite(asked)
    if not is_number or asked <= 0 or (asked > 1 and asked != int(asked)):
        raise RecipeError(f"{name} is a share above 0 and up to 1, or a whole number above 1, not {asked!r}")
