"""The one description of a training, for recipes, for the trainer and for the command line.

It needs neither torch nor pydantic, so that every room can use it.
"""

# Without `from __future__ import annotations`: the command line reads the fields' types in the module of a
# subclass, where the names of this one are unknown.
import math
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pithnet.errors import RecipeError


@dataclass(frozen=True)
class Range:
    """The numbers that a field takes: `ge` and `le` are included, `gt` and `lt` are not."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def holds(self, value: float) -> bool:
        """Returns whether `value` is finite and within the limits."""
        inside = {"ge": value.__ge__, "gt": value.__gt__, "le": value.__le__, "lt": value.__lt__}
        return math.isfinite(value) and all(inside[name](type(value)(v)) for name, v in self.limits.items())

    def __str__(self) -> str:
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return " and ".join(f"{words[name]} {limit:g}" for name, limit in self.limits.items())

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Lets pydantic check the limits itself, where a recipe holds the description."""
        schema = dict(handler(source))
        inner = schema if schema["type"] in ("int", "float") else schema["schema"]
        inner.update(self.limits)
        if inner["type"] == "float":
            inner["allow_inf_nan"] = False
        return schema


@dataclass(frozen=True)
class Train:
    """How a network is trained. The defaults suit the fine-tuning of a trained network.

    Args:
        epochs: How often each sample is seen.
        lr: The highest learning rate of the schedule.
        schedule: How the learning rate moves: one-cycle (linear rise, linear fall), cosine or constant.
        warmup: The share of the training in which the learning rate rises, in [0, 1).
        optimizer: "sgd" (Nesterov's momentum) or "adamw" (Loshchilov & Hutter 2019).
        momentum: SGD's momentum; AdamW's beta_1. AdamW's beta_2 is 0.999.
        weight_decay: It acts on matrices and filters, not on biases, normalisation and shared values.
        clip_norm: The largest L2 norm of the gradient of all parameters together; null does not clip.

    Raises:
        RecipeError: A number is outside its range, or a name is unknown.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    epochs: Annotated[int, Range(ge=1)]
    lr: Annotated[float, Range(gt=0)] = 0.02
    schedule: Literal["one-cycle", "cosine", "constant"] = "cosine"
    warmup: Annotated[float, Range(ge=0, lt=1)] = 0.0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Range(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Range(ge=0)] = 5e-4
    clip_norm: Annotated[float, Range(gt=0)] | None = None

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Train, include_extras=True).items():
            value = getattr(self, name)
            limits = next((m for m in _metadata(hint) if isinstance(m, Range)), None)
            if limits is not None and value is not None and not limits.holds(value):
                raise RecipeError(f"{name} {value}: it must be {limits}")

    def settings(self) -> dict[str, Any]:
        """Returns the fields of the description alone, by name, whatever a subclass adds."""
        return {field.name: getattr(self, field.name) for field in fields(Train)}


def _metadata(hint: Any) -> tuple[Any, ...]:
    """What stands behind the type in Annotated[...], also where it may be None."""
    found = getattr(hint, "__metadata__", ())
    for part in getattr(hint, "__args__", ()):
        found += getattr(part, "__metadata__", ())
    return tuple(found)
