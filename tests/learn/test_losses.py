"""Losses against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.learn import Objective, distillation

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
TEACHER = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_divergence_from_the_teacher(temperature: float) -> None:
    p = (TEACHER / temperature).softmax(1).double()
    q = (LOGITS / temperature).softmax(1).double()
    expected = float((p * (p / q).log()).sum(1).mean()) * temperature**2
    assert float(distillation(LOGITS, TEACHER, temperature)) == pytest.approx(expected, rel=1e-5)
    assert float(distillation(TEACHER, TEACHER, temperature)) == pytest.approx(0, abs=1e-6)


def test_the_objective_mixes_labels_and_teacher() -> None:
    hard = float(F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1))
    soft = float(distillation(LOGITS, TEACHER, 3.0))
    mixed = Objective(label_smoothing=0.1, distill=0.7, temperature=3.0)
    assert float(mixed(LOGITS, LABELS, TEACHER)) == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-5)
    assert float(mixed(LOGITS, LABELS, None)) == pytest.approx(hard)
    assert float(mixed(LOGITS, None, TEACHER)) == pytest.approx(soft)
    assert float(Objective()(LOGITS, LABELS, TEACHER)) == pytest.approx(
        float(F.cross_entropy(LOGITS, LABELS))
    )


def test_a_loss_of_the_users_takes_the_place_of_the_cross_entropy() -> None:
    own = Objective(
        distill=0.7, temperature=3.0, loss=lambda outputs, targets: (outputs["logits"] - targets).abs().mean()
    )
    outputs, targets = {"logits": LOGITS}, TEACHER + 1
    hard = float((LOGITS - targets).abs().mean())
    soft = float(distillation(LOGITS, TEACHER, 3.0))
    assert float(own(outputs, targets, TEACHER)) == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-5)
    assert float(own(outputs, targets, None)) == pytest.approx(hard)
    alone = Objective(loss=lambda outputs, targets: outputs["loss"])
    assert float(alone({"loss": torch.tensor(2.0)}, None, None)) == 2


def test_gradients_of_both_parts_are_added_before_they_are_rounded_to_bfloat16() -> None:
    logits = LOGITS.bfloat16().requires_grad_()
    Objective(distill=0.5, temperature=2.0)(logits, LABELS, TEACHER).backward()
    exact = LOGITS.bfloat16().float().requires_grad_()
    Objective(distill=0.5, temperature=2.0)(exact, LABELS, TEACHER).backward()
    assert logits.grad is not None
    assert exact.grad is not None
    assert torch.equal(logits.grad, exact.grad.bfloat16())


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (
            LOGITS[:, :1],
            LABELS,
            ModelError,
            r"the model returns float32 \(6, 1\); for another task give loss=",
        ),
        (LOGITS[..., None], None, ModelError, r"float32 \(6, 5, 1\)"),
        (LOGITS, LABELS.float(), DataError, "labels are class indexes"),
        (LOGITS, LABELS + 1, DataError, "the model has 5 classes, and a label is 5"),
    ],
)
def test_what_is_no_classification_asks_for_a_loss(
    logits: torch.Tensor, labels: torch.Tensor | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Objective(distill=0.5)(logits, labels, TEACHER)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs labels or a teacher"):
        Objective(distill=0.5)(LOGITS, None, None)


def test_a_teacher_of_float16_logits_is_never_better_than_itself() -> None:
    half = (10 * torch.randn(64, 1000, generator=torch.Generator().manual_seed(3))).half()
    for temperature in (1.0, 4.0):
        own = distillation(half.float(), half, temperature)
        assert float(own) == pytest.approx(0, abs=1e-6)
        assert torch.equal(own, distillation(half.float(), half.float(), temperature))
