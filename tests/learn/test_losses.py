"""Losses against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pithnet.errors import RecipeError
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


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs labels or a teacher"):
        Objective(distill=0.5)(LOGITS, None, None)
