"""What a network takes: times that are measured once, and the tensors of a plain network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pithnet.labs import footprint
from pithnet.labs.footprint import memory_bytes, times
from pithnet.labs.notebook import Notebook
from pithnet.run.progress import Quiet


def large() -> nn.Module:
    return nn.Sequential(*(nn.Linear(512, 512) for _ in range(4)))


def test_networks_are_exported_and_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = {"small": (lambda: nn.Linear(4, 4), (4,)), "large": (large, (512,))}
    with Notebook(tmp_path, {"lab": "toy"}, progress=Quiet()) as book:
        first = times(book, "times", networks, (1, 64), 0.01)
        assert list(first) == ["small", "large"]
        for row in first.values():
            assert row.keys() == {"ms", "ms_low", "ms_high", "ms_64"}
            assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"]
        # 64 million products take a millisecond, a thousand some microseconds.
        assert first["large"]["ms_64"] > 2 * first["small"]["ms_64"]

        def unwanted(*arguments: object) -> None:
            raise AssertionError("times that the notebook keeps were measured again")

        monkeypatch.setattr(footprint, "_contender", unwanted)
        assert times(book, "times", networks, (1, 64), 0.01) == first
        with pytest.raises(AssertionError, match="measured again"):
            times(book, "times", {"other": networks["small"]}, (1,), 0.01)


def test_memory_counts_the_plain_tensors() -> None:
    layer = nn.Linear(3, 4)
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
    assert memory_bytes(nn.Sequential(layer)) == 4 * (12 + 4)
    assert torch.nn.utils.parametrize.is_parametrized(layer)
