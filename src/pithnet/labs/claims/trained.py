"""Statements on what a training with a regularizer ends at."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from pithnet.labs.claims.verdicts import DEPENDS, FALSE, TRUE, Found
from pithnet.labs.workbench import Workbench
from pithnet.learn import Trainer, Training, evaluate
from pithnet.passes import GradualPruning, Regularization, prune
from pithnet.surgery import weighted_layers


def zeros_by_sgd(model: nn.Module, bench: Workbench) -> Found:
    """Statement 4: exact zeros after training with L1 and DeepHoyer in the loss, and with L1's prox."""
    rows: list[dict[str, Any]] = []
    for name, kind, how, strength in (
        ("L1 in the loss", "l1", "loss", 1e-3),
        ("DeepHoyer in the loss", "hoyer-square", "loss", 1e-4),
        ("L1 by its proximal step", "l1", "proximal", 1e-3),
    ):
        trained = copy.deepcopy(model)
        _train(trained, bench, Regularization(trained, kind, sparsity=None, how=how, strength=strength), 3)
        weights = torch.cat([layer.weight.detach().flatten() for _, layer in weighted_layers(trained)])
        rows.append(
            {
                "method": name,
                "exact_zeros": int((weights == 0).sum()),
                "below_a_thousandth": int((weights.abs() < 1e-3).sum()),
                "weights": len(weights),
            }
        )
    by_sgd = sum(r["exact_zeros"] for r in rows[:2])
    return Found(FALSE if by_sgd == 0 < rows[2]["exact_zeros"] else DEPENDS, {"rows": rows})


def one_final_threshold(model: nn.Module, bench: Workbench) -> Found:
    """Statement 15: L1 in the loss and one small threshold, against iterative magnitude pruning."""
    by_l1 = copy.deepcopy(model)
    _train(by_l1, bench, Regularization(by_l1, "l1", sparsity=None, how="loss", strength=2e-3), 4)
    before = evaluate(by_l1, bench.test_batches()).accuracy
    weights = torch.cat([layer.weight.detach().flatten() for _, layer in weighted_layers(by_l1)])
    threshold = 1e-2
    zeros = float((weights.abs() < threshold).float().mean())
    prune(by_l1, zeros)
    iterative = copy.deepcopy(model)
    _train(iterative, bench, GradualPruning(iterative, zeros, ramp=0.7), 4)
    numbers: dict[str, Any] = {
        "threshold": threshold,
        "zeros": zeros,
        "before_the_threshold": before,
        "l1": evaluate(by_l1, bench.test_batches()).accuracy,
        "iterative": evaluate(iterative, bench.test_batches()).accuracy,
        "magnitudes": weights.abs().tolist()[:: max(1, len(weights) // 2000)],
    }
    close = numbers["l1"] >= before - 0.01 and zeros >= 0.3
    return Found(TRUE if close else DEPENDS, numbers)


def _train(model: nn.Module, bench: Workbench, schedule: Any, epochs: int) -> None:
    training = Training(epochs, lr=0.05, schedule="one-cycle", warmup=0.1, precision=bench.precision)
    for _ in Trainer(model, bench.training_batches(), training, before_step=schedule).run():
        pass
