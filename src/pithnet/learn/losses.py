"""What a training minimises: labels, a teacher's logits, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pithnet.errors import RecipeError


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)), mean of the batch (Hinton et al. 2015, section 2).

    Both logits are (B, classes); the factor T^2 keeps the gradient's size independent of T.
    """
    target = F.log_softmax(teacher / temperature, dim=1)
    log_p = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(log_p, target, reduction="batchmean", log_target=True) * temperature**2


@dataclass(frozen=True)
class Objective:
    """(1 - distill) cross-entropy + distill * distillation.

    Without a teacher only the cross-entropy is left, without labels only the distillation.
    """

    label_smoothing: float = 0.0
    distill: float = 0.0
    temperature: float = 4.0

    def __call__(self, logits: Tensor, y: Tensor | None, teacher: Tensor | None) -> Tensor:
        """logits (B, classes), y int64 (B,) or None, teacher logits (B, classes) or None -> scalar.

        Raises RecipeError where there are neither labels nor teacher logits.
        """
        logits = logits.float()
        if y is None and teacher is None:
            raise RecipeError(
                "training needs labels or a teacher; give labelled data, or distil from a model"
            )
        if y is None:
            assert teacher is not None
            return distillation(logits, teacher, self.temperature)
        hard = F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)
        if teacher is None or self.distill == 0:
            return hard
        soft = distillation(logits, teacher, self.temperature)
        return (1 - self.distill) * hard + self.distill * soft
