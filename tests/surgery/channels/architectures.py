"""Small copies, from plain torch, of the forms of public architectures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """One fused layer for queries, keys and values, as in ViT (timm)."""

    def __init__(self, dim: int, heads: int, fused: bool = True) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, and two blocks with layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(16), nn.LayerNorm(16), nn.LayerNorm(16)
        self.one, self.two = Attention(16, 4), Attention(16, 4, fused=False)
        self.up, self.down, self.gamma = nn.Linear(16, 24), nn.Linear(24, 16), nn.Parameter(torch.rand(16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        x = x + self.one(self.norm1(x))
        x = x + self.two(self.norm2(x))
        x = x + self.gamma * self.down(F.gelu(self.up(self.norm3(x))))
        return self.head(x[:, 0])


class CausalAttention(nn.Module):
    """As in nanoGPT: views by the shape of the input, a mask of a buffer, scores by hand."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.n_head, self.n_embd = heads, dim
        self.c_attn, self.c_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.register_buffer("bias", torch.tril(torch.ones(8, 8)).view(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        q = q.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        v = v.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (k.size(-1) ** -0.5)
        att = att.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))


class GPT(nn.Module):
    """A decoder with learned positions and tied tables."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(11, 16), nn.Embedding(8, 16)
        self.ln_1, self.ln_2, self.ln_f = nn.LayerNorm(16), nn.LayerNorm(16), nn.LayerNorm(16)
        self.attn = CausalAttention(16, 4)
        self.c_fc, self.c_proj = nn.Linear(16, 32), nn.Linear(32, 16)
        self.lm_head = nn.Linear(16, 11, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.wte(words) + self.wpe(torch.arange(words.size(1)))
        x = x + self.attn(self.ln_1(x))
        x = x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))
        return self.lm_head(self.ln_f(x))


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    one, two = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return x * cos + torch.cat([-two, one], -1) * sin


class GroupedAttention(nn.Module):
    """Keys and values for groups of heads, rotated positions, as in Llama."""

    def __init__(self, dim: int, heads: int, groups: int, form: str) -> None:
        super().__init__()
        self.heads, self.groups, self.size, self.form = heads, groups, dim // heads, form
        self.q, self.k = nn.Linear(dim, dim, bias=False), nn.Linear(dim, groups * self.size, bias=False)
        self.v, self.o = nn.Linear(dim, groups * self.size, bias=False), nn.Linear(dim, dim, bias=False)
        angles = torch.outer(torch.arange(8), 10000.0 ** -torch.arange(0, 1, 2 / self.size)).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.heads, self.size).transpose(1, 2)
        k = self.k(x).view(b, t, self.groups, self.size).transpose(1, 2)
        v = self.v(x).view(b, t, -1, self.size).transpose(1, 2)
        q, k = rotated(q, self.cos[:t], self.sin[:t]), rotated(k, self.cos[:t], self.sin[:t])
        shared = self.heads // self.groups
        if self.form == "enable_gqa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            if self.form == "repeat_interleave":
                k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
            else:
                k = k[:, :, None].expand(b, self.groups, shared, t, self.size).reshape(b, -1, t, self.size)
                v = v[:, :, None, :, :].expand(b, self.groups, shared, t, self.size).flatten(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, t, -1))


class Llama(nn.Module):
    """A block with RMS norms and a gated unit, tied tables."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.table, self.norm1, self.norm2 = nn.Embedding(11, 16), nn.RMSNorm(16), nn.RMSNorm(16)
        self.attention = GroupedAttention(16, 4, 2, form)
        self.gate, self.up = nn.Linear(16, 20, bias=False), nn.Linear(16, 20, bias=False)
        self.down, self.head = nn.Linear(20, 16, bias=False), nn.Linear(16, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.table(words)
        x = x + self.attention(self.norm1(x))
        h = self.norm2(x)
        return self.head(x + self.down(F.silu(self.gate(h)) * self.up(h)))


class EinsumAttention(nn.Module):
    """Heads by einsum over weights (width, heads, size), a norm for queries and keys, a bias of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.randn(12, 4, 3) / 3)
        self.k = nn.Parameter(torch.randn(12, 4, 3) / 3)
        self.v = nn.Linear(12, 12)
        self.o = nn.Parameter(torch.randn(4, 3, 12) / 3)
        self.norm = nn.LayerNorm(3)
        self.table = nn.Parameter(torch.randn(4, 6, 6))
        self.out = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        q = self.norm(torch.einsum("btm,mhd->bthd", x, self.q))
        k = self.norm(torch.einsum("btm,mhd->bthd", x, self.k))
        v = self.v(x).unflatten(-1, (4, 3))
        scores = torch.einsum("bthd,bshd->bhts", q, k) + self.table
        y = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v)
        return self.out(torch.einsum("bthd,hdm->btm", y, self.o))


class LayerNorm2d(nn.Module):
    """A norm over channels with weights that are read as tensors, as in ConvNeXt."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXt(nn.Module):
    """A block with a depthwise convolution, linear layers and layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 2, 2), LayerNorm2d(8)
        self.depthwise, self.layernorm = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.LayerNorm(8, eps=1e-6)
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)
        self.gamma = nn.Parameter(torch.rand(8))
        self.last, self.scale, self.head = (
            nn.Conv2d(8, 12, 2, 2),
            nn.Parameter(torch.rand(12, 1, 1)),
            nn.Linear(12, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        y = self.layernorm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        x = self.last(x + y.permute(0, 3, 1, 2))
        return self.head((x * self.scale).mean((-2, -1)))


class ShuffleUnit(nn.Module):
    """ShuffleNetV2: half of the channels go through, and all are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.one, self.two, self.three = (
            nn.Conv2d(8, 8, 1),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8),
            nn.Conv2d(8, 8, 1),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x)))
        left, right = x[:, : x.size(1) // 2], x[:, x.size(1) // 2 :]
        x = torch.cat((left, F.relu(self.three(self.two(self.one(right))))), dim=1)
        b, c, h, w = x.size()
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
        return self.head(x.mean([2, 3]))


class MobileUnit(nn.Module):
    """MobileNetV3: expansion, a depthwise convolution, a gate, projection, a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand, self.bn = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 24, 1), nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 5, 1, 2, groups=24)
        self.pool, self.fc1, self.fc2 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 8, 1), nn.Conv2d(8, 24, 1)
        self.project, self.head = nn.Conv2d(24, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.hardswish(self.depthwise(F.hardswish(self.bn(self.expand(x)))))
        y = y * F.hardsigmoid(self.fc2(F.relu(self.fc1(self.pool(y)))))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x + self.project(y), 1), 1))


class UNet(nn.Module):
    """Two levels, skips by concatenation, a transposed convolution and bilinear interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(3, 6, 3, 1, 1),
            nn.Conv2d(6, 12, 3, 1, 1),
            nn.Conv2d(12, 16, 3, 1, 1),
        )
        self.up, self.d = nn.ConvTranspose2d(16, 12, 2, 2), nn.Conv2d(24, 10, 3, 1, 1)
        self.e, self.out = nn.Conv2d(16, 6, 3, 1, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        c = F.relu(self.c(F.max_pool2d(b, 2)))
        d = F.relu(self.d(torch.cat([b, self.up(c)], 1)))
        d = F.interpolate(d, size=a.shape[2:], mode="bilinear", align_corners=False)
        return self.out(F.relu(self.e(torch.cat([a, d], 1))))


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b1, self.b2 = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(6, 8, 3, 1, 1)
        self.c1, self.c2, self.d = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 5, 1, 2), nn.Conv2d(3, 4, 1)
        self.bn, self.head = nn.BatchNorm2d(20), nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, 1, 1)
        parts = [self.a(x), self.b2(F.relu(self.b1(x))), self.c2(F.relu(self.c1(x))), self.d(pooled)]
        return self.head(F.relu(self.bn(torch.cat(parts, 1))).mean((2, 3)))


