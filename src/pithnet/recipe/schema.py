"""A recipe: what to do to a model, as data; unknown keys and wrong values are refused before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pithnet.errors import RecipeError, nearest


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Train(_Part):
    """Training during a step. `lr`: the schedule's maximum; `warmup`: share of it in which `lr` rises."""

    epochs: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)] = 0.02
    schedule: Literal["one-cycle", "cosine", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4


class Prune(_Part):
    """Zeros: a `sparsity` with a `scope`, or `std`, the threshold in standard deviations of each layer.

    With a `ramp` the sparsity rises over that share of the step's training, else it is one-shot.
    `granularity` says which weights go together; where it is N:M, it is the sparsity too.
    """

    sparsity: Annotated[float, Field(ge=0, le=1)] | None = None
    std: Annotated[float, Field(ge=0)] | None = None
    scope: Literal["global", "uniform", "erk"] = "global"
    criterion: str = "magnitude"
    granularity: str = "weight"
    schedule: Literal["cubic", "linear"] = "cubic"
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.0
    updates: Annotated[int, Field(ge=1)] = 40
    skip: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

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
    def _one_amount(self) -> Prune:
        if (self.sparsity is None) == (self.std is None):
            raise ValueError("give either sparsity or std")
        if self.std is not None and self.ramp:
            raise ValueError("std prunes once; a ramp needs sparsity")
        if self.std is not None and self.granularity != "weight":
            raise ValueError("std prunes single weights; a granularity needs sparsity")
        if self.ramp and ":" in self.granularity:
            raise ValueError(f"{self.granularity} has one sparsity, which cannot rise; leave out the ramp")
        return self


class Share(_Part):
    """Few values per layer: 2^bits or `levels`. With `trained` the assignment changes while training."""

    bits: Annotated[int, Field(ge=1, le=16)] | None = None
    levels: Annotated[int, Field(ge=1, le=65535)] | None = None
    init: Literal["linear", "random", "density", "kmeans++", "optimal"] = "optimal"
    rate_weight: Annotated[float, Field(ge=0)] = 0.0
    trained: bool = False
    skip: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_amount(self) -> Share:
        if (self.bits is None) == (self.levels is None):
            raise ValueError("give either bits or levels")
        return self


class Regularize(_Part):
    """Zeros by a regularizer over the first `until` of the step's training, then masked to `sparsity`.

    kind: a name in `pithnet.tensor.REGULARIZERS`, `parameters` its own. Keys as in `pithnet.Regularization`.
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
    skip: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _own_parameters(self) -> Regularize:
        # What these are follows from the model, its layers and the sparsity.
        taken = {*type(self).model_fields, "model", "k", "dim"}
        for name in self.parameters:
            if name in taken:
                raise ValueError(f"{name} is no parameter of the regularizer's own")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.Regularization` beside the model."""
        return {**self.model_dump(exclude={"parameters"}), **self.parameters}


class Quantize(_Part):
    """Evenly spaced levels: `bits` a weight, 0 for zeros, null for float; keys as in `pithnet.quantize`.

    Zeros stay zero and take no level; a training in the same step goes straight through the rounding.
    """

    bits: Annotated[int, Field(ge=0, le=8)] | None = 4
    quantizer: str = "lsq"
    symmetric: bool | None = None
    granularity: Literal["tensor", "channel", "group"] = "channel"
    group_size: Annotated[int, Field(ge=2)] = 64
    fit: str = "mse"
    overrides: dict[str, Annotated[int, Field(ge=0, le=8)] | None] = {}
    skip: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


_PASSES = ("prune", "share", "regularize", "quantize")


class Step(_Part):
    """One pass, or none, and the training that goes with it; a trained `share` then freezes its levels."""

    prune: Prune | None = None
    share: Share | None = None
    regularize: Regularize | None = None
    quantize: Quantize | None = None
    train: Train | None = None

    @model_validator(mode="after")
    def _something(self) -> Step:
        if self.prune and self.share:
            raise ValueError("prune and share are two steps")
        if self.regularize and (self.prune or self.share):
            raise ValueError("regularize is a step of its own")
        if self.quantize and (self.prune or self.share or self.regularize):
            raise ValueError("quantize is a step of its own")
        if not (self.prune or self.share or self.regularize or self.quantize or self.train):
            raise ValueError("a step needs prune, share, regularize, quantize or train")
        if self.regularize and self.train is None:
            raise ValueError("regularize needs train")
        if self.train is None and ((self.prune and self.prune.ramp) or (self.share and self.share.trained)):
            raise ValueError("a ramp or trained levels need train")
        return self

    @property
    def kind(self) -> str:
        """The name of the step's pass, or "train" where there is none."""
        return next((name for name in _PASSES if getattr(self, name)), "train")

    @property
    def settings(self) -> Prune | Share | Regularize | Quantize | None:
        """Those of the step's pass, None where there is none."""
        return self.prune or self.share or self.regularize or self.quantize

    def with_also(self, patterns: Sequence[str]) -> Step:
        """The step with these patterns in the `also` of its pass, behind its own."""
        if self.settings is None:
            return self
        also = tuple(dict.fromkeys((*self.settings.also, *patterns)))
        return self.model_copy(update={self.kind: self.settings.model_copy(update={"also": also})})

    @property
    def title(self) -> str:
        """What the step is called in logs."""
        if self.prune:
            return f"prune {self.prune.sparsity if self.prune.std is None else f'{self.prune.std} std'}"
        if self.share:
            return f"share {self.share.levels or 2 ** (self.share.bits or 0)} levels"
        if self.quantize:
            return f"quantize {'float' if self.quantize.bits is None else f'{self.quantize.bits} bits'}"
        return f"regularize {self.regularize.kind}" if self.regularize else "train"


class Distill(_Part):
    """Learning from the float model or a teacher: `weight` in the loss, `temperature` of the softmax.

    `views`: how many fixed augmented views of every image the teacher is asked about, once.
    """

    weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    temperature: Annotated[float, Field(gt=0)] = 4.0
    views: Annotated[int, Field(ge=1)] = 6


class Keep(_Part):
    """How exactly the file keeps codebooks, BN (`norm`; two numbers a channel where `fold`) and the rest."""

    codebook: Literal["float32", "float16", "fixed10", "fixed8"] = "float16"
    norm: Literal["float32", "float16", "fixed10", "fixed8"] = "float16"
    other: Literal["float32", "float16", "fixed10", "fixed8"] = "float16"
    fold: bool = True


class Recipe(_Part):
    """A list of steps, what all of them share, and how the result is stored.

    precision: of the training; "auto": bf16 where it is faster on the machine at hand. Measuring and storing
    are in float32 always.
    """

    name: str
    description: str = ""
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    batch_size: Annotated[int, Field(ge=1)] = 128
    precision: Literal["float32", "bf16", "auto"] = "float32"
    augment: bool = True
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    distill: Distill = Distill()
    storage: Keep = Keep()
    seed: int = 0

    @property
    def epochs(self) -> int:
        """Training epochs of all steps together."""
        return sum(step.train.epochs for step in self.steps if step.train)

    @property
    def skipped(self) -> tuple[str, ...]:
        """The `skip` patterns of all passes together."""
        given = [step.settings.skip for step in self.steps if step.settings]
        return tuple(dict.fromkeys(pattern for patterns in given for pattern in patterns))

    def with_also(self, patterns: Sequence[str]) -> Recipe:
        """The recipe with these patterns in the `also` of every pass, behind its own."""
        return self.model_copy(update={"steps": tuple(step.with_also(patterns) for step in self.steps)})


def parse(content: Any, source: str) -> Recipe:
    """The recipe in a mapping as YAML gives it. Raises RecipeError with the first fault: where and what."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as e:
        raise RecipeError(f"{source}: {_first_fault(e)}") from None


def _first_fault(error: ValidationError) -> str:
    faults = error.errors()
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        # The message quotes the key with the way to it; what it is compared with are the keys of its place.
        key = str(fault["loc"][-1])
        return f"unknown key {where!r}.{nearest(key, _keys(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"key {where!r} is missing"
    shown = f" (got {fault['input']!r})" if isinstance(fault["input"], str | int | float) else ""
    return f"{where or 'recipe'}: {fault['msg'].removeprefix('Value error, ')}{shown}"


_PARTS: dict[str, type[_Part]] = {
    "prune": Prune,
    "share": Share,
    "regularize": Regularize,
    "quantize": Quantize,
    "train": Train,
    "distill": Distill,
    "storage": Keep,
    "steps": Step,
}


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    names = [part for part in loc if isinstance(part, str)]
    return list((_PARTS[names[-1]] if names else Recipe).model_fields)
