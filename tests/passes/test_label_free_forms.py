"""Quantization without labels takes what `learn.call` takes, calls of every form, and every float dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from comparisons import assert_below
from comparisons.forms import attention_with_a_table, layers_of_every_kind, maps, reader, tokens
from torch import nn

import pithnet as pn
from pithnet.passes import quantize, quantize_without_labels
from pithnet.policies import divergence
from pithnet.surgery import fake_quantizer, weighted_layers

SAMPLES, MAPS = tokens(), maps()
TOKENS = SAMPLES["input_ids"]


@pytest.mark.parametrize(
    "calibrate",
    [
        SAMPLES,
        TOKENS,
        [{**SAMPLES, "labels": torch.zeros(96, dtype=torch.int64)}],
        [({"input_ids": TOKENS[i : i + 40]}, None) for i in (0, 40, 80)],
        [(TOKENS[i : i + 1, : 7 - i % 1],) for i in range(6)],
    ],
    ids=["dict", "tokens", "labelled dicts", "several sizes", "one at a time"],
)
def test_batches_and_calls_of_every_form(calibrate: Any) -> None:
    reference, model, emptied = reader(), reader(), reader()
    quantize(emptied, 0, skip=["unused"], fit="range")
    record = quantize_without_labels(model, 3, calibrate, steps=60)
    assert record.unread == ("unused",)
    assert "left in float, the network never reads them: unused" in str(record)
    assert torch.equal(model.unused.weight, reference.unused.weight)
    assert [row.name for row in record.layers if row.bits == 3] == [
        "embed", "attention.query", "attention.key", "attention.value", "head",
    ]  # fmt: skip
    assert divergence(model, reference, calibrate, "mse") < divergence(emptied, reference, calibrate, "mse")


def test_a_block_of_several_arguments_learns_beside_its_table_and_its_options() -> None:
    assert_below(attention_with_a_table)


def test_layers_of_every_kind_learn() -> None:
    assert_below(layers_of_every_kind)


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6), nn.Flatten()).eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_dtype_is_computed_in_float32_and_given_back(dtype: torch.dtype, tmp_path: Path) -> None:
    reference, model = normed(), normed()
    model.to(dtype)
    quantize_without_labels(model, 4, MAPS, steps=20)
    assert {t.dtype for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()} == {dtype}
    part = fake_quantizer(dict(weighted_layers(model))["0"])
    assert part is not None
    assert max(row.unique().numel() for row in part.rows(model[0].weight)) <= 16
    with torch.no_grad():
        wanted, found = reference(MAPS), model(MAPS.to(dtype)).float()
    assert float((found - wanted).norm() / wanted.norm()) < 0.2
    final = pn.finalize(model)
    pn.artifact.save(tmp_path / "m.pith", pn.encode(final))
    loaded = pn.load(tmp_path / "m.pith", model=normed().to(dtype))
    assert torch.equal(loaded(MAPS.to(dtype)), final(MAPS.to(dtype)))
