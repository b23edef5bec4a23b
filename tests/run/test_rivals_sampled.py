"""Rivals of a large model are estimates from samples, shown with a tilde, and can be left out."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import pithnet as pn
from pithnet.cli.tables import result_table
from pithnet.report.headline import conclusion
from pithnet.results.run_record import Results
from pithnet.run import rivals as module
from pithnet.run.rivals import rivals, sampled
from pithnet.surgery import finalize

RECIPE = {"name": "two", "steps": [{"prune": {"sparsity": 0.8}}, {"share": {"bits": 4}}]}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(300, 128), nn.Linear(128, 512), nn.Linear(512, 128)).eval()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A model that counts as large."""
    monkeypatch.setattr(module, "_WHOLE", 1 << 12)
    return network()


@pytest.fixture
def compressed_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes went through zstd."""
    seen: list[int] = []
    zstd: Callable[[list[torch.Tensor]], int] = module._zstd
    monkeypatch.setattr(
        module, "_zstd", lambda parts: (seen.append(sum(p.nbytes for p in parts)), zstd(parts))[1]
    )
    return seen


def test_samples_stand_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, sparse = network(), network()
    pn.prune(sparse, 0.8)
    exact = rivals(dense, finalize(sparse))
    monkeypatch.setattr(module, "_WHOLE", 1 << 12)
    # A larger share than for 10^8 weights: the law is the same, and few samples are noisy.
    monkeypatch.setattr(module, "_SAMPLED", 16)
    about = rivals(dense, finalize(sparse))
    assert sampled(dense)
    assert list(about) == list(exact)
    for name, size in exact.items():
        assert about[name] == pytest.approx(size, rel=0.1)


def test_a_hundredth_of_the_numbers_is_compressed(large: nn.Module, compressed_bytes: list[int]) -> None:
    rivals(large, finalize(large))
    numbers = sum(p.numel() for p in large.parameters())
    assert sum(compressed_bytes) < 5 * numbers / 30  # 5 bytes a number when all of it was


def test_estimates_carry_a_tilde_everywhere(large: nn.Module, tmp_path: Path) -> None:
    result = pn.compress(large, recipe=RECIPE, out=tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "results.json").read_text())["rivals"]
    assert [size["estimated"] for size in kept.values()] == [True] * 3
    lines = [line for line in str(result).splitlines() if "zstd" in line]
    assert len(lines) == 3
    assert all(": ~" in line and ", ~" in line for line in lines)
    shown = io.StringIO()
    Console(width=120, file=shown).print(result_table(result.results))
    assert all(f"~{size['bytes']:,}" in shown.getvalue() for size in kept.values())
    page = result.report(tmp_path / "report.html").read_text()
    assert all(f"~{size['bytes']:,}" in page for size in kept.values())
    assert "takes ~" in conclusion(Results.model_validate(result.results))


def test_small_models_have_exact_rivals_without_a_tilde() -> None:
    torch.manual_seed(0)
    result = pn.compress(nn.Sequential(nn.Linear(64, 64)), recipe=RECIPE)
    assert "~" not in str(result)
    assert not any(size["estimated"] for size in result.results["rivals"].values())


def test_rivals_are_left_out_everywhere(compressed_bytes: list[int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    result = pn.compress(nn.Sequential(nn.Linear(64, 64)), recipe=RECIPE, rivals=False)
    assert not compressed_bytes
    assert result.results["rivals"] == {}
    assert "zstd" not in str(result)
    page = result.report(tmp_path / "report.html").read_text()
    assert "zstd" not in page
    assert "trivial" not in page
