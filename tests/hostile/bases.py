"""Small files to damage: every coding and every coder, ties, integers, an empty tensor; and real networks."""

from __future__ import annotations

from pathlib import Path

import torch
from artifact.models import Assorted, Tied, fold_, shared_, trained_like
from torch import nn

from pithnet.artifact import Metadata, encode

RECORDS = Path(__file__).parents[2] / "records"


def small_files() -> dict[str, bytes]:
    """Files of a few kB, but for `lanes` and `uneven`, whose symbols are too many for one lane."""
    torch.manual_seed(0)
    rounded = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 4))
    by_channel = nn.Sequential(nn.Linear(20, 30))
    with torch.no_grad():
        rounded[0].weight.copy_((rounded[0].weight * 127).round() * 0.03)
        rounded[1].weight.copy_(rounded[1].weight.half())
        steps = by_channel[0].weight.abs().amax(1, keepdim=True) / 7
        by_channel[0].weight.copy_((by_channel[0].weight / steps).round() * steps)
    uneven = nn.Sequential(nn.Linear(240, 300, bias=False))
    with torch.no_grad():
        rows = torch.linspace(0, 2, 300)[:, None].exp()
        uneven[0].weight.copy_((torch.randn(300, 240) * rows).round().clamp(-7, 7) / 8)
    models = {
        "by channel": by_channel,
        "zoo": fold_(shared_(trained_like("digits-cnn", width=3), zeros=0.7, levels=5)),
        "wide": shared_(trained_like("digits-cnn", width=6), zeros=0.9, levels=14),
        "float": trained_like("digits-cnn", width=2),
        "tied": Tied(),
        "assorted": Assorted(),
        "rounded": rounded,
        "uneven": uneven,
        "lanes": shared_(nn.Sequential(nn.Linear(400, 400)), zeros=0.02, levels=9),
    }
    meta = Metadata(recipe={"name": "r", "steps": [1, 2]}, claimed=(10, 9), dataset="d", classes=("a", "b"))
    return {name: encode(model, meta) for name, model in models.items()}


def real_files() -> dict[str, bytes]:
    """The compressed networks under records/."""
    return {path.stem: path.read_bytes() for path in sorted(RECORDS.glob("*.pith"))}
