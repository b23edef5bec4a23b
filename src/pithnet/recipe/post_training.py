"""What the pass `post_training` can be told."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pithnet.recipe.passes import Budget, PassSettings


class PostTraining(PassSettings):
    """Few levels for a file of so many bytes or bits a weight: without labels, and at first without training.

    The keys are the arguments of `pithnet.quantize_without_labels`, and of `pithnet.PricedLevels`.

    Attributes:
        bytes: The bytes of the file: a share of the float32 bytes, up to 1, or a whole number above 1.
        rate: The bits that a weight takes in the file, averaged over the layers, in the place of `bytes`.
        calibrate: The number of training images that are looked at, without their labels; 0 is none at all.
        trained: Whether the levels go on learning in the step's training; a price of bits keeps the budget.
        updates: How often that price is set anew over the training.
        freeze_norms: Whether what BNs remember of means and deviations stays while the levels train.
    """

    bytes: Budget | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    calibrate: Annotated[int, Field(ge=0)] = 1024
    trained: bool = False
    updates: Annotated[int, Field(ge=1)] = 100
    freeze_norms: bool = True

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.bytes is None) == (self.rate is None):
            raise ValueError("give either bytes or rate")
        return self

    @property
    def budgets(self) -> tuple[str, ...]:
        return ("bytes", "rate")

    @property
    def trains(self) -> bool:
        return self.trained

    @property
    def fixes_levels(self) -> bool:
        return not self.trained

    @property
    def takes_tensors(self) -> bool:
        return False

    @property
    def title(self) -> str:
        if self.bytes is None:
            amount = f"to {self.rate:g} bits a weight"
        else:
            is_share = self.bytes <= 1
            amount = f"to {self.bytes:g} of the float32 bytes" if is_share else f"to {self.bytes:,.0f} bytes"
        if self.calibrate:
            return amount
        return f"{amount}, {'rounded ' if self.trained else ''}without images"

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.quantize_without_labels` beside the images."""
        return self.model_dump(include={"bytes", "rate", "skip"})

    @property
    def training_options(self) -> dict[str, Any]:
        """The arguments of `pithnet.PricedLevels` beside the network."""
        return self.model_dump(include={"bytes", "rate", "updates", "freeze_norms"})
