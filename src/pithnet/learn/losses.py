"""The losses that a training minimises: labels, a teacher's logits, both, or a loss of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pithnet.errors import DataError, RecipeError
from pithnet.learn.batch import check_labels, check_logits, describe, logits_of

Loss = Callable[[Any, Any], Tensor]


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Returns T^2 KL(softmax(teacher / T) || softmax(logits / T)), the batch's mean.

    The factor T^2 keeps the gradient's size independent of T (Hinton et al. 2015, section 2).

    Args:
        logits: (B, classes).
        teacher: (B, classes).
        temperature: T > 0.
    """
    # In float16, as a teacher's logits are often kept, the probabilities sum to less than 1: a KL below 0.
    target = F.log_softmax(teacher.float() / temperature, dim=1)
    log_p = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(log_p, target, reduction="batchmean", log_target=True) * temperature**2


def check_loss(value: Any) -> Tensor:
    """Returns what a loss of the user's gave, a float tensor of one number.

    Raises:
        DataError: The value is no float tensor of one number.
    """
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        raise DataError(f"loss(outputs, targets) must give a scalar tensor, and gave {describe(value)}")
    return value


@dataclass(frozen=True)
class Objective:
    """What a training minimises: (1 - distill) hard + distill * distillation.

    hard is the cross-entropy of the labels, or `loss(outputs, targets)` where one is given. Without a teacher
    only the hard loss is left, without labels and without `loss` only the distillation.

    Args:
        label_smoothing: Of the cross-entropy, in [0, 1).
        distill: The share of the distillation, in [0, 1].
        temperature: Of the distillation.
        loss: Outputs as the model returned them, targets as the loader gave them (None where it gave none) ->
            a scalar tensor.
    """

    label_smoothing: float = 0.0
    distill: float = 0.0
    temperature: float = 4.0
    loss: Loss | None = None

    def __call__(self, outputs: Any, targets: Any, teacher: Tensor | None) -> Tensor:
        """Returns the loss, a scalar.

        Args:
            outputs: What the model returned, with logits (B, classes) where there is no `loss`.
            targets: int64 (B,) where there is no `loss`, or None.
            teacher: Logits (B, classes), or None.

        Raises:
            RecipeError: There is nothing to learn from.
            ModelError: The outputs are no class logits, where there is no `loss`.
            DataError: The targets are no labels, where there is no `loss`.
        """
        if self.loss is not None:
            return self._with(self.loss(outputs, targets), lambda: logits_of(outputs).float(), teacher)
        if targets is None and teacher is None:
            raise RecipeError(
                "training needs labels or a teacher; give labelled data, or distil from a model"
            )
        # One cast for both parts: their gradients are added before they are rounded to bfloat16.
        logits = check_logits(outputs).float()
        if targets is None:
            assert teacher is not None
            return distillation(logits, teacher, self.temperature)
        check_labels(targets, *logits.shape)
        hard = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        return self._with(hard, lambda: logits, teacher)

    def _with(self, hard: Tensor, logits: Callable[[], Tensor], teacher: Tensor | None) -> Tensor:
        """Returns `hard` mixed with the distillation, where there is a teacher to learn from."""
        if teacher is None or self.distill == 0:
            return hard
        return (1 - self.distill) * hard + self.distill * distillation(logits(), teacher, self.temperature)
