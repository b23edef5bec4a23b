"""Statements on speed, settled by a stopwatch."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.labs.claims.batches import first_batch
from pithnet.labs.claims.verdicts import FALSE, TRUE, Found
from pithnet.labs.workbench import Workbench
from pithnet.passes import prune

_ROUNDS = 30


def distribution_and_latency() -> Found:
    """Statement 2: one matrix product with 75 % zeros, scattered, in whole rows, and in a sparse format."""
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(1024, 1024, generator=g)
    x = torch.randn(1024, 64, generator=g)
    scattered = weight * (torch.rand(weight.shape, generator=g) > 0.75)
    rows = torch.zeros_like(weight)
    rows[::4] = weight[::4]
    kept = weight[::4].contiguous()
    sparse = _as_sparse(scattered)
    works: dict[str, Callable[[], Tensor]] = {
        "dense, nothing pruned": lambda: weight @ x,
        "75 % zeros, scattered": lambda: scattered @ x,
        "75 % zeros, scattered, sparse format": lambda: sparse @ x,
        "75 % zeros, in whole rows": lambda: rows @ x,
        "the same rows taken out": lambda: kept @ x,
    }
    times = _in_turn(works)
    faster = times["the same rows taken out"] < 0.6 * times["75 % zeros, scattered"]
    return Found(FALSE if faster else TRUE, {"milliseconds": times, "rounds": _ROUNDS})


def _as_sparse(weight: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR layout a beta
        return weight.to_sparse_csr()


def speed_of_a_masked_training(model: nn.Module, bench: Workbench) -> Found:
    """Statement 12: a training step with nothing masked, and with 90 % of the weights masked."""
    x, y = first_batch(bench.training_batches())
    works = {}
    for name, zeros in (("nothing masked", None), ("90 % masked", 0.9)):
        trained = copy.deepcopy(model).train()
        if zeros is not None:
            prune(trained, zeros)
        works[name] = _step(trained, x, y)
    times = _in_turn(works)
    slower = times["90 % masked"] > 0.9 * times["nothing masked"]
    device = "GPU" if x.is_cuda else "CPU"
    return Found(FALSE if slower else TRUE, {"milliseconds": times, "rounds": _ROUNDS, "device": device})


def _step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _in_turn(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each one's fastest round, which other work on the machine disturbs least."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(_ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            found[name].append(1e3 * (time.perf_counter() - start))
    return {name: min(times) for name, times in found.items()}
