"""Agreement: what is counted is what has a class, and everything else is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pithnet.deploy import Agreement, agreement, export_onnx
from pithnet.errors import DataError, ModelError

from .networks import Answer, Classifier, ModelOutput, Tokens, images, tokens


class Moved(nn.Module):
    """A network whose answers are another's, moved by a pattern."""

    def __init__(self, model: nn.Module, by: Tensor) -> None:
        super().__init__()
        self.model, self.by = model, by

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y + self.by


def compared(folder: Path, model: nn.Module, x: Any, other: nn.Module | None = None) -> Agreement:
    """A model's file against the model itself, or against another."""
    export_onnx(model.eval(), x, folder / "x.onnx")
    return agreement(folder / "x.onnx", (other or model).eval(), [x])


def test_segmentation_counts_pixels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, model = images(6), nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    moved = Moved(model, torch.tensor([0.3, 0, 0]).view(3, 1, 1))
    found = compared(tmp_path, model, x, moved)
    with torch.no_grad():
        ours, theirs = moved(x), model(x)
    equal = int((ours.argmax(1) == theirs.argmax(1)).sum())
    assert 0 < equal < 6 * 64
    assert (found.what, found.same, found.n) == ("pixels", equal, 6 * 64)
    assert found.relative_error == pytest.approx(float((ours - theirs).norm() / ours.norm()), rel=1e-4)
    assert found.max_difference == pytest.approx(0.3, rel=1e-4)
    assert f"same class for {equal} of 384 pixels" in str(found)


def test_regressions_have_a_relative_error_and_no_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), torch.randn(9, 4)
    found = compared(tmp_path, model, x, Moved(model, torch.tensor(0.5)))
    with torch.no_grad():
        norm = float((model(x) + 0.5).norm())
    assert (found.what, found.same, found.n) == ("numbers", None, 9)
    assert found.relative_error == pytest.approx(0.5 * 3 / norm, rel=1e-4)
    assert "class" not in str(found)


def test_tokens_have_their_classes_on_the_last_axis(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = compared(tmp_path, Tokens(), {"input_ids": tokens()})
    assert (found.output, found.what, found.same, found.n) == ("logits", "tokens", 72, 72)
    assert found.relative_error < 1e-5


@pytest.mark.parametrize(
    ("answer", "others"),
    [
        (lambda f, y: {"features": f, "logits": y}, ["features"]),
        (
            lambda f, y: ModelOutput(logits=y, hidden_states=(f, f * 2)),
            ["hidden_states.0", "hidden_states.1"],
        ),
        (lambda f, y: Answer(logits=y, boxes=f.mean(1)), ["boxes"]),
        (lambda f, y: (y, f.argmax(1)), ["output_1"]),
    ],
    ids=["dict", "model output", "dataclass", "tuple"],
)
def test_every_output_is_compared_and_named(tmp_path: Path, answer: Any, others: list[str]) -> None:
    torch.manual_seed(0)
    found = compared(tmp_path, Classifier(answer), images(7))
    assert (found.what, found.same, found.n) == ("images", 7, 7)
    assert [o.output for o in found.others] == others
    assert max(o.relative_error for o in found.others) < 1e-5
    assert all(f"{name}: relative error" in str(found) for name in others)


def test_other_outputs_and_no_batches_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Classifier(), images(2)
    compared(tmp_path, model, x)
    with pytest.raises(ModelError, match=r"x\.onnx gives logits, the model output_0, output_1"):
        agreement(tmp_path / "x.onnx", Classifier(lambda f, y: (y, f)).eval(), [x])
    with pytest.raises(DataError, match="no batch to compare on"):
        agreement(tmp_path / "x.onnx", model, [])


def test_masked_logits_are_no_difference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    never = torch.tensor([0, -np.inf, 0])
    found = compared(tmp_path, Moved(nn.Linear(4, 3), never), torch.randn(5, 4))
    assert found.max_difference < 1e-5
    assert found.relative_error < 1e-5
