"""A recipe: what to do to a model, as data; unknown keys and wrong values are refused before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from pithnet.errors import RecipeError, nearest
from pithnet.recipe.passes import Part, PassSettings, Prune, Quantize, Regularize, Share
from pithnet.recipe.post_training import PostTraining
from pithnet.recipe.shrinking import Shrink
from pithnet.training import Train


class Step(Part):
    """One pass, or none, and the training that goes with it.

    Every field but `train` is the settings of a pass; `register_settings` adds one.
    """

    prune: Prune | None = None
    share: Share | None = None
    regularize: Regularize | None = None
    shrink: Shrink | None = None
    quantize: Quantize | None = None
    post_training: PostTraining | None = None
    train: Train | None = None

    @model_validator(mode="after")
    def _one_pass(self) -> Self:
        given = [name for name in SETTINGS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are two steps")
        if not given and self.train is None:
            raise ValueError(f"a step needs {', '.join(SETTINGS)} or train")
        if self.train is None and self.settings is not None and self.settings.trains:
            raise ValueError(f"{self.title} works while a training runs: give train beside {self.kind}")
        if self.train is not None and self.settings is not None and self.settings.fixes_levels:
            raise ValueError(f"a training would move the levels of {self.kind}: write trained: true in it")
        return self

    @property
    def kind(self) -> str:
        """The name of the step's pass, or "train" where there is none."""
        return next((name for name in SETTINGS if getattr(self, name) is not None), "train")

    @property
    def settings(self) -> PassSettings | None:
        """What the step's pass is told, None where there is no pass."""
        return getattr(self, self.kind) if self.kind in SETTINGS else None

    @property
    def title(self) -> str:
        """What the step is called in logs."""
        return self.kind if self.settings is None else f"{self.kind} {self.settings.title}".rstrip()

    def with_also(self, patterns: Sequence[str]) -> Step:
        """Returns the step with these patterns in the `also` of its pass, behind its own."""
        if self.settings is None or not self.settings.takes_tensors:
            return self
        also = tuple(dict.fromkeys((*self.settings.also, *patterns)))
        return self.model_copy(update={self.kind: self.settings.model_copy(update={"also": also})})


# The settings of every pass by its key in a step.
SETTINGS: dict[str, type[PassSettings]] = {
    name: get_args(field.annotation)[0] for name, field in Step.model_fields.items() if name != "train"
}


class Distill(Part):
    """Learning from the float model or a teacher.

    Attributes:
        weight: The share of the teacher in the loss, in [0, 1].
        temperature: The temperature of the softmax.
        views: The number of fixed augmented views of every image that the teacher is asked about, once.
    """

    weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    temperature: Annotated[float, Field(gt=0)] = 4.0
    views: Annotated[int, Field(ge=1)] = 6


Format = Literal["float32", "float16", "fixed10", "fixed8"]
FORMAT_BITS: dict[str, int] = {"float32": 32, "float16": 16, "fixed10": 10, "fixed8": 8}


class Keep(Part):
    """How exactly the file keeps numbers that are not symbols.

    Attributes:
        codebook: The format of shared values.
        norm: The format of BatchNorm's weights.
        other: The format of everything else.
        fold: Whether BatchNorm is kept as two numbers a channel, without its statistics.
    """

    codebook: Format = "float16"
    norm: Format = "float16"
    other: Format = "float16"
    fold: bool = True


def _of_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError("generators of random numbers take 64 bits, and this is more")
    return number


