"""What the pass `post_training` can be told."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pithnet.recipe.passes import PassSettings


class PostTraining(PassSettings):
    """Few levels without labels and without training, for a file of so many bytes or bits a weight.

    The keys are the arguments of `pithnet.quantize_without_labels`.

    Attributes:
        bytes: The bytes of the file: a share of the float32 bytes, up to 1, or a whole number above 1.
        rate: The bits that a weight takes in the file, averaged over the layers, in the place of `bytes`.
        calibrate: The number of training images that are looked at, without their labels; 0 is none at all.
    """

    bytes: Annotated[float, Field(gt=0)] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    calibrate: Annotated[int, Field(ge=0)] = 1024

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.bytes is None) == (self.rate is None):
            raise ValueError("give either bytes or rate")
        return self

    @property
    def budgets(self) -> tuple[str, ...]:
        return ("bytes", "rate")

    @property
    def takes_tensors(self) -> bool:
        return False

    @property
    def title(self) -> str:
        amount = f"to bytes {self.bytes:g}" if self.bytes is not None else f"to rate {self.rate:g}"
        return amount if self.calibrate else f"{amount}, without images"

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pithnet.quantize_without_labels` beside the images."""
        return self.model_dump(include={"bytes", "rate", "skip"})
