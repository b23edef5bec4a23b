"""Small networks, each with one way in which channels go together, and the zoo at small widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pithnet as pn


def conv(c_in: int, c_out: int, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1, **more)


class Toy(nn.Module):
    """Named layers, and what forward does with them."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.steps = forward

    def forward(self, x: Tensor) -> Any:
        return self.steps(self, x)


def ending(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def concat() -> nn.Module:
    return Toy(
        lambda m, x: m.out(ending(m.c(torch.cat([F.relu(m.a(x)), m.b(x)], 1)))),
        a=conv(3, 4), b=conv(3, 6), c=conv(10, 4), out=nn.Linear(4, 5),
    )  # fmt: skip


def dense_block() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        for layer in (m.a, m.b, m.c):
            x = torch.cat([x, layer(x)], 1)
        return m.out(ending(m.norm(x)))

    layers = {"a": conv(3, 4), "b": conv(7, 4), "c": conv(11, 4), "norm": nn.BatchNorm2d(15)}
    return Toy(forward, **layers, out=nn.Linear(15, 5))


def split_and_shuffle() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        left, right = m.a(x).chunk(2, 1)
        x = torch.cat([left, F.relu(m.b(right))], 1)
        n, c, h, w = x.size(0), x.size(1), x.size(2), x.size(3)
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, -1, h, w)
        return m.out(ending(m.c(m.shuffle(x))))

    layers = {"a": conv(3, 8), "b": conv(4, 4), "shuffle": nn.ChannelShuffle(4), "c": conv(8, 4)}
    return Toy(forward, **layers, out=nn.Linear(4, 5))


def squeeze_and_excitation() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.norm(m.a(x))
        gate = torch.sigmoid(m.up(F.silu(m.down(x.mean((2, 3), keepdim=True)))))
        return m.out(ending(m.b(x * gate)))

    layers = {"a": conv(3, 8), "norm": nn.BatchNorm2d(8), "down": nn.Conv2d(8, 4, 1)}
    return Toy(forward, **layers, up=nn.Conv2d(4, 8, 1), b=conv(8, 6), out=nn.Linear(6, 5))


def grouped_and_group_norm() -> nn.Module:
    return nn.Sequential(
        conv(3, 12), nn.GroupNorm(6, 12), nn.PReLU(12), conv(12, 16, groups=2), nn.GELU(), conv(16, 4),
        nn.Flatten(), nn.Linear(4 * 64, 5),
    )  # fmt: skip


def flatten_then_linear() -> nn.Module:
    return nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 12),
        nn.BatchNorm1d(12), nn.Dropout(), nn.Linear(12, 5),
    )  # fmt: skip


def view_then_linear() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.out(x.view(x.size(0), -1) + m.b(x).view(x.shape[0], -1))

    return Toy(forward, a=conv(3, 6), b=conv(6, 6), out=nn.Linear(6 * 64, 5))