class Recipe(Part):
    """A list of steps, what all of them share, and how the result is stored.

    Attributes:
        name: The name of the recipe.
        description: What it is for.
        steps: The passes and trainings, in order.
        batch_size: The images of a batch, where the command line makes the batches.
        precision: The precision of the training; "auto" is bf16 where that is faster on the machine at hand.
            Measuring and storing are always in float32.
        augment: Whether training images are cropped and flipped, where the command line makes the batches.
        label_smoothing: The share of the labels that is spread over all classes, in [0, 1).
        distill: What is learnt from the float model or a teacher.
        storage: How exactly the file keeps numbers.
        seed: The seed of every random choice.
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
    seed: Annotated[int, AfterValidator(_of_64_bits)] = 0

    @property
    def epochs(self) -> int:
        """The training epochs of all steps together."""
        return sum(step.train.epochs for step in self.steps if step.train)

    @property
    def skipped(self) -> tuple[str, ...]:
        """The `skip` patterns of all passes together."""
        given = [step.settings.skip for step in self.steps if step.settings]
        return tuple(dict.fromkeys(pattern for patterns in given for pattern in patterns))

    @property
    def also(self) -> tuple[str, ...]:
        """The `also` patterns of all passes together."""
        given = [step.settings.also for step in self.steps if step.settings]
        return tuple(dict.fromkeys(pattern for patterns in given for pattern in patterns))

    def with_seed(self, seed: int) -> Recipe:
        """Returns the recipe with another seed.

        Raises:
            RecipeError: The seed is no whole number of 64 bits.
        """
        return parse({**self.model_dump(exclude_unset=True), "seed": seed}, self.name)

    def with_also(self, patterns: Sequence[str]) -> Recipe:
        """Returns the recipe with these patterns in the `also` of every pass, behind its own."""
        return self.model_copy(update={"steps": tuple(step.with_also(patterns) for step in self.steps)})


def register_settings(name: str, settings: type[PassSettings]) -> None:
    """Lets a step of a recipe have a key `name` with these settings: that of a new pass.

    `pithnet.passes.register` calls it.

    Args:
        name: The key.
        settings: The class of what stands under it.

    Raises:
        RecipeError: A step has such a key already.
    """
    if name in Step.model_fields:
        raise RecipeError(f"a step has a key {name!r} already; choose another name for the pass")
    SETTINGS[name] = settings
    Step.__pydantic_fields__[name] = FieldInfo(annotation=settings | None, default=None)  # type: ignore[arg-type]
    Step.model_rebuild(force=True)
    Recipe.model_rebuild(force=True)


def forget_settings(name: str) -> None:
    """Undoes `register_settings`."""
    del SETTINGS[name], Step.__pydantic_fields__[name]
    Step.model_rebuild(force=True)
    Recipe.model_rebuild(force=True)


def parse(content: Any, source: str) -> Recipe:
    """Makes a recipe of a mapping as YAML gives it.

    Args:
        content: The mapping; anything else is refused.
        source: Where it comes from, for messages.

    Raises:
        RecipeError: The mapping is no valid recipe; the message says where the first fault is, and what.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as e:
        raise RecipeError(f"{source}: {_first_fault(e)}") from None


_IN_YAML = {
    "model_type": "write a mapping here, a key and a value on each line",
    "dict_type": "write a mapping here, a key and a value on each line",
    "dataclass_type": "write a mapping here, a key and a value on each line",
    "tuple_type": "write a list here, such as [conv1, layer1]",
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def _first_fault(error: ValidationError) -> str:
    faults = error.errors()
    fault = next((f for f in faults if f["type"] in _UNKNOWN), faults[0])
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in _UNKNOWN:
        # The message quotes the key with the way to it; what it is compared with are the keys of its place.
        key = str(fault["loc"][-1])
        return f"unknown key {where!r}.{nearest(key, _keys(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"key {where!r} is missing"
    shown = f" (got {fault['input']!r})" if isinstance(fault["input"], str | int | float) else ""
    said = _IN_YAML.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    return f"{where or 'recipe'}: {said}{shown}"


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the part of a recipe that lies there."""
    parts: dict[str, type[Part]] = {**SETTINGS, "distill": Distill, "storage": Keep, "steps": Step}
    names = [part for part in loc if isinstance(part, str)]
    if names and names[-1] == "train":
        return [field.name for field in fields(Train)]
    return list((parts[names[-1]] if names else Recipe).model_fields)
