"""What the pass `shrink` can be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pithnet.recipe.passes import Budget, PassSettings

_BUDGETS = ("macs", "parameters", "bytes", "rates")
_OF_PENALTY = ("penalty", "strength", "ceiling", "until", "patience")


class Shrink(PassSettings):
    """Channels really removed, until one of `macs`, `parameters`, `bytes` and `rates` is kept.

    The keys are the arguments of `pithnet.plan_shrink`. With a `ramp` channels become zero while the step's
    training runs, more and more over that share of it, and are cut at its end; without one they are cut at
    once. Bytes are those of the file after all steps of the recipe, as its plan expects them.

    Attributes:
        macs: The multiply-accumulates of one sample: a share up to 1, or a whole number above 1.
        parameters: The numbers of the parameters, in the same way.
        bytes: The bytes of the file, in the same way.
        rates: The share of its outputs that a layer keeps, by name.
        criterion: What ranks the channels: a name in `pithnet.tensor.CHANNEL_CRITERIA`.
        aggregation: How what a channel has in several layers is added up: a name in
            `pithnet.tensor.AGGREGATIONS`.
        consumers: Whether the weights that read a channel count beside those that make it.
        scope: Whether all channels are ranked together, or every group keeps the same share.
        round_to: A width is the original one or a multiple of this.
        floor: The least share of its outputs that a layer keeps.
        schedule: How the removed amount rises on the ramp.
        ramp: The share of the training over which it rises, in [0, 1].
        updates: How often it rises, or how often channels are chosen anew under a penalty.
        penalty: What makes channels small while the step's training runs, before they go: a name in
            `pithnet.passes.PENALTIES`.
        strength: Of the penalty, above 0; of "growing" what each update adds.
        ceiling: The most that "growing" adds up to.
        until: The share of the training, in (0, 1], over which the penalty acts at most; channels that go are
            zero from then on.
        patience: After how many updates that change nothing the channels are chosen for good.
    """

    macs: Budget | None = None
    parameters: Budget | None = None
    bytes: Budget | None = None
    rates: dict[str, Annotated[float, Field(gt=0, le=1, strict=True)]] | None = None
    criterion: str = "l1"
    aggregation: str = "mean"
    consumers: bool = False
    scope: Literal["global", "uniform"] = "global"
    round_to: Annotated[int, Field(ge=1, strict=True)] = 8
    floor: Annotated[float, Field(ge=0, le=1)] = 0.1
    schedule: Literal["cubic", "linear"] = "cubic"
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.0
    updates: Annotated[int, Field(ge=1)] = 10
    penalty: Literal["slimming", "group-lasso", "growing"] | None = None
    strength: Annotated[float, Field(gt=0)] | None = None
    ceiling: Annotated[float, Field(gt=0)] = 1.0
    until: Annotated[float, Field(gt=0, le=1)] = 0.5
    patience: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(_BUDGETS)}; given: {' and '.join(given) or 'none'}")
        return self

    @model_validator(mode="after")
    def _whole_penalty(self) -> Self:
        if (self.penalty is None) != (self.strength is None):
            raise ValueError("a penalty has a strength: give both, such as penalty: growing, strength: 0.01")
        if self.penalty is None and self.model_fields_set & {"ceiling", "until", "patience"}:
            raise ValueError("ceiling, until and patience are of a penalty; give penalty and strength too")
        if self.penalty is not None and self.ramp:
            raise ValueError("channels go on a ramp or after a penalty; leave out one of them")
        return self

    @property
    def title(self) -> str:
        name = next(name for name in _BUDGETS if getattr(self, name) is not None)
        return f"to {name} {getattr(self, name):g}" if name != "rates" else f"{len(self.rates or {})} rates"

    @property
    def trains(self) -> bool:
        return self.ramp > 0 or self.penalty is not None

    @property
    def budgets(self) -> tuple[str, ...]:
        return _BUDGETS

    @property
    def takes_tensors(self) -> bool:
        return False

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.plan_shrink`."""
        return self.model_dump(exclude={"also", "schedule", "ramp", "updates", *_OF_PENALTY})

    @property
    def penalty_options(self) -> dict[str, Any]:
        """The arguments of `pithnet.ChannelSparsity` beside those of `pithnet.plan_shrink`."""
        options = self.model_dump(include={"updates", *_OF_PENALTY})
        return {"kind": options.pop("penalty"), **options}
