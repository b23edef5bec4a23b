"""Small networks that return what networks of public libraries return, or take what they take."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class ModelOutput(OrderedDict):
    """As transformers' outputs: a dict that leaves out what is None, and a dataclass with the same names."""

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None

    def __post_init__(self) -> None:
        for name in ("loss", "logits", "hidden_states"):
            if getattr(self, name) is not None:
                self[name] = getattr(self, name)


@dataclass
class Answer:
    """A dataclass that is no dict."""

    logits: Tensor
    boxes: Tensor


class Pair(NamedTuple):
    mean: Tensor
    spread: Tensor


class Classifier(nn.Module):
    """Images (B, 1, 8, 8); `answer` says what is made of features (B, 8, 6, 6) and logits (B, 5)."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5)
        self.answer = answer

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        features = self.norm(self.conv(pixel_values)).relu()
        logits = self.head(features.mean((2, 3)))
        if labels is not None:
            return ModelOutput(loss=F.cross_entropy(logits, labels), logits=logits)
        return logits if self.answer is None else self.answer(features, logits)


class Tokens(nn.Module):
    """int64 tokens (B, L) -> logits (B, L, 50), an output object."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(50, 16), nn.LayerNorm(16)
        self.up, self.head = nn.Linear(16, 32), nn.Linear(32, 50)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> ModelOutput:
        x = self.embed(input_ids)
        if attention_mask is not None:
            x = x * attention_mask.unsqueeze(-1)
        return ModelOutput(logits=self.head(F.gelu(self.up(self.norm(x)))))


def tokens(n: int = 12, length: int = 6) -> Tensor:
    return torch.randint(0, 50, (n, length), generator=torch.Generator().manual_seed(0))


def images(n: int = 40) -> Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
