"""What the data and the machine decide about a recipe, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pithnet.learn import first_batch
from pithnet.recipe import Recipe, parse
from pithnet.run import problem
from pithnet.run.problem import remark
from pithnet.run.problem import resolved as decided

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1, 2])
MODEL = nn.Linear(4, 3)


def resolved(recipe: Recipe, model: nn.Module, train: Any, loss: Any = None) -> Recipe:
    """`resolved` with the first of these batches."""
    return decided(recipe, model, first(train), loss)


def first(train: Any) -> Any:
    return None if train is None else first_batch(train, "train")


def recipe(**changes: Any) -> Recipe:
    return parse({"name": "x", "steps": [{"train": {"epochs": 1}}], **changes}, "test")


@pytest.mark.parametrize(
    ("train", "loss", "weight", "expected", "said"),
    [
        ([(X, Y)], None, 0.3, 0.3, None),
        ([X], None, 0.3, 1.0, "no labels"),
        ([(X, None)], None, 0.0, 1.0, "no labels"),
        ([{"input": X}], None, 1.0, 1.0, "no labels"),
        ([(X, None, X[:, :3])], None, 0.0, 1.0, "no labels"),
        ([(X, Y)], F.cross_entropy, 0.3, 0.3, None),
        ([(X, X[:, :3])], F.mse_loss, 0.3, 0.0, "distillation is left out"),
        ([(X, X[:, :3])], F.mse_loss, 0.0, 0.0, None),
        ([X], lambda outputs, targets: outputs.mean(), 0.3, 0.0, "distillation is left out"),
        ([X], lambda outputs, targets: outputs.mean(), 0.0, 0.0, None),
    ],
)
def test_how_much_is_distilled(
    train: Any, loss: Any, weight: float, expected: float, said: str | None
) -> None:
    given = recipe(distill={"weight": weight, "temperature": 3})
    taken = resolved(given, MODEL, train, loss)
    assert taken.distill.weight == expected
    assert taken.distill.temperature == 3
    assert resolved(taken, MODEL, train, loss) == taken, "a resumed run decides as the first did"
    text = remark(given, first(train), loss, taken)
    assert text is None if said is None else said in str(text)


def test_automatic_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fast(name: str, model: nn.Module, inputs: Any) -> str:
        asked.append(inputs)
        return "bf16"

    monkeypatch.setattr(problem, "resolve_precision", fast)
    auto = recipe(precision="auto")
    assert resolved(auto, MODEL, [{"input": X, "y": Y}]).precision == "bf16"
    assert resolved(auto, MODEL, [(X, Y)], F.cross_entropy).precision == "float32"
    assert resolved(recipe(precision="bf16"), MODEL, [(X, Y)], F.cross_entropy).precision == "bf16"
    assert resolved(auto, MODEL, None).precision == "float32"
    untrained = parse({"name": "x", "steps": [{"share": {"bits": 2}}], "precision": "auto"}, "test")
    assert resolved(untrained, MODEL, [(X, Y)]).precision == "float32"
    assert len(asked) == 1
    assert list(asked[0]) == ["input"]


def test_nothing_is_said_where_nothing_is_trained() -> None:
    untrained = parse({"name": "x", "steps": [{"share": {"bits": 2}}]}, "test")
    assert remark(untrained, first([X]), None, resolved(untrained, MODEL, [X])) is None
