"""Float export: the same answers, folded, clean; what cannot be exported says why."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.deploy import OnnxSession, agreement, export_onnx, facts_of, operators
from pithnet.errors import ModelError, PithError

from .conftest import Exported


def test_a_float_file_answers_as_the_model(digits_float: Exported) -> None:
    found = agreement(digits_float.path, digits_float.model, digits_float.images.split(8))
    assert found.max_difference < 1e-5
    assert (found.same, found.n) == (32, 32)


def test_batches_of_any_size_run(digits_float: Exported) -> None:
    session = OnnxSession(digits_float.path, threads=1)
    assert session.shape == (1, 8, 8)
    for size in (1, 7):
        assert session(digits_float.images[:size].numpy()).shape == (size, 10)


def test_batchnorm_is_folded_and_nodes_have_their_layers_names(digits_float: Exported) -> None:
    graph = onnx.load(digits_float.path).graph
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    named = {node.name: node.op_type for node in graph.node}
    assert [named[n] for n in ("conv1", "conv2", "conv3", "linear")] == ["Conv", "Conv", "Conv", "Gemm"]


def test_the_file_holds_its_facts_and_nothing_of_the_machine(digits_float: Exported) -> None:
    assert facts_of(digits_float.path) == {"made": "here"}
    data = digits_float.path.read_bytes()
    assert b".py" not in data
    parameters = sum(p.numel() for p in digits_float.model.parameters())
    assert len(data) < 4 * parameters + 3000


def test_float_work_is_counted_by_name(digits_float: Exported) -> None:
    found = operators(digits_float.path)
    assert found.float_names["convolution"] == ("conv1", "conv2", "conv3")
    assert found.float_names["linear layer"] == ("linear",)
    assert found.int8("convolution") == 0
    assert found.lines()[0] == "convolutions in int8: 0 of 3; in float: conv1, conv2, conv3"


def test_a_compressed_model_is_exported_as_it_computes_and_stays_compressed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))
    pn.prune(model, sparsity=0.5)
    export_onnx(model, (1, 4, 4), tmp_path / "pruned.onnx")
    assert agreement(tmp_path / "pruned.onnx", model, [torch.randn(8, 1, 4, 4)]).max_difference < 1e-6
    assert any("parametrizations" in key for key in model.state_dict())
    stored = {
        i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(tmp_path / "pruned.onnx").graph.initializer
    }
    zeros = sum(int((stored[name] == 0).sum()) for name in ("1.weight", "3.weight"))
    assert zeros == (16 * 12 + 12 * 4) // 2


class Branches(nn.Module):
    """Which way it goes depends on the image."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if bool(x.sum() > 0) else x


def test_what_cannot_be_exported_says_the_cause_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=r"^Branches cannot be exported to ONNX: .*data-dependent") as error:
        export_onnx(Branches(), (1, 4, 4), tmp_path / "x.onnx")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x.onnx").exists()
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_is_not_there_is_named(digits_float: Exported, tmp_path: Path) -> None:
    with pytest.raises(PithError, match=r"gone/x\.onnx cannot be written"):
        export_onnx(nn.Flatten(), (1, 8, 8), tmp_path / "gone" / "x.onnx")


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x0a"])
def test_files_that_are_no_onnx_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx is not an ONNX file"):
        facts_of(path)
    with pytest.raises(ModelError, match=r"broken\.onnx does not run in ONNX Runtime"):
        OnnxSession(path, threads=1)


def test_missing_files_and_wrong_images_are_named(digits_float: Exported, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be read: No such file"):
        facts_of(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        OnnxSession(tmp_path / "gone.onnx", threads=1)
    session = OnnxSession(digits_float.path, threads=1)
    with pytest.raises(ModelError, match=r"takes images of 1 x 8 x 8 .*, not 3 x 8 x 8"):
        session(torch.zeros(2, 3, 8, 8).numpy())
