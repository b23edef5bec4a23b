"""The course's six files: plain arrays and state_dicts that agree with the models they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pithnet import zoo
from pithnet.coding import entropy_bits
from pithnet.errors import RecipeError
from pithnet.labs.deep_compression.source_files import SOURCE_FILES, write_source_files
from pithnet.passes import prune, share


@pytest.fixture(scope="module")
def models() -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    def build() -> torch.nn.Module:
        torch.manual_seed(0)
        return zoo.build("digits-cnn")

    before, pruned, shared = build(), build(), build()
    for model in (pruned, shared):
        prune(model, 0.7)
    share(shared, bits=3)
    return before, pruned, shared


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, models: tuple[torch.nn.Module, ...]) -> Path:
    out = tmp_path_factory.mktemp("source") / "made"
    paths = write_source_files(out, *models)
    assert [p.name for p in paths] == list(SOURCE_FILES)
    assert sorted(p.name for p in out.iterdir()) == sorted(SOURCE_FILES)
    return out


def test_networks_load_into_a_plain_model(folder: Path, models: tuple[torch.nn.Module, ...]) -> None:
    for name, model in zip(SOURCE_FILES[:3], models, strict=True):
        plain = zoo.load("digits-cnn", folder / name)
        for layer in ("conv1", "conv2", "conv3", "linear"):
            assert torch.equal(plain.get_submodule(layer).weight, model.get_submodule(layer).weight)
    state = torch.load(folder / SOURCE_FILES[1], weights_only=True)
    total = sum(state[f"{n}.weight"].numel() for n in ("conv1", "conv2", "conv3", "linear"))
    zeros = sum(int((state[f"{n}.weight"] == 0).sum()) for n in ("conv1", "conv2", "conv3", "linear"))
    assert zeros == round(0.7 * total)


def test_codes_are_prefix_free_and_give_the_weights_back(
    folder: Path, models: tuple[torch.nn.Module, ...]
) -> None:
    codebook = np.load(folder / "codebook_resnet20.npy", allow_pickle=False)
    encoding = np.load(folder / "huffman_encoding.npy", allow_pickle=False)
    assert codebook.shape == (4, 8)
    assert codebook.dtype == np.float32
    for row, name in enumerate(("conv1", "conv2", "conv3", "linear")):
        mine = encoding[encoding["layer"] == row]
        assert set(mine["name"]) == {name}
        assert [len(code) for code in mine["code"]] == mine["length"].tolist()
        by_code = {
            code: codebook[row, symbol] for code, symbol in zip(mine["code"], mine["symbol"], strict=True)
        }
        weight = models[2].get_submodule(name).weight.detach()
        values = weight[weight != 0].numpy()
        code_of = {value: code for code, value in by_code.items()}
        bits = "".join(code_of[v] for v in values)
        assert _decode(bits, by_code) == values.tolist()


def _decode(bits: str, by_code: dict[str, float]) -> list[float]:
    values, code = [], ""
    for bit in bits:
        code += bit
        if code in by_code:
            values.append(float(by_code[code]))
            code = ""
    assert code == ""
    return values


def test_frequencies_and_lengths_are_near_the_entropy(folder: Path) -> None:
    encoding = np.load(folder / "huffman_encoding.npy")
    frequencies = np.load(folder / "huffman_freq.npy")
    for field in ("layer", "symbol", "name"):
        np.testing.assert_array_equal(encoding[field], frequencies[field])
    for row in range(4):
        mine = frequencies["layer"] == row
        counts = frequencies["count"][mine]
        length = (counts * encoding["length"][mine]).sum() / counts.sum()
        assert entropy_bits(counts) <= length < entropy_bits(counts) + 1


def test_one_value_needs_no_bits(tmp_path: Path) -> None:
    model = zoo.build("digits-cnn")
    share(model, levels=1)
    write_source_files(tmp_path, model, model, model)
    encoding = np.load(tmp_path / "huffman_encoding.npy")
    assert encoding["code"].tolist() == [""] * 4
    assert np.load(tmp_path / "codebook_resnet20.npy").shape == (4, 1)


def test_without_codebooks(tmp_path: Path) -> None:
    model = zoo.build("digits-cnn")
    with pytest.raises(RecipeError, match="use a recipe with a share step"):
        write_source_files(tmp_path, model, model, model)
