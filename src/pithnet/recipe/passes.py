"""What each pass of a recipe can be told: a class for each, without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)


class Part(BaseModel):
    """A part of a recipe: it refuses unknown keys, NaN and inf, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        allowed = str(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and "bool" not in allowed:
            raise ValueError("true and false go where a key is on or off, and this one is not")
        return value


def _share_or_whole(amount: float) -> float:
    if amount > 1 and amount != int(amount):
        raise ValueError(f"{amount:g} is neither a share up to 1 nor a whole number above 1")
    return amount


# Strictly a number: true is no 1.0.
Budget = Annotated[float, Field(gt=0, strict=True), AfterValidator(_share_or_whole)]


class PassSettings(Part):
    """What every pass can be told.

    Attributes:
        skip: Patterns (`pithnet.patterns`) of the layers and parameters that the pass leaves alone.
        also: Patterns of the parameters that it compresses beside the known kinds of layer.
    """

    skip: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _no_tensors(self) -> Self:
        if self.also and not self.takes_tensors:
            raise ValueError("also is of no use here: only layers are taken")
        return self

    @property
    def title(self) -> str:
        """How much the pass does, in a few words, for logs; they follow its name."""
        return ""

    @property
    def trains(self) -> bool:
        """Whether the pass works while a training runs, and so needs one in its step."""
        return False

    @property
    def fixes_levels(self) -> bool:
        """Whether a training in its step would move what the pass has settled, so that it must do without."""
        return False

    @property
    def budgets(self) -> tuple[str, ...]:
        """The names of the settings that say what the network may cost: one of them is given."""
        return ()

    @property
    def takes_tensors(self) -> bool:
        """Whether the pass works on tensors by themselves, so that `also` can name further ones."""
        return True

    @property
    def options(self) -> dict[str, Any]:
        """The settings as the arguments of the pass's function."""
        return self.model_dump()


class Prune(PassSettings):
    """Zeros: a `sparsity` with a `scope`, or `std`, the threshold in standard deviations of each layer.

    With a `ramp` the sparsity rises over that share of the step's training; without one the pass is one-shot.

    Attributes:
        sparsity: The share of zeros, in [0, 1]; it need not be said where the granularity is N:M.
        std: The threshold in standard deviations of a layer's weights.
        scope: How the zeros are spread over the layers, as in `pithnet.prune`.
        criterion: What ranks the weights: a name in `pithnet.tensor.CRITERIA`.
        granularity: Which weights go together, as in `pithnet.prune`; N:M gives the sparsity too.
        overrides: Shares of zeros for the layers that match a pattern.
        schedule: How the sparsity rises on the ramp.
        ramp: The share of the training over which it rises, in [0, 1].
        updates: How often it rises.
    """

    sparsity: Annotated[float, Field(ge=0, le=1)] | None = None
    std: Annotated[float, Field(ge=0)] | None = None
    scope: Literal["global", "uniform", "erk"] = "global"
    criterion: str = "magnitude"
    granularity: str = "weight"
    overrides: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    schedule: Literal["cubic", "linear"] = "cubic"
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.0
    updates: Annotated[int, Field(ge=1)] = 40

    @field_validator("granularity", mode="before")
    @classmethod
    def _no_clock(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise ValueError('YAML reads N:M without quotes as a time; write it as in "2:4"')
        return value

    @model_validator(mode="before")
    @classmethod
    def _own_sparsity(cls, content: Any) -> Any:
        """N:M has one sparsity, which need not be said."""
        if not isinstance(content, dict) or content.get("sparsity") is not None:
            return content
        kept, colon, of = str(content.get("granularity")).partition(":")
        if not (colon and kept.isdecimal() and of.isdecimal() and 0 < int(kept) < int(of)):
            return content
        return {**content, "sparsity": 1 - int(kept) / int(of)}

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.sparsity is None) == (self.std is None):
            raise ValueError("give either sparsity or std")
        if self.std is not None and self.ramp:
            raise ValueError("std prunes once; a ramp needs sparsity")
        if self.std is not None and self.granularity != "weight":
            raise ValueError("std prunes single weights; a granularity needs sparsity")
        if self.std is not None and self.overrides:
            raise ValueError("std has one threshold rule for all layers; overrides need sparsity")
        if self.ramp and ":" in self.granularity:
            raise ValueError(f"{self.granularity} has one sparsity, which cannot rise; leave out the ramp")
        return self

    @property
    def title(self) -> str:
        if self.std is not None:
            return f"{self.std} std"
        if ":" in self.granularity:
            return self.granularity
        return str(self.sparsity) if self.granularity == "weight" else f"{self.granularity} {self.sparsity}"

    @property
    def trains(self) -> bool:
        return self.ramp > 0

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.prune`, or with `std` of `pithnet.prune_by_std`."""
        schedule = {"schedule", "ramp", "updates"}
        if self.std is not None:
            return {"s": self.std, "skip": self.skip, "also": self.also}
        return self.model_dump(exclude={"std", *schedule})

    @property
    def ramp_options(self) -> dict[str, Any]:
        """The arguments of `pithnet.GradualPruning`."""
        return self.model_dump(exclude={"std"})


class Share(PassSettings):
    """Few values per layer.

    Attributes:
        bits: 1 to 16 for 2^bits values.
        levels: 1 to 65535 values, in the place of `bits`.
        init: How the clustering begins, as in `pithnet.share`.
        rate_weight: The price of code length, as in `pithnet.share`.
        trained: Whether the assignment changes while the step's training runs.
        overrides: Bits, or levels where these are given, for the layers that match a pattern.
    """

    bits: Annotated[int, Field(ge=1, le=16)] | None = None
    levels: Annotated[int, Field(ge=1, le=65535)] | None = None
    init: Literal["linear", "random", "density", "kmeans++", "optimal"] = "optimal"
    rate_weight: Annotated[float, Field(ge=0)] = 0.0
    trained: bool = False
    overrides: dict[str, Annotated[int, Field(ge=1, le=65535)]] = {}

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.bits is None) == (self.levels is None):
            raise ValueError("give either bits or levels")
        return self

    @property
    def title(self) -> str:
        return f"{self.levels or 2 ** (self.bits or 0)} levels"

    @property
    def trains(self) -> bool:
        return self.trained

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.share`, and of `pithnet.LevelTraining`."""
        return self.model_dump(exclude={"trained"})


class Regularize(PassSettings):
    """Zeros by a regularizer over the first part of the step's training, after which the weights are masked.

    The keys are the arguments of `pithnet.Regularization`.

    Attributes:
        kind: A name in `pithnet.tensor.REGULARIZERS`.
        strength: The regularizer's strength; where it can be found while training, it may be left out.
        sparsity: The share of zeros to reach and to mask, in [0, 1].
        how: How the regularizer trains; the usual way of the kind where it is left out.
        until: The share of the training after which the weights are masked, in (0, 1].
        scope: How the zeros are spread over the layers.
        groups: What a regularizer of groups takes together.
        updates: How often ADMM renews its copies, or a searched strength is set anew.
        rho: The penalty of ADMM at the start and at the end.
        parameters: The regularizer's own parameters.
    """

    kind: str = "trimmed-l1"
    strength: Annotated[float, Field(ge=0)] | None = None
    sparsity: Annotated[float, Field(ge=0, le=1)] | None = None
    how: Literal["proximal", "loss", "admm"] | None = None
    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    scope: Literal["global", "uniform", "erk"] = "global"
    groups: Literal["filters", "channels"] = "filters"
    updates: Annotated[int, Field(ge=1)] = 40
    rho: tuple[float, float] = (1e-3, 1e-1)
    parameters: dict[str, float] = {}

    @model_validator(mode="after")
    def _own_parameters(self) -> Self:
        # What these are follows from the model, its layers and the sparsity.
        taken = {*type(self).model_fields, "model", "k", "dim"}
        for name in self.parameters:
            if name in taken:
                raise ValueError(f"{name} is no parameter of the regularizer's own")
        return self

    @property
    def title(self) -> str:
        return self.kind

    @property
    def trains(self) -> bool:
        return True

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.Regularization` beside the model."""
        return {**self.model_dump(exclude={"parameters"}), **self.parameters}


class Quantize(PassSettings):
    """Evenly spaced levels; zeros stay zero and take no level.

    The keys are the arguments of `pithnet.quantize`. A training in the same step goes straight through the
    rounding.

    Attributes:
        bits: 1 to 8 bits a weight, 0 for zeros, null for float.
        quantizer: How the levels lie.
        symmetric: Whether they come in pairs; null is the quantizer's own way.
        granularity: What shares a step.
        group_size: The weights of a group.
        fit: How the levels are found.
        overrides: Other bits for the layers that match a pattern.
    """

    bits: Annotated[int, Field(ge=0, le=8)] | None
    quantizer: str = "linear"
    symmetric: bool | None = None
    granularity: Literal["tensor", "channel", "group"] = "channel"
    group_size: Annotated[int, Field(ge=2)] = 64
    fit: str = "mse"
    overrides: dict[str, Annotated[int, Field(ge=0, le=8)] | None] = {}

    @property
    def title(self) -> str:
        return "float" if self.bits is None else f"{self.bits} bits"
