"""int8: everything fused, answers of the simulation, small files; what stays in float is said."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from pithnet.deploy import (
    OnnxSession,
    agreement,
    dynamic_int8,
    export_onnx,
    operators,
    static_int8,
    with_stored_biases,
)
from pithnet.errors import ModelError
from pithnet.passes import quantize
from pithnet.surgery import ActivationQuantizer, release_all
from pithnet.tensor.observers import get_observer

from .conftest import Exported, exported_int8, network
from .quantized import quantized, round_, settled

WITHIN_A_STEP = 1.001


def integers(path: Path) -> dict[str, list[int]]:
    """Shapes of the int8 tensors in a file, by name."""
    graph = onnx.load(path).graph
    return {i.name: list(i.dims) for i in graph.initializer if i.data_type == onnx.TensorProto.INT8}


def assert_all_int8(exported: Exported, convolutions: int, additions: int, steps: float = 1) -> None:
    """`steps`: how far the logits may be from the simulation's; in deep random networks roundings grow."""
    found = operators(exported.path)
    assert found.float_names == {"convolution": (), "addition": (), "linear layer": ()}
    assert (found.int8("convolution"), found.int8("addition")) == (convolutions, additions)
    simulated = with_stored_biases(exported.model, exported.path)
    same = agreement(exported.path, simulated, [exported.images])
    assert same.max_difference <= WITHIN_A_STEP * steps * same.step
    assert same.within_a_step == 1 if steps == 1 else same.within_a_step > 0.95
    assert same.same == same.n


def test_a_plain_network_is_int8_throughout(digits_int8: Exported) -> None:
    assert_all_int8(digits_int8, convolutions=3, additions=0)
    assert operators(digits_int8.path).lines()[0] == "convolutions in int8: 3 of 3"


def test_padding_shortcuts_keep_resnet20_in_int8(tmp_path: Path) -> None:
    torch.manual_seed(1)
    exported = exported_int8("resnet20", tmp_path, torch.randn(16, 3, 16, 16))
    assert_all_int8(exported, convolutions=19, additions=9, steps=3)
    weights = sum(p.numel() for p in exported.model.parameters() if p.dim() > 1)
    assert exported.path.stat().st_size < 1.3 * weights


def test_pooling_keeps_vgg_in_int8_and_its_4_bit_weights_exact(tmp_path: Path) -> None:
    torch.manual_seed(1)
    exported = exported_int8("vgg16", tmp_path, torch.randn(16, 3, 32, 32), bits=4, width=4)
    assert_all_int8(exported, convolutions=13, additions=0)
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(exported.path).graph.initializer}
    for name in ("features.0", "classifier"):
        codes, scale = stored[f"{name}.weight"], stored[f"{name}.weight_scale"]
        assert abs(codes).max() <= 7
        weight = exported.model.get_submodule(name).weight.detach()
        values = torch.from_numpy(codes * scale.reshape(-1, *[1] * (codes.ndim - 1)))
        assert torch.equal(values, weight)


def test_convolutions_per_channel_and_their_shortcuts_are_int8(tmp_path: Path) -> None:
    """Blocks 1 to 3 of MobileNetV2: a projected shortcut, one that is the input, and none."""
    torch.manual_seed(1)
    blocks = network("mobilenetv2", width=8).layers[1:4]
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    images = torch.randn(32, 4, 8, 8)
    simulated, path = quantized(model, images), tmp_path / "blocks.onnx"
    export_onnx(static_int8(simulated).model, (4, 8, 8), path)
    assert_all_int8(Exported(path, simulated, images), convolutions=10, additions=2, steps=2)


def test_weights_are_stored_as_int8(digits_int8: Exported) -> None:
    stored = integers(digits_int8.path)
    assert stored["conv3.weight"] == [16, 16, 3, 3]
    assert stored["linear.weight"] == [10, 16]
    graph = onnx.load(digits_int8.path).graph
    assert not any(i.name.endswith(".weight") and i.data_type == 1 for i in graph.initializer)


def test_a_codebook_stays_in_float_and_is_named(tmp_path: Path) -> None:
    model = quantized(network("digits-cnn", width=8), torch.randn(8, 1, 8, 8))
    codebook = torch.randn(16)
    release_all(model)
    model.conv2.weight.data = codebook[torch.randint(16, model.conv2.weight.shape)]
    lowered = static_int8(model)
    assert lowered.in_float == ("conv2",)
    assert torch.equal(lowered.model.conv2.weight, model.conv2.weight)
    assert lowered.model.conv3.weight.dtype == torch.int8
    export_onnx(lowered.model, (1, 8, 8), tmp_path / "codebook.onnx")
    assert operators(tmp_path / "codebook.onnx").float_names["convolution"] == ("conv2",)
    simulated = with_stored_biases(model, tmp_path / "codebook.onnx")
    assert torch.equal(simulated.conv2.bias, model.conv2.bias)
    same = agreement(tmp_path / "codebook.onnx", simulated, [torch.randn(16, 1, 8, 8)])
    assert same.within_a_step == 1


