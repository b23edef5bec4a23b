from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from artifact.models import Assorted, Tied, fold_, shared_, trained_like
from pithnet.artifact import Metadata, encode, float32_bytes, inspect

PARTS = {"header", "positions", "symbols", "codebooks", "norm", "other", "checksums"}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return fold_(shared_(trained_like("digits-cnn", width=8), zeros=0.75, levels=6))


@pytest.mark.parametrize("other", [Assorted(), Tied(), trained_like("digits-cnn", width=2), nn.Module()])
def test_every_byte_is_counted_once(other: nn.Module) -> None:
    data = encode(other)
    found = inspect(data)
    assert set(found.parts) == PARTS
    assert sum(found.parts.values()) == found.bytes == len(data)
    tensors = sum(sum(t.bytes.values()) for t in found.tensors)
    assert tensors == found.bytes - found.parts["header"] - found.parts["checksums"]


def test_rows_say_what_is_in_the_tensors(model: nn.Module) -> None:
    data = encode(model, Metadata(normalization=((0.5,), (0.25,)), claimed=(1797, 1780)))
    found = inspect(data)
    rows = {t.name: t for t in found.tensors}
    state = model.state_dict()
    assert list(rows) == [k for k in state if not k.endswith("num_batches_tracked")]
    for name, row in rows.items():
        assert row.shape == tuple(state[name].shape)
        assert row.zeros == int((state[name] == 0).sum())
        assert row.levels == len(set(state[name].flatten().tolist()) - {0.0})
        assert row.bits == pytest.approx(8 * sum(row.bytes.values()) / state[name].numel())
    assert rows["conv2.weight"].levels == 6
    assert rows["conv2.weight"].bytes["positions"] > 0
    assert rows["conv2.weight"].coding.split("+")[1].startswith("palette/")
    assert rows["bn1.running_var"].coding == "constant"
    assert found.ratio == float32_bytes(state) / len(data)
    assert (found.norm, found.normalization, found.claimed) == ("folded", ((0.5,), (0.25,)), (1797, 1780))
    found = inspect(encode(trained_like("digits-cnn", width=2)))
    assert found.norm == "statistics"
    head, *lines = str(found).splitlines()
    assert head.startswith(f"digits-cnn: {found.bytes:,} bytes")
    assert len(lines) == len(found.tensors)


def test_json_has_the_promised_fields(model: nn.Module) -> None:
    found = json.loads(inspect(encode(model)).to_json())
    assert {"bytes", "ratio", "architecture", "normalization", "tensors", "parts"} <= set(found)
    assert found["architecture"] == "digits-cnn"
    row = found["tensors"][0]
    assert set(row["bytes"]) == {"positions", "symbols", "codebook", "other"}
    assert {"name", "shape", "coding", "zeros", "levels", "bits"} <= set(row)


def test_tied_tensors_cost_nothing_and_minus_zero_is_a_level() -> None:
    rows = {t.name: t for t in inspect(encode(Tied())).tensors}
    assert rows["out.weight"].coding == "tied to embed.weight"
    assert rows["out.weight"].bits == 0
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.0, -0.0, 1.0, 1.0]])
    row = inspect(encode(layer)).tensors[0]
    assert (row.zeros, row.levels) == (1, 2)
