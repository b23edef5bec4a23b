"""Networks that are none of the zoo, one for each thing that a network may do, and one that does it all."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE, TOKENS = (1, 8, 8), (6,)


class Tied(nn.Module):
    """Tokens; the output layer has the embedding's weight, and a parameter of the root is it too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 12, padding_idx=0)
        self.mix = nn.Linear(12, 12)
        self.head = nn.Linear(12, 10)
        self.head.weight = self.embed.weight
        self.table = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.mix(self.embed(x).mean(1)).relu()
        return self.head(hidden) + (hidden * self.table.mean(0)).sum(1, keepdim=True)


class Frozen(nn.Module):
    """Images; the first layer and one BN do not train."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)
        for p in (*self.stem.parameters(), *self.norm.parameters()):
            p.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(x)).relu().mean((2, 3)))


class Buffered(nn.Module):
    """Images; integer, bool and float buffers, one outside the state_dict; parameters in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("permutation", torch.arange(63, -1, -1))
        self.register_buffer("where", torch.arange(64) % 3 > 0)
        self.register_buffer("mean", torch.tensor(0.1))
        self.register_buffer("window", torch.hann_window(64), persistent=False)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.position = nn.Parameter(torch.randn(1, 64) * 0.1)
        self.matrices = nn.ParameterList([torch.randn(16, 16) * 0.2])
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = (x.flatten(1)[:, self.permutation] - self.mean) * self.scale * self.where * self.window
        return self.head((self.body(x + self.position) @ self.matrices[0]).relu())


class Twice(nn.Module):
    """Images; one block in two places, with its BN."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.stem, self.first, self.second, self.head = nn.Conv2d(1, 8, 3), block, block, nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.stem(x))).mean((2, 3)))


class Convolutions(nn.Module):
    """Images; grouped, depthwise and transposed convolutions, and normalisations of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(1),
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8, affine=False),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, groups=4),
            nn.BatchNorm2d(16, track_running_stats=False),
            nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.GroupNorm(4, 16),
            nn.ConvTranspose2d(16, 8, 3, stride=2, groups=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        )
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean((2, 3)) + self.layers(x).amax((2, 3)))


class Block(nn.Module):
    """A transformer block of linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(2, (2, -1)).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Tokens; learned positions, two blocks, the head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.position = nn.Embedding(10, 16), nn.Parameter(torch.randn(6, 16) * 0.1)
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.head = nn.Linear(16, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x) + self.position).mean(1))


class Encoder(nn.Module):
    """Tokens; torch's own encoder layers, with their fast path in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)).mean(1))


class Everything(nn.Module):
    """Images and their signs as tokens: tied, frozen, buffered, twice, grouped, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.buffered, self.twice, self.convolutions = Buffered(), Twice(), Convolutions()
        self.frozen, self.tied, self.attention = Frozen(), Tied(), Encoder()

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1)[:, :6].gt(0).long() + 1
        images = self.buffered(x) + self.twice(x) + self.convolutions(x) + self.frozen(x)
        return images + self.tied(tokens) + self.attention(tokens)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    cls.__name__.lower(): cls
    for cls in (Tied, Frozen, Buffered, Twice, Convolutions, Transformer, Encoder, Everything)
}


def build(name: str, seed: int = 0) -> nn.Module:
    """A network of NETWORKS whose normalisation layers have seen data."""
    torch.manual_seed(seed)
    model = NETWORKS[name]().train()
    with torch.no_grad():
        for _ in range(3):
            model(inputs(name, 32))
    return model.eval()


def inputs(name: str, n: int = 16, seed: int = 0) -> Tensor:
    """Float32 (n, 1, 8, 8) images, or int64 (n, 6) tokens, as the network takes."""
    g = torch.Generator().manual_seed(seed)
    if name in ("tied", "transformer", "encoder"):
        return torch.randint(0, 10, (n, *TOKENS), generator=g)
    return torch.randn(n, *IMAGE, generator=g)


def train_(model: nn.Module, x: Tensor, steps: int, lr: float = 0.05) -> None:
    """In place: an ordinary loop that knows nothing of compression."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=lr, momentum=0.9)
    y = torch.arange(len(x)) % 10
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()


def numbers(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state_dict."""
    return {key: value.clone() for key, value in model.state_dict().items()}
