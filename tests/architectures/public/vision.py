"""Vision transformers, U-Nets and a detector, as public repositories write them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .outputs import ModelOutput


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class DropPath(nn.Module):
    """Leaves out a whole branch for some samples while training."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(0.9) / 0.9


class Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(dim), Attention(dim, 4), LayerScale(dim)
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(dim), Mlp(dim, 2 * dim), LayerScale(dim)
        self.drop_path = DropPath()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class PatchEmbed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """timm's names: cls_token and pos_embed are parameters of the root, qkv is one layer."""

    def __init__(self, dim: int = 48, classes: int = 10) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        self.patch_embed, self.norm = PatchEmbed(dim), nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.Sequential(Block(dim), Block(dim))
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class DistilledVisionTransformer(nn.Module):
    """DeiT in Hugging Face's manner: keyword arguments, two heads whose mean is the answer, named outputs."""

    def __init__(self, dim: int = 48, classes: int = 10) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"patch_embeddings": PatchEmbed(dim)})
        self.tokens = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(1, 1, dim) * 0.02) for name in ("cls", "distillation")}
        )
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, 4, 2 * dim, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.layernorm = nn.LayerNorm(dim)
        self.cls_classifier, self.distillation_classifier = nn.Linear(dim, classes), nn.Linear(dim, classes)

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = True) -> ModelOutput:
        x = self.embeddings["patch_embeddings"](pixel_values)
        x = torch.cat([*(t.expand(len(x), -1, -1) for t in self.tokens.values()), x], 1)
        hidden = [x]
        for layer in self.encoder:
            hidden.append(layer(hidden[-1]))
        x = self.layernorm(hidden[-1])
        logits = (self.cls_classifier(x[:, 0]) + self.distillation_classifier(x[:, 1])) / 2
        return ModelOutput(logits=logits, hidden_states=tuple(hidden) if output_hidden_states else None)


class DoubleConv(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class UNet(nn.Module):
    """Segmentation: pooling down, transposed convolutions up, concatenation; {"out": ..., "aux": ...}."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(3, 8), DoubleConv(8, 16), DoubleConv(16, 32)
        self.up1, self.conv1 = nn.ConvTranspose2d(32, 16, 2, 2), DoubleConv(32, 16)
        self.up2, self.conv2 = nn.ConvTranspose2d(16, 8, 2, 2), DoubleConv(16, 8)
        self.outc, self.aux = nn.Conv2d(8, classes, 1), nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.conv1(torch.cat((x2, self.up1(self.down2(F.max_pool2d(x2, 2)))), 1))
        out = {"out": self.outc(self.conv2(torch.cat((x1, self.up2(x3)), 1)))}
        if self.training:
            out["aux"] = F.interpolate(self.aux(x3), size=x.shape[2:])
        return out


class TimeBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, c_out)
        self.norm2, self.conv2 = nn.GroupNorm(4, c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class DiffusionUNet(nn.Module):
    """diffusers' way: a time step beside the image, GroupNorm, attention at the bottom, `sample` returned."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 16, 3, padding=1)
        self.time_embedding = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 64))
        self.down_blocks = nn.ModuleList([TimeBlock(16, 32, 64)])
        self.downsample = nn.Conv2d(32, 32, 3, 2, 1)
        self.mid_block, self.attention = TimeBlock(32, 32, 64), nn.MultiheadAttention(32, 4, batch_first=True)
        self.up_blocks = nn.ModuleList([TimeBlock(64, 16, 64)])
        self.conv_norm_out, self.conv_out = nn.GroupNorm(4, 16), nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor) -> ModelOutput:
        angles = timestep[:, None] * torch.exp(torch.arange(8) * (-math.log(10000.0) / 8))
        temb = self.time_embedding(torch.cat((angles.sin(), angles.cos()), 1))
        skip = self.down_blocks[0](self.conv_in(sample), temb)
        x = self.mid_block(self.downsample(skip), temb)
        seen = x.flatten(2).transpose(1, 2)
        x = x + self.attention(seen, seen, seen, need_weights=False)[0].transpose(1, 2).reshape(x.shape)
        x = self.up_blocks[0](torch.cat((F.interpolate(x, scale_factor=2.0), skip), 1), temb)
        return ModelOutput(sample=self.conv_out(F.silu(self.conv_norm_out(x))))


class FrozenBatchNorm2d(nn.Module):
    """Normalisation by numbers that do not train, all of them buffers, as detectors have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.5), ("bias", 0.1), ("running_mean", 0.2), ("running_var", 0.8)):
            self.register_buffer(name, torch.full((channels,), value) + 0.1 * torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


class RetinaNet(nn.Module):
    """Detection: a pyramid whose levels share the heads; losses in train mode, detections in eval mode."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict(
            {
                "stem": nn.Sequential(
                    nn.Conv2d(3, 16, 3, 2, 1, bias=False), FrozenBatchNorm2d(16), nn.ReLU()
                ),
                "layer1": nn.Sequential(
                    nn.Conv2d(16, 32, 3, 2, 1, bias=False), FrozenBatchNorm2d(32), nn.ReLU()
                ),
            }
        )
        self.inner_blocks = nn.ModuleList([nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 1)])
        self.conv = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.ReLU())
        self.cls_logits = nn.Conv2d(32, classes, 3, padding=1)
        self.bbox_reg = nn.Conv2d(32, 4, 3, padding=1)

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        c2 = self.backbone["stem"](images)
        p3 = self.inner_blocks[1](self.backbone["layer1"](c2))
        p2 = self.inner_blocks[0](c2) + F.interpolate(p3, size=c2.shape[2:])
        levels = [self.conv(p) for p in (p2, p3)]
        logits = torch.cat([self.cls_logits(p).flatten(2) for p in levels], 2)
        boxes = torch.cat([self.bbox_reg(p).flatten(2) for p in levels], 2)
        if self.training:
            if targets is None:
                raise ValueError("targets should be passed in training mode")
            labels = torch.stack([t["labels"] for t in targets])
            wanted = torch.stack([t["boxes"] for t in targets])
            best = logits.amax(2)
            return {
                "classification": F.cross_entropy(best, labels),
                "bbox_regression": F.l1_loss(boxes.mean(2), wanted),
            }
        scores, at = logits.sigmoid().amax(1).topk(5, 1)
        found = boxes.gather(2, at[:, None].expand(-1, 4, -1)).transpose(1, 2)
        return [{"boxes": b, "scores": s} for b, s in zip(found, scores, strict=True)]
