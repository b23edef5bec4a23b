"""What a batch may be: every shape of loader gives the same inputs, targets and logits."""

from __future__ import annotations

from collections import UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError
from pithnet.learn import call, has_class_labels, logits_of, read_batch

X, Y, SOFT = torch.randn(4, 3), torch.tensor([0, 1, 1, 0]), torch.randn(4, 2)
Pair = namedtuple("Pair", "image label")


@pytest.mark.parametrize(
    ("batch", "targets", "soft"),
    [
        (X, None, None),
        ((X,), None, None),
        ([X], None, None),
        ((X, Y), Y, None),
        ([X, None], None, None),
        ((X, Y, SOFT), Y, SOFT),
        ((X, None, SOFT), None, SOFT),
        (Pair(X, Y), Y, None),
    ],
)
def test_tuples_lists_and_tensors(batch: Any, targets: Tensor | None, soft: Tensor | None) -> None:
    read = read_batch(batch)
    assert read.inputs is X
    assert (read.targets, read.soft, read.size) == (targets, soft, 4)


@pytest.mark.parametrize("key", ["labels", "label", "y"])
@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_dict_holds_labels_under_their_names_and_inputs_under_all_others(key: str, kind: type) -> None:
    read = read_batch(kind({"input_ids": X.long(), key: Y, "attention_mask": X.bool()}))
    assert list(read.inputs) == ["input_ids", "attention_mask"]
    assert read.targets is Y
    assert read.size == 4
    assert read_batch(kind({"pixels": X})).targets is None


def test_inputs_may_nest_and_targets_may_be_anything() -> None:
    read = read_batch(((X, [X, {"deep": X}]), {"boxes": Y}))
    assert read.inputs[1][1]["deep"] is X
    assert read.targets == {"boxes": Y}
    moved = read_batch(((X, [X]), {"boxes": Y}), torch.device("meta"))
    assert {moved.inputs[0].device, moved.inputs[1][0].device, moved.targets["boxes"].device} == {
        torch.device("meta")
    }


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X, Y, SOFT, X), r"a tuple of 4 parts; yield \(x, y\)"),
        ("images", "a batch is a str"),
        (None, "a batch is a NoneType"),
        (X.numpy(), "a batch is a ndarray"),
        ((X.numpy(), Y), "holds no tensor of inputs but a ndarray"),
        ({"labels": Y}, r"holds no tensor of inputs but \{\}"),
        ((torch.tensor(3.0), Y), r"holds no tensor of inputs but float32 \(\)"),
    ],
)
def test_what_is_no_batch(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_batch(batch)


class Sum(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + 2 * b


def test_inputs_are_the_arguments_of_the_model() -> None:
    model, expected = Sum(), X + 2 * (X + 1)
    assert torch.equal(call(model, (X, X + 1)), expected)
    assert torch.equal(call(model, {"b": X + 1, "a": X}), expected)
    assert torch.equal(call(nn.Identity(), X), X)


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


@pytest.mark.parametrize(
    "output", [X, Output(X), {"logits": X, "loss": X.sum()}, (X, Y), [X]], ids=lambda o: type(o).__name__
)
def test_logits_are_found_where_they_usually_are(output: Any) -> None:
    assert logits_of(output) is X


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"boxes": X}, r"\{boxes: float32 \(4, 3\)\}"),
        ((), r"\(\)"),
        ("text", "a str"),
        (({"a": X}, X), r"\(\{a: float32 \(4, 3\)\}, float32 \(4, 3\)\)"),
        (None, "None"),
    ],
)
def test_outputs_without_logits_are_shown(output: Any, shown: str) -> None:
    with pytest.raises(
        ModelError, match=f"the model returns {shown}, in which no logits .* give loss= and metric="
    ):
        logits_of(output)


def test_what_is_a_classification() -> None:
    assert has_class_labels(SOFT, Y)
    assert has_class_labels(Output(SOFT), Y)
    for output, targets in [
        (SOFT, None),
        (SOFT, Y.float()),
        (SOFT, Y + 1),
        (SOFT, Y - 1),
        (SOFT, Y[:3]),
        (SOFT, Y[:, None]),
        (SOFT[:, :1], torch.zeros_like(Y)),
        (SOFT[:, :, None], Y),
        (SOFT.long(), Y),
        ({"boxes": SOFT}, Y),
    ]:
        assert not has_class_labels(output, targets)