class Generator(nn.Module):
    """A GAN's generator: a linear layer seen as pixels, transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 12 * 16)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(12), nn.ReLU(), nn.ConvTranspose2d(12, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8),
            nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.first(z).view(-1, 12, 4, 4))


class WithLSTM(nn.Module):
    """Words through an LSTM, whose channels stay, and layers after it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.lstm = nn.Embedding(11, 8), nn.LSTM(8, 6, batch_first=True)
        self.hidden, self.out = nn.Linear(6, 12), nn.Linear(12, 5)

    def forward(self, words: Tensor) -> Tensor:
        x, _ = self.lstm(self.table(words))
        return self.out(torch.relu(self.hidden(x[:, -1])))


class WithMultihead(nn.Module):
    """torch's own attention, whose heads stay, and a gated unit after it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.attention = nn.Embedding(11, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.glu, self.out = nn.Linear(8, 24), nn.GLU(), nn.Linear(12, 5)

    def forward(self, words: Tensor) -> Tensor:
        x = self.table(words)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.out(self.glu(self.up(x)))


class Functional(nn.Module):
    """Layers as functions that are given parameters, some with groups."""

    def __init__(self) -> None:
        super().__init__()
        self.groups = 8
        self.a, self.b = nn.Parameter(torch.randn(8, 3, 3, 3) / 5), nn.Parameter(torch.randn(8, 1, 3, 3) / 3)
        self.c, self.bias = nn.Parameter(torch.randn(8, 6, 2, 2) / 5), nn.Parameter(torch.randn(6))
        self.out, self.last = nn.Parameter(torch.randn(6, 10) / 3), nn.Parameter(torch.randn(5, 10) / 3)
        self.register_buffer("mean", torch.randn(8) / 10)
        self.register_buffer("var", torch.rand(8) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.batch_norm(F.conv2d(x, self.a, padding=1), self.mean, self.var))
        x = F.conv2d(x, self.b, padding=1, groups=self.groups)
        x = F.conv_transpose2d(x, self.c, self.bias, stride=2)
        return F.linear(torch.tanh(x.mean((2, 3)) @ self.out), self.last)


class Sliced(nn.Module):
    """Channels picked by numbers in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 14, 3, 1, 1), nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 1)
        self.d, self.out = nn.Conv2d(4, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        y = self.b(x[:, :6]) + self.c(x[:, -8:]) + self.d(x.narrow(1, 6, 4))
        return self.out(y.unflatten(1, (4, 2)).flatten(1, 2).mean((2, 3)))


class OneHead(nn.Module):
    """Attention with one head, scaled by a constant; its query's and key's channels go together."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (
            nn.Linear(6, 8),
            nn.Linear(6, 8),
            nn.Linear(6, 10),
            nn.Linear(10, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(8)
        return self.out(scores.softmax(-1) @ self.v(x))


def llama(form: str) -> Callable[[], nn.Module]:
    return lambda: Llama(form)


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "ViT": VisionTransformer,
    "GPT": GPT,
    "Llama": llama("enable_gqa"),
    "Llama, repeated": llama("repeat_interleave"),
    "Llama, expanded": llama("expand"),
    "einsum": EinsumAttention,
    "one head": OneHead,
    "ConvNeXt": ConvNeXt,
    "ShuffleNetV2": ShuffleUnit,
    "MobileNetV3": MobileUnit,
    "U-Net": UNet,
    "Inception": Inception,
    "GAN": Generator,
    "LSTM": WithLSTM,
    "MultiheadAttention": WithMultihead,
    "functional": Functional,
    "sliced": Sliced,
}
_INPUTS: dict[str, Any] = {
    **dict.fromkeys(
        ("GPT", "Llama", "Llama, repeated", "Llama, expanded", "LSTM", "MultiheadAttention"),
        torch.arange(12).view(2, 6) % 11,
    ),
    "einsum": torch.linspace(-2, 2, 2 * 6 * 12).sin().view(2, 6, 12).double(),
    "one head": torch.linspace(-2, 2, 2 * 6 * 6).sin().view(2, 6, 6).double(),
    "GAN": torch.linspace(-2, 2, 12).view(2, 6).double(),
}


def architecture(name: str) -> tuple[nn.Module, Any]:
    """A network in float64 and eval mode, and an example."""
    torch.manual_seed(0)
    example = _INPUTS.get(name, torch.randn(2, 3, 8, 8).double())
    return ARCHITECTURES[name]().double().eval(), example
