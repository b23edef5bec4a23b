"""Names for everything that networks take and give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from pithnet.deploy.signature import call_of, main_output, named_tensors
from pithnet.errors import DataError, ModelError

from .networks import Answer, Classifier, ModelOutput, Pair, Tokens

A, B = torch.zeros(2, 3), torch.ones(2)


@pytest.mark.parametrize(
    ("output", "names", "main"),
    [
        (A, ["logits"], "logits"),
        ((A, B), ["output_0", "output_1"], "output_0"),
        ([A, None, (B, 3)], ["output_0", "output_2.0"], "output_0"),
        ({"out": A, "aux": B}, ["out", "aux"], "out"),
        ({"boxes": B, "logits": A}, ["boxes", "logits"], "logits"),
        (
            ModelOutput(logits=A, hidden_states=(B, B)),
            ["logits", "hidden_states.0", "hidden_states.1"],
            "logits",
        ),
        (Answer(boxes=B, logits=A), ["logits", "boxes"], "logits"),
        (Pair(A, B), ["mean", "spread"], "mean"),
        (SimpleNamespace(logits=A, _cache=B), ["logits"], "logits"),
    ],
    ids=["tensor", "tuple", "list", "dict", "logits", "model output", "dataclass", "named tuple", "object"],
)
def test_outputs_have_names(output: Any, names: list[str], main: str) -> None:
    found = named_tensors(output)
    assert list(found) == names
    assert main_output(output) == main
    assert found[main] is A


def test_an_output_without_a_tensor_is_refused() -> None:
    with pytest.raises(ModelError, match=r"returns \{scores: None\}, in which there is no tensor"):
        main_output({"scores": None})


@pytest.mark.parametrize(
    ("model", "inputs", "names"),
    [
        (nn.Linear(3, 1), A, ("input",)),
        (Tokens(), (A, None), ("input",)),
        (Tokens(), (A, B), ("input_ids", "attention_mask")),
        (Tokens(), {"attention_mask": B, "input_ids": A}, ("attention_mask", "input_ids")),
        (Classifier(), {"pixel_values": A, "labels": None}, ("pixel_values",)),
        (nn.LSTM(3, 3), (A, (B, B)), ("input", "hx.0", "hx.1")),
    ],
)
def test_inputs_have_names_and_constants_stay(model: nn.Module, inputs: Any, names: tuple[str, ...]) -> None:
    call = call_of(model, inputs)
    assert call.names == names
    assert call.batch == 2
    args, kwargs = call.with_tensors(iter(t + 1 for t in call.tensors))
    changed = named_tensors((*args, *kwargs.values())).values()
    assert [float(t.max()) for t in changed] == [float(t.max()) + 1 for t in call.tensors]
    given = inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, tuple) else [inputs]
    assert [v is None for v in (*args, *kwargs.values())] == [v is None for v in given]


def test_an_example_without_a_tensor_is_refused() -> None:
    with pytest.raises(DataError, match=r"no tensor \(B, \.\.\.\) in the example, \(None, an int\)"):
        call_of(Tokens(), (None, 3))
