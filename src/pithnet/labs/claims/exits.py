"""A statement on early exits, settled on a network that has three."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.labs.claims.batches import all_batches
from pithnet.labs.claims.verdicts import DEPENDS, TRUE, Found
from pithnet.labs.workbench import Workbench

_EPOCHS = 12
# Multiplications up to each exit as a share of all: 9 * 64 * 16, then 9 * 16 * 16 * 32 and 9 * 16 * 32 * 32.
_WORK = tuple(round(part / 230400, 3) for part in (9216, 82944, 230400))


def early_exits(bench: Workbench) -> Found:
    """Statement 8: a network with three exits, and which of them is right where the others are not."""
    torch.manual_seed(bench.seed)
    network = _Exits()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    batches = bench.training_batches()
    for epoch in range(_EPOCHS):
        batches.epoch = epoch
        for x, y in all_batches(batches):
            loss = torch.stack([F.cross_entropy(logits, y) for logits in network(x)]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        found = [(network(x), y) for x, y in all_batches(bench.test_batches())]
    exits = [torch.cat([logits[i] for logits, _ in found]) for i in range(3)]
    labels = torch.cat([y for _, y in found])
    right = [logits.argmax(1) == labels for logits in exits]
    overthought = int(((right[0] | right[1]) & ~right[2]).sum())
    rows = [_leaving(exits, right, threshold) for threshold in (0.5, 0.8, 0.9, 0.95, 0.99)]
    numbers = {
        "images": len(labels),
        "accuracies": [float(r.float().mean()) for r in right],
        "overthought": overthought,
        "any_right": float((right[0] | right[1] | right[2]).float().mean()),
        "rows": rows,
        "share_of_work": list(_WORK),
    }
    return Found(TRUE if overthought else DEPENDS, numbers)


class _Exits(nn.Module):
    """Three convolutions, a classifier after each; x (N, 1, 8, 8) -> three logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 1))
        )
        self.heads = nn.ModuleList(nn.Linear(4 * width, 10) for width in (16, 32, 32))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for conv, head in zip(self.convs, self.heads, strict=True):
            x = conv(x)
            found.append(head(F.adaptive_avg_pool2d(x, 2).flatten(1)))
        return found


def _leaving(exits: list[Tensor], right: list[Tensor], threshold: float) -> dict[str, float]:
    """Every image leaves at the first exit that is as sure as the threshold."""
    sure = [logits.softmax(1).amax(1) >= threshold for logits in exits]
    first = torch.where(sure[0], 0, torch.where(sure[1], 1, 2))
    correct = torch.stack(right).gather(0, first[None])[0]
    work = torch.tensor(_WORK)[first].mean()
    return {"threshold": threshold, "accuracy": float(correct.float().mean()), "work": float(work)}
