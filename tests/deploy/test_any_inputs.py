"""Export of what is no float32 image: tokens, several inputs, dicts, optional arguments, other dtypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from pithnet.deploy import (
    Contender,
    OnnxNetwork,
    OnnxSession,
    agreement,
    dynamic_int8,
    export_onnx,
    operators,
    time_in_turn,
    torch_runner,
)
from pithnet.errors import ModelError

from .networks import Classifier, ModelOutput, Tokens, images, tokens


def test_tokens_and_their_mask_are_named_and_any_batch_runs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, ids = Tokens().eval(), tokens()
    mask = (torch.arange(6) < 4).long().expand(12, 6)
    one = {"input_ids": ids[:1], "attention_mask": mask[:1]}
    found = export_onnx(model, one, tmp_path / "x.onnx")
    assert (found.inputs, found.outputs, found.batch) == (("input_ids", "attention_mask"), ("logits",), None)
    session = OnnxSession(tmp_path / "x.onnx", threads=1)
    assert [(i.name, str(i.dtype), i.shape) for i in session.inputs] == [
        ("input_ids", "int64", (6,)),
        ("attention_mask", "int64", (6,)),
    ]
    same = agreement(tmp_path / "x.onnx", model, [{"attention_mask": mask, "input_ids": ids}])
    assert same.relative_error < 1e-5
    network = OnnxNetwork(tmp_path / "x.onnx")
    by_name = network(attention_mask=mask, input_ids=ids)
    assert torch.allclose(by_name, model(ids, mask).logits, atol=1e-5)
    assert torch.equal(by_name, network(ids, mask))
    with pytest.raises(ModelError, match=r"takes input_ids, int64 of 6; attention_mask, .*mask is missing"):
        network(ids)


def test_optional_arguments_that_are_none_are_constants(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, ids = Tokens().eval(), tokens()
    assert export_onnx(model, (ids, None), tmp_path / "x.onnx").inputs == ("input",)
    assert agreement(tmp_path / "x.onnx", model, [(ids, None)]).relative_error < 1e-5


def test_embeddings_and_linear_layers_of_token_models_are_int8(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, ids = Tokens().eval(), tokens(40)
    lowered = dynamic_int8(model)
    assert lowered.in_float == ()
    export_onnx(lowered.model, {"input_ids": ids}, tmp_path / "x.onnx")
    stored = {i.name: i.data_type for i in onnx.load(tmp_path / "x.onnx").graph.initializer}
    assert stored["embed.weight"] == stored["up.weight"] == stored["head.weight"] == onnx.TensorProto.INT8
    assert operators(tmp_path / "x.onnx").int8("linear layer") == 2
    # Half a step of 254 for each of three matrices and two inputs, of channels with a spread of 3 or so.
    assert agreement(tmp_path / "x.onnx", model, [{"input_ids": ids}]).relative_error < 0.03


class Adapted(nn.Linear):
    """A layer with a forward of its own: its weight is not all that it computes with."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x) + 1


def test_a_layer_with_a_forward_of_its_own_is_left_in_float_and_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Adapted(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(16, 8)
    lowered = dynamic_int8(model)
    assert lowered.in_float == ("0",)
    export_onnx(lowered.model, x, tmp_path / "x.onnx")
    assert agreement(tmp_path / "x.onnx", model, [x]).relative_error < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_cast_and_that_is_said(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
    x, name = torch.randn(16, 8), str(dtype).removeprefix("torch.")
    found = export_onnx(model, x.to(dtype), tmp_path / "x.onnx")
    assert found.cast == name
    assert f"{name} weights were cast to float32" in str(found)
    assert model[0].weight.dtype == dtype
    graph = onnx.load(tmp_path / "x.onnx").graph
    assert {i.data_type for i in graph.initializer} == {onnx.TensorProto.FLOAT}
    # The same network in float32: what the file computes.
    exact = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    exact.load_state_dict({k: v.float() for k, v in model.state_dict().items()})
    assert agreement(tmp_path / "x.onnx", exact, [x.to(dtype).float()]).relative_error < 1e-5
    assert agreement(tmp_path / "x.onnx", model, [x]).relative_error < 0.05
    assert dynamic_int8(model).cast == name


class OfFour(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * 2 if x.shape[0] == 4 else x.flatten(1)


def test_a_batch_that_forward_makes_a_constant_is_fixed_and_said(tmp_path: Path) -> None:
    found = export_onnx(OfFour(), images(4), tmp_path / "x.onnx")
    assert found.batch == OnnxSession(tmp_path / "x.onnx", threads=1).batch == 4
    assert "batches have to be of 4" in str(found)
    assert agreement(tmp_path / "x.onnx", OfFour(), [images(4)]).max_difference == 0
    with pytest.raises(ModelError, match=r"takes input, float32 of 1 x 8 x 8 in batches of 4, not .* 3 x 1"):
        OnnxSession(tmp_path / "x.onnx", threads=1)(images(3).numpy())


def test_a_shape_for_tokens_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'indices' .*; give an example input in place of a shape"):
        export_onnx(Tokens(), (6,), tmp_path / "x.onnx")


def test_a_hook_on_the_model_itself_is_refused_with_the_fix(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    model.register_forward_hook(lambda module, args, output: output + 1)
    with pytest.raises(ModelError, match=r"hooks on its own forward.*nn\.Sequential\(model\)"):
        export_onnx(model, (4,), tmp_path / "x.onnx")
    x = torch.randn(5, 4)
    export_onnx(nn.Sequential(model), (4,), tmp_path / "x.onnx")
    assert agreement(tmp_path / "x.onnx", model, [x]).max_difference < 1e-5


def test_compiled_models_are_exported_as_the_model_within(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    export_onnx(torch.compile(model, backend="eager"), (4,), tmp_path / "x.onnx")
    assert [n.name for n in onnx.load(tmp_path / "x.onnx").graph.node] == ["0"]


def output_object(features: Tensor, logits: Tensor) -> Any:
    return ModelOutput(logits=logits, hidden_states=(features,))


def test_output_objects_and_tokens_are_timed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Classifier(output_object).eval(), images(3)
    np.testing.assert_array_equal(
        torch_runner(model, torch.get_num_threads())(x.numpy()), model(x).logits.detach()
    )
    ids = tokens()
    export_onnx(Tokens(), {"input_ids": ids}, tmp_path / "x.onnx")
    session = OnnxSession(tmp_path / "x.onnx", threads=1)
    timed = time_in_turn(
        [Contender("x", session.inputs, lambda n: session)], batch=2, threads=1, seconds=0.01
    )
    assert timed[0].median > 0