class BuiltInSizes(nn.Module):
    """Numbers of channels in the code of forward: amounts of padding, sizes of views, of parts."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 6), nn.Conv2d(6, 10, 3, 2, 1)
        self.c, self.d, self.out = conv(5, 6), conv(5, 6), nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = F.relu(self.b(x)) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        left, middle, right = torch.split(y, [2, 3, 5], 1)
        x = self.c(torch.cat([middle, left], 1)) + self.d(right)
        one, two = x.view(-1, 2, 3, 4, 4).reshape((-1, 6, 4, 4)).split(3, dim=1)
        return self.out((one + two).reshape(-1, 3 * 4 * 4))


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), conv(8, 16, groups=8), nn.ReLU(),
        conv(16, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(
        conv(3, 8), nn.ConvTranspose2d(8, 12, 2, 2, groups=2), nn.InstanceNorm2d(12, affine=True), nn.ReLU(),
        nn.ConvTranspose2d(12, 12, 3, groups=12), nn.ConvTranspose2d(12, 4, 3, bias=False), nn.Tanh(),
        nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), conv(4, 2),
    )  # fmt: skip


def shortcut_by_padding() -> nn.Module:
    return pn.zoo.build("resnet20", classes=5)


def called_twice() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.again(torch.tanh(m.again(m.a(x))))
        return m.out(ending(x)) * m.out(ending(x.flip(1))).sigmoid()

    return Toy(forward, a=conv(3, 8), again=conv(8, 8, groups=2, bias=False), out=nn.Linear(8, 5))


def pixels_to_channels() -> nn.Module:
    return nn.Sequential(conv(3, 16), nn.PixelShuffle(2), conv(4, 6), nn.PixelUnshuffle(2), conv(24, 4))


def transposed_tokens() -> nn.Module:
    """Patches as tokens, with a norm over their channels and mixing along tokens."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patches(x).flatten(2).transpose(1, 2)
        x = x + m.b(F.gelu(m.a(m.norm(x))))
        x = x + m.mix(x.permute(0, 2, 1)).permute(0, 2, 1)
        return m.out(x[:, 0])

    layers = {"patches": nn.Conv2d(3, 8, 4, 4), "norm": nn.LayerNorm(8), "a": nn.Linear(8, 16)}
    return Toy(forward, **layers, b=nn.Linear(16, 8), mix=nn.Linear(4, 4), out=nn.Linear(8, 5))


class TiedLinear(nn.Module):
    """Words in, scores of words out, by the same table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.hidden = nn.Linear(8, 8)
        self.out = nn.Linear(8, 11)
        self.out.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(self.table(words))))


class TwoInputs(nn.Module):
    """An image and a vector, which meet in a sum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 6), nn.Linear(4, 6)
        self.out = nn.Linear(6, 5)

    def forward(self, image: Tensor, vector: Tensor) -> dict[str, Tensor]:
        return {"scores": self.out(ending(self.a(image) + self.b(vector)[:, :, None, None]))}


def unknown_operation() -> nn.Module:
    return Toy(
        lambda m, x: m.out(ending(m.c(torch.fft.fft2(m.b(F.relu(m.a(x)))).real))),
        a=conv(3, 4), b=conv(4, 6), c=conv(6, 4), out=nn.Linear(4, 5),
    )  # fmt: skip


TOYS: dict[str, Callable[[], nn.Module]] = {
    made.__name__: made
    for made in (
        concat, dense_block, split_and_shuffle, squeeze_and_excitation, grouped_and_group_norm,
        flatten_then_linear, view_then_linear, BuiltInSizes, depthwise, transposed,
        shortcut_by_padding, called_twice, pixels_to_channels, transposed_tokens,
        TiedLinear, TwoInputs, unknown_operation,
    )
}  # fmt: skip
ZOO: dict[str, dict[str, Any]] = {
    **{name: {"scale": 1 / 8} for name in pn.zoo.ARCHITECTURES if name != "vgg16-imagenet"},
    "vgg16-imagenet": {"width": 2, "hidden": 8, "classes": 5},
}
NAMES = [*TOYS, *ZOO]


def built(name: str) -> tuple[nn.Module, Any]:
    """A network in float64 with statistics of its own in its norms, in eval mode, and an example."""
    torch.manual_seed(0)
    model = TOYS[name]() if name in TOYS else pn.zoo.build(name, **ZOO[name])
    model.double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.5)
    return model, example(name)


def example(name: str) -> Any:
    if name == "TiedLinear":
        return torch.arange(6).view(2, 3)
    if name == "TwoInputs":
        return {"vector": torch.randn(2, 4).double(), "image": torch.randn(2, 3, 8, 8).double()}
    shape = pn.zoo.input_shape(name) if name in ZOO else (3, 8, 8)
    return torch.randn(2, *(min(size, 64) if name != "vgg16-imagenet" else size for size in shape)).double()


def outputs(model: nn.Module, inputs: Any) -> Tensor:
    """The output of a network that gives one tensor, whatever it stands in."""
    value = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return value["scores"] if isinstance(value, dict) else value
