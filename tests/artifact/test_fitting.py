"""A model of the user's own is cut to a file's sizes, or refused by name and left as it was."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from hostile.reseal import reseal
from torch import nn

import pithnet as pn
from pithnet import zoo
from pithnet.artifact.container import unpack
from pithnet.artifact.wire import Cursor, block
from pithnet.errors import ArtifactError
from tests.surgery.channels.networks import BuiltInSizes, built, conv


def mine(groups: int = 2) -> nn.Sequential:
    return nn.Sequential(
        conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 8, groups=8), conv(8, 12, groups=groups),
        nn.GroupNorm(4, 12), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    torch.manual_seed(1)
    small = pn.shrink(mine(), torch.randn(1, 3, 6, 6), rates={"0": 0.5, "4": 0.5}, round_to=1)
    paths = {suffix: tmp_path / f"x.{suffix}" for suffix in ("pith", "pt", "safetensors")}
    pn.save(small, paths["pith"])
    pn.save_state(small, paths["pt"])
    pn.save_state(small, paths["safetensors"])
    return paths


def frozen(model: nn.Module) -> tuple[Any, ...]:
    """All that a failed loading may not change."""
    modules = [
        (name, type(m), {k: v for k, v in vars(m).items() if isinstance(v, int | tuple)})
        for name, m in model.named_modules()
    ]
    return copy.deepcopy(modules), [
        (k, id(v), v.clone()) for k, v in model.state_dict(keep_vars=True).items()
    ]


def unchanged(before: tuple[Any, ...], model: nn.Module) -> bool:
    now = frozen(model)
    tensors = zip(before[1], now[1], strict=True)
    return before[0] == now[0] and all(a[:2] == b[:2] and torch.equal(a[2], b[2]) for a, b in tensors)


@pytest.mark.parametrize("suffix", ["pith", "pt", "safetensors"])
def test_attributes_are_those_of_the_small_network(files: dict[str, Path], suffix: str) -> None:
    model = mine()
    assert pn.load(files[suffix], model=model) is model
    widths = {"0": (3, 4, 1), "3": (4, 4, 4), "4": (4, 6, 2)}
    for name, expected in widths.items():
        found = model.get_submodule(name)
        assert (found.in_channels, found.out_channels, found.groups) == expected
    assert (model[1].num_features, model[5].num_channels, model[5].num_groups) == (4, 6, 2)
    assert model[8].in_features == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.__setitem__(8, nn.Linear(5, 5)), r"8\.weight is \[5, 6\] .* which can lose channels"),
        (lambda m: m.__setitem__(0, conv(2, 8)), r"0\.weight is \[4, 3, 3, 3\] .* \[8, 2, 3, 3\]"),
        (
            lambda m: m.__setitem__(0, nn.Conv2d(3, 8, 5)),
            r"0\.weight is .* 4 channels of 0 and \[8, 3, 5, 5\]",
        ),
        (lambda m: m.__setitem__(8, nn.Bilinear(12, 9, 5)), r"8\.weight is \[5, 6\]"),
        (lambda m: m.append(nn.Linear(5, 2)), r"the file holds no 9\.weight \[2, 5\]"),
        (lambda m: m.__delitem__(5), r"the model has no"),
        (lambda m: m.double()[1].register_buffer("running_mean", torch.zeros(8, dtype=torch.int64)), "int64"),
    ],
)
def test_a_model_that_cannot_be_cut_so_stays_as_it_was(
    files: dict[str, Path], change: Callable[[Any], Any], message: str
) -> None:
    model = mine()
    change(model)
    before = frozen(model)
    for file in files.values():
        with pytest.raises(ArtifactError, match=message):
            pn.load(file, model=model)
        assert unchanged(before, model)


def test_layers_of_torch_that_cannot_be_cut_are_named(tmp_path: Path) -> None:
    pn.save(nn.Sequential(nn.LSTM(4, 3)), tmp_path / "x.pith")
    with pytest.raises(ArtifactError, match=r"0\.weight_ih_l0 has another shape .* a LSTM cannot lose"):
        pn.load(tmp_path / "x.pith", model=nn.Sequential(nn.LSTM(4, 5)))


def test_a_forward_with_numbers_is_rewritten_as_it_was(tmp_path: Path) -> None:
    model, inputs = built("BuiltInSizes")
    small = pn.shrink(model, inputs, rates={"a": 0.7, "b": 0.7, "c": 0.7}, round_to=1)
    again = pn.shrink(small, inputs, rates={"a": 0.5}, round_to=1)  # its forward is rewritten twice
    torch.save(again, tmp_path / "whole")
    pn.save_state(again, tmp_path / "x.pt")
    pn.save(again, tmp_path / "x.pith")
    whole = torch.load(tmp_path / "whole", weights_only=False)
    found = [pn.load(tmp_path / f"x.{suffix}", model=BuiltInSizes().double()) for suffix in ("pt", "pith")]
    for network in (whole, *found):
        assert torch.equal(network(inputs), again(inputs))

    class Other(BuiltInSizes):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.c(self.b(self.a(x))[:, :5]).flatten(1)[:, :48])

    other = Other().double()
    before = frozen(other)
    with pytest.raises(ArtifactError, match=r"the forward has no number at .* build the model by the code"):
        pn.load(tmp_path / "x.pith", model=other)
    assert unchanged(before, other)


def test_a_file_of_the_zoo_fills_the_full_network_with_its_shortcuts(tmp_path: Path) -> None:
    small = zoo.build("resnet20", widths={"layer2.0.conv2": 20, "conv1": 9, "layer2.0.shortcut.before": 1})
    pn.save(small, tmp_path / "x.pith")
    pn.save_state(small, tmp_path / "x.pt")
    x = torch.randn(1, 3, 8, 8)
    for suffix in ("pith", "pt"):
        found = pn.load(tmp_path / f"x.{suffix}", model=zoo.build("resnet20"))
        assert torch.equal(found(x), small.eval()(x))
        assert found.architecture == small.architecture
    widths = json.loads((tmp_path / "x.json").read_text())["widths"]
    assert zoo.build("resnet20", widths=widths).architecture == small.architecture


def test_groups_of_one_input_that_go_after_others_went_are_read(tmp_path: Path) -> None:
    def build() -> nn.Sequential:
        return nn.Sequential(conv(3, 16), conv(16, 32, groups=4), nn.ReLU(), conv(32, 5))

    x = torch.randn(1, 3, 6, 6)
    one = pn.shrink(build(), x, rates={"0": 0.25, "1": 0.25}, round_to=1)
    two = pn.shrink(one, x, rates={"0": 0.5}, round_to=1).eval()
    pn.save(two, tmp_path / "two.pith")
    found = pn.load(tmp_path / "two.pith", model=build())
    assert (found[1].groups, found[1].in_channels, found[1].out_channels) == (2, 2, 4)
    assert torch.equal(found(x), two(x))


def test_sizes_that_a_file_invents_are_refused(files: dict[str, Path]) -> None:
    data = files["pith"].read_bytes()
    assert unpack(data).untold.sizes == {"3.groups": 4, "5.num_groups": 2}
    for content, message in (
        ([{"9.groups": 2}, [], {}], r"9\.groups a number, and the model has no such size"),
        ([{"0.training": 2}, [], {}], r"0\.training a number"),
        *(
            ([{f"{layer}.groups": number}, [], {}], f"{layer} works in {number} groups")
            for layer, number in ((3, 3), (3, 2), (3, 0), (0, 4), (4, 1))
        ),
        ([{"5.num_groups": 3}, [], {}], r"gives 5\.num_groups as 3, which does not fit it"),
        ([{"8.out_features": 7}, [], {}], r"gives 8\.out_features as 7, which does not fit it"),
        ([{}, [["conv", ["x"], 3]], {"input": []}], "the forward has no number at conv, argument x"),
        ([{"3.groups": -1}, [], {}], "entry 'z'"),
        ([{"3.groups": True}, [], {}], "entry 'z'"),
        ([{"3.groups": 2**31}, [], {}], "entry 'z'"),
        ([{}, [["conv", [], 3]], {}], "entry 'z'"),
        ([{}, [], {"x": [[1]]}], "entry 'z'"),
        ({}, "entry 'z'"),
        (b"\xc1", "entry 'z'"),
        (bytes(1 << 22), "entry 'z'"),
    ):
        packed = content if isinstance(content, bytes) else msgpack.packb(content)
        files["pith"].write_bytes(_with_entry(data, zlib.compress(packed)))
        model = mine()
        before = frozen(model)
        with pytest.raises(ArtifactError, match=message):
            pn.load(files["pith"], model=model)
        assert unchanged(before, model)


def _with_entry(data: bytes, entry: bytes) -> bytes:
    cursor = Cursor(data[5:])
    header = msgpack.unpackb(cursor.block())
    return reseal(data[:5] + block(msgpack.packb(header | {"z": entry})) + cursor.rest())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "x.json is missing, which pn.save_state writes beside it"),
        ("no json", "x.json is no JSON"),
        ("[" * 100_000, "x.json is no JSON"),
        ([1], "x.json holds no JSON object"),
        ({"layers": {}}, 'x.json has no "widths"'),
        ({"widths": [4]}, 'x.json has no "widths"'),
        ({"widths": {"0": 0}}, "the tensors give 0 4 outputs and the widths 0"),
        ({"widths": {"0": 5}}, "the tensors give 0 4 outputs and the widths 5"),
        ({"widths": {"0": -4}}, "the width of 0 is -4"),
        ({"widths": {"0": 2**31}}, "the width of 0 is 2147483648"),
        ({"widths": {"0": True}}, "the width of 0 is True"),
        ({"widths": {"conv9": 4}}, "unknown layer in widths 'conv9'"),
        ({"widths": {"0": 4}, "sizes": {"3.groups": 3}}, "3 works in 3 groups"),
        ({"widths": {"0": 4}, "sizes": [3]}, "has another form"),
    ],
)
def test_a_json_that_does_not_go_with_the_tensors_is_refused(
    files: dict[str, Path], content: object, message: str
) -> None:
    beside = files["pt"].with_suffix(".json")
    beside.unlink()
    if content is not None:
        beside.write_text(content if isinstance(content, str) else json.dumps(content))
    model = mine()
    before = frozen(model)
    with pytest.raises(ArtifactError, match=message):
        pn.load(files["pt"], model=model)
    assert unchanged(before, model)
    small = pn.load(files["pith"], model=mine())  # a network of these sizes needs no JSON
    assert torch.equal(pn.load(files["pt"], model=small)[0].weight, small[0].weight)


def test_a_state_of_another_network_is_refused_by_the_first_tensor_and_its_path_once(
    files: dict[str, Path], tmp_path: Path
) -> None:
    more = nn.Sequential(*mine(), nn.Linear(5, 2))
    pn.save_state(more, tmp_path / "more.pt")
    small = pn.shrink(more, torch.randn(1, 3, 6, 6), rates={"0": 0.5}, round_to=1)
    pn.save_state(small, tmp_path / "small.pt")
    for name in ("more", "small"):
        with pytest.raises(ArtifactError, match=rf"{name}\.pt: the model has no 9\.weight \[2, 5\], which"):
            pn.load(tmp_path / f"{name}.pt", model=mine())
    with pytest.raises(ArtifactError) as missing:
        pn.load(tmp_path / "none.pt", model=mine())
    assert str(missing.value) == f"{tmp_path / 'none.pt'}: no such checkpoint"


def test_only_tensors_are_read_from_a_state(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(2), "x": Path("y")}, tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match="holds more than tensors and was not loaded"):
        pn.load(tmp_path / "x.pt", model=mine())
    with pytest.raises(ArtifactError, match=r"names no network; build it and pass it: load\(path, model"):
        pn.load(tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match=r"name the file \.pt or \.safetensors"):
        pn.save_state(mine(), tmp_path / "x.bin")
    with pytest.raises(ArtifactError, match="there is no folder"):
        pn.save_state(mine(), tmp_path / "no" / "x.pt")
