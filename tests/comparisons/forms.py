"""Blocks of many forms that learn their roundings: layers of other kinds, calls with several arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from comparisons import Value, comparison
from pithnet.passes import quantize, reconstruct_blocks


@dataclass
class Answer:
    """An output object of one's own."""

    logits: Tensor
    hidden: tuple[Tensor, ...] = ()


class Attention(nn.Module):
    """Called as Hugging Face's are: optional arguments, keywords, a table of no sample; gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(
        self, x: Tensor, past: Tensor | None, *, mask: Tensor | None = None, positions: Tensor, scale: float
    ) -> tuple[Tensor, Tensor | None]:
        assert past is None
        scores = self.query(x + positions) @ self.key(x + positions).mT * scale
        if mask is not None:
            scores = scores + mask
        return scores.softmax(-1) @ self.value(x), scores


class Reader(nn.Module):
    """A language model in small; calls attention by keyword, and has a head that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(30, 12), nn.Parameter(torch.randn(1, 7, 12))
        self.attention, self.norm = Attention(), nn.LayerNorm(12)
        self.head, self.unused = nn.Linear(12, 5), nn.Linear(12, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        x = self.embed(input_ids)
        mask = None if attention_mask is None else (attention_mask[:, None] - 1.0) * 1e4
        found, _ = self.attention(x, None, mask=mask, positions=self.positions, scale=12**-0.5)
        hidden = self.norm(x + found)
        return Answer(self.head(hidden.mean(1)), (hidden,))


def reader(seed: int = 0) -> nn.Module:
    """With embeddings of three dimensions in twelve, as words are alike in trained models."""
    torch.manual_seed(seed)
    model = Reader().eval().requires_grad_(False)
    model.embed.weight.copy_(torch.randn(30, 3) @ torch.randn(3, 12) + 0.1 * torch.randn(30, 12))
    return model


def tokens(seed: int = 0) -> dict[str, Tensor]:
    """96 lines of 4 to 7 tokens, as a tokenizer gives them."""
    found = torch.randint(0, 30, (96, 7), generator=torch.Generator().manual_seed(seed))
    return {
        "input_ids": found,
        "attention_mask": (torch.arange(7) < torch.arange(96)[:, None] % 4 + 4).long(),
    }


def maps(seed: int = 0) -> Tensor:
    """(96, 4, 6, 6): four channels of one smooth map, each with its own factor, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    smooth = nn.functional.avg_pool2d(torch.randn(96, 1, 8, 8, generator=generator), 3, 1)
    factors = torch.randn(4, 1, 1, generator=generator)
    return smooth * factors + 0.02 * torch.randn(96, 4, 6, 6, generator=generator)


def transposed(**options: Any) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(4, 6, 3, **options), nn.Flatten())


class Pair(nn.Module):
    """Gives a dict of two tensors; what it gives for one sample depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(36, 6), nn.Linear(36, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        left = self.left(x.flatten(2))
        return {"left": left - left.mean(0), "right": self.right(x.flatten(2))}


class Paired(nn.Module):
    """A network of one block that gives a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        found = self.pair(x)
        return torch.cat([found["left"], found["right"]], 2).flatten(1)


KINDS: dict[str, Callable[[], nn.Module]] = {
    "transposed": transposed,
    "grouped, padded, transposed": lambda: transposed(stride=2, padding=1, output_padding=1, groups=2),
    "Conv1d": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 6, 3, padding=1), nn.Flatten()),
    "Conv3d": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv3d(2, 3, (1, 3, 3)), nn.Flatten()),
    "dict of a whole batch": Paired,
}


def built(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return KINDS[kind]().eval().requires_grad_(False)


@comparison
def layers_of_every_kind(seed: int) -> Iterator[Value]:
    """2 bits in networks of one block, before and after it learns, on the samples it learns from."""
    x, left = maps(seed), []
    for kind in KINDS:
        reference, model = built(kind, seed), built(kind, seed)
        quantize(model, 2, quantizer="dynamic", fit="range")
        before = float((model(x) - reference(x)).square().mean())
        assert reconstruct_blocks(model, reference, x, steps=100) == 1
        left.append(float((model(x) - reference(x)).square().mean()) / before)
    yield Value("error left, the mean of all kinds", fmean(left), 1)


@comparison
def attention_with_a_table(seed: int) -> Iterator[Value]:
    """2 bits in attention, before and after it learns beside its mask, its positions and its options."""
    samples, reference, model = tokens(seed), reader(seed), reader(seed)
    quantize(model, 2, quantizer="dynamic", fit="mse", skip=["embed", "head", "unused"])

    def apart() -> float:
        return float((model(**samples).hidden[0] - reference(**samples).hidden[0]).square().mean())

    before = apart()
    assert reconstruct_blocks(model, reference, samples, steps=100) == 1
    yield Value("error left", apart() / before, 1)
