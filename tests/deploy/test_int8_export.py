"""pn.export_int8: one call, checked against the float model; what cannot be is refused before any work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.deploy import OnnxSession, int8_export
from pithnet.errors import DataError, ModelError, PithError

from .networks import Classifier, ModelOutput, Tokens, images, tokens


def trained(answer: Any = None) -> Classifier:
    """In train mode, its BatchNorm as after a training."""
    torch.manual_seed(0)
    model = Classifier(answer)
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    nn.init.normal_(model.norm.running_mean, 0, 0.3)
    return model


def test_one_call_gives_a_checked_file_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model, x = trained(), images(100)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    found = pn.export_int8(model, x, tmp_path / "x.onnx")
    assert model.training
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert found.bytes == (tmp_path / "x.onnx").stat().st_size
    assert (found.calibrated_on, found.checked_on, found.unseen) == (80, 20, True)
    # 8 bits: a step of 1/255 of a range in each of four places.
    assert 1e-5 < found.agreement.relative_error < 0.03
    assert found.simulation.relative_error < found.agreement.relative_error / 10
    assert (found.agreement.n, found.simulation.n) == (20, 20)
    # What it says is what the file does.
    answers = torch.from_numpy(OnnxSession(tmp_path / "x.onnx", threads=1)(x[::5].numpy()))
    exact = model.eval()(x[::5]).detach()
    assert found.agreement.relative_error == pytest.approx(
        float((answers - exact).norm() / exact.norm()), rel=1e-3
    )
    assert found.agreement.same == int((answers.argmax(1) == exact.argmax(1)).sum())
    assert "Conv" not in found.float_operators
    for said in (
        f"{found.bytes:,} bytes",
        "against the float model",
        "its simulation",
        "of 20 images",
        "20 others",
    ):
        assert said in str(found)


def test_loaders_of_any_kind_go_and_their_labels_are_never_read(tmp_path: Path) -> None:
    x = images(40)
    loaders: list[Any] = [
        [(half, torch.full((20,), 10**6)) for half in x.split(20)],
        [{"pixel_values": half, "labels": torch.full((20,), -1)} for half in x.split(20)],
        ((half,) for half in x.split(20)),
    ]
    found = [pn.export_int8(trained(), loader, tmp_path / f"{i}.onnx") for i, loader in enumerate(loaders)]
    assert len({str(f.agreement) for f in found}) == 1
    inputs = [OnnxSession(tmp_path / f"{i}.onnx", threads=1).inputs[0].name for i in range(3)]
    assert inputs == ["input", "pixel_values", "input"]


def test_no_more_images_are_read_than_are_used(tmp_path: Path) -> None:
    read = []

    def loader() -> Iterator[Tensor]:
        for number in range(1000):
            read.append(number)
            yield images(100)

    found = pn.export_int8(trained(), loader(), tmp_path / "x.onnx")
    assert len(read) == 7
    assert found.calibrated_on + found.checked_on == 640


class Rest(nn.Module):
    """A BatchNorm with no layer before it, and a layer that int8 runtimes have no kernel for."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.up = nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 3, 2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.up(self.conv(self.norm(x)).relu())}


def test_what_stays_in_float_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = pn.export_int8(Rest(), images(40), tmp_path / "x.onnx")
    assert found.norms_in_float == ("norm",)
    assert found.float_operators == {"BatchNormalization": ("norm",), "ConvTranspose": ("up",)}
    assert found.agreement.what == "pixels"
    assert "operators in float: BatchNormalization (norm); ConvTranspose (up)" in str(found)
    assert "BatchNorm that could not be folded: norm" in str(found)


def test_half_models_are_cast_and_output_objects_compared(tmp_path: Path) -> None:
    model = trained(lambda f, y: ModelOutput(logits=y, hidden_states=(f,))).half()
    found = pn.export_int8(model, images(40), tmp_path / "x.onnx")
    assert found.cast == "float16"
    assert "float16 weights were cast to float32" in str(found)
    assert [o.output for o in found.agreement.others] == ["hidden_states.0"]
    assert model.conv.weight.dtype == torch.float16


def test_tokens_of_one_input_are_calibrated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = pn.export_int8(Tokens(), tokens(40), tmp_path / "x.onnx")
    assert found.agreement.what == "tokens"
    assert found.operators.int8("linear layer") == 2
    assert found.agreement.relative_error < 0.05
    assert found.float_operators.keys() >= {"LayerNormalization"}


class Branches(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x + 1 if bool(x.sum() > 0) else x)
        return y


def broken() -> nn.Module:
    model = trained()
    nn.init.constant_(model.head.weight, float("nan"))
    return model


def quantized() -> nn.Module:
    model = trained()
    pn.quantize(model, 8, activations=8, calibrate=images(), fit="range")
    return model


@pytest.mark.parametrize(
    ("model", "data", "error", "message"),
    [
        (trained, None, DataError, "there are no images to calibrate on"),
        (trained, [], DataError, "there are no images to calibrate on"),
        (trained, images(0), DataError, "there are no images to calibrate on"),
        (trained, 3, DataError, "images are a tensor (N, ...) or a loader, and this is an int"),
        (
            trained,
            torch.zeros(4, 2, 8, 8),
            ModelError,
            "Classifier cannot take the images, float32 (4, 2",
        ),
        (trained, [images(3), images(3)[..., 1:]], DataError, "batch 2 has images of (1, 8, 7)"),
        (trained, [images(3), images(3) / 0], DataError, "the images of batch 2 hold NaN or inf"),
        (broken, images(), ModelError, "head.weight holds NaN"),
        (quantized, images(), ModelError, "the activations are quantized already"),
        (Branches, images(), ModelError, "Linear layers alone can be int8 without calibration"),
        (
            Tokens,
            [{"input_ids": tokens(), "attention_mask": tokens()}],
            DataError,
            "pn.deploy.dynamic_int8(model)",
        ),
    ],
    ids=[
        "none",
        "empty",
        "no rows",
        "no loader",
        "shape",
        "shapes",
        "inf",
        "weights",
        "quantized",
        "branches",
        "two",
    ],
)
def test_refusals_come_by_name_and_before_any_work(
    model: Any,
    data: Any,
    error: type[PithError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(*_: Any) -> None:
        raise AssertionError("the export was begun")

    monkeypatch.setattr(int8_export, "static_int8", late)
    with pytest.raises(error) as found:
        pn.export_int8(model(), data, tmp_path / "x.onnx")
    assert message in str(found.value)
    assert not list(tmp_path.iterdir())


def test_an_example_says_the_lengths_and_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"batch 1 has images of \(1, 8, 8\), .* of \(1, 9, 9\)"):
        pn.export_int8(trained(), images(), tmp_path / "x.onnx", example=torch.zeros(1, 1, 9, 9))
    with pytest.raises(PithError, match="gone is not a folder"):
        pn.export_int8(trained(), images(), tmp_path / "gone" / "x.onnx")