def test_the_model_itself_is_left_alone() -> None:
    model = quantized(network("digits-cnn", width=8), torch.randn(8, 1, 8, 8))
    x = torch.randn(4, 1, 8, 8)
    before = model(x)
    static_int8(model)
    dynamic_int8(model)
    assert torch.equal(model(x), before)
    assert model.conv1.weight.requires_grad


def test_a_model_without_quantizers_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no quantized activations; run quantize\(model, bits=8"):
        static_int8(network("digits-cnn"))


def test_activations_of_fewer_bits_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"^0 has 4 bits; int8 runtimes take activations of 8"):
        static_int8(nn.Sequential(settled(0.1, 3, bits=4), nn.Flatten()))


def test_a_quantizer_that_still_observes_is_refused_by_name() -> None:
    observing = ActivationQuantizer(8, get_observer("min-max"), "here")
    with pytest.raises(ModelError, match=r"^0 is not calibrated yet; quantize\(\.\.\., calibrate=images\)"):
        static_int8(nn.Sequential(observing, nn.Flatten()))


def test_learned_clips_are_exported_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten())
    x = torch.randn(32, 1, 8, 8)
    quantize(model, 8, activations=8, clip="learned", calibrate=x, fit="range")
    export_onnx(static_int8(model).model, (1, 8, 8), tmp_path / "pact.onnx")
    assert operators(tmp_path / "pact.onnx").int8("convolution") == 2
    same = agreement(tmp_path / "pact.onnx", with_stored_biases(model, tmp_path / "pact.onnx"), [x])
    assert same.within_a_step == 1


def test_dynamic_int8_is_for_linear_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())
    model = nn.Sequential(convolution, nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 5, bias=False)).eval()
    round_(model[1].weight)
    lowered = dynamic_int8(model)
    assert lowered.in_float == ("0.0",)
    export_onnx(lowered.model, (1, 8, 8), tmp_path / "dynamic.onnx")
    found = operators(tmp_path / "dynamic.onnx")
    assert found.int8("linear layer") == 2
    assert found.float_names["convolution"] == ("0.0",)
    assert integers(tmp_path / "dynamic.onnx") == {"1.weight": [144, 32], "3.weight": [32, 5]}
    same = agreement(tmp_path / "dynamic.onnx", model, [torch.randn(64, 1, 8, 8)])
    assert 0 < same.max_difference < 3 * same.step
    with pytest.raises(ModelError, match=r"dynamic int8 is for linear layers, and the model has none"):
        dynamic_int8(convolution)


def test_a_model_that_is_one_linear_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 4)
    export_onnx(dynamic_int8(layer).model, (16,), tmp_path / "layer.onnx")
    x = torch.randn(8, 16)
    answer = torch.from_numpy(OnnxSession(tmp_path / "layer.onnx", threads=1)(x.numpy()))
    assert torch.allclose(answer, layer(x), atol=0.05)
    assert not torch.equal(answer, layer(x))


class Twice(nn.Module):
    """One layer under two names, alone and inside of another module, and a quantizer of its input."""

    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.a = nn.Linear(16, 16)
        self.b, self.nested = self.a, nn.Sequential(self.a, nn.ReLU())
        self.again = self.nested

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.again(self.b(self.nested(self.a(self.quantizer(x)))))
        return out


def test_a_module_under_several_names_is_int8_under_all(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 16)
    for lower, quantizer in ((dynamic_int8, nn.Identity()), (static_int8, settled(0.03, 128))):
        model = Twice(quantizer).eval().requires_grad_(False)
        round_(model.a.weight)
        lowered = lower(model)
        found = lowered.model
        assert found.a is found.b is found.nested[0] is found.again[0]
        assert found.a.weight.dtype == torch.int8
        assert lowered.in_float == ()
        export_onnx(found, (16,), tmp_path / "twice.onnx")
        same = agreement(tmp_path / "twice.onnx", model, [x])
        assert same.max_difference < 0.02
        assert operators(tmp_path / "twice.onnx").int8("linear layer") == (4 if lower is dynamic_int8 else 1)


class Attention(nn.Module):
    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.attention, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quantizer(x)
        out: torch.Tensor = self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))
        return out


def test_the_layer_inside_attention_stays_in_float_and_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 5, 16)
    for lower, quantizer in ((dynamic_int8, nn.Identity()), (static_int8, settled(0.03, 128))):
        model = Attention(quantizer).eval().requires_grad_(False)
        round_(model.attention.out_proj.weight)
        round_(model.head.weight)
        lowered = lower(model)
        assert lowered.in_float == ("attention.out_proj",)
        assert lowered.model.head.weight.dtype == torch.int8
        export_onnx(lowered.model, (5, 16), tmp_path / "attention.onnx")
        assert agreement(tmp_path / "attention.onnx", model, [x]).max_difference < 0.01
