"""GPT-2 with Conv1D, Llama with grouped queries, Gemma and mixtures of experts, by Hugging Face's names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .outputs import ModelOutput

WIDTH, HEADS, WORDS = 32, 4, 60


class Conv1D(nn.Module):
    """A linear layer whose weight is (inputs, outputs): transformers.pytorch_utils.Conv1D."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf) * 0.05), nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


Conv1D.__module__ = "transformers.pytorch_utils"


class GPT2Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_attn, self.c_proj = Conv1D(3 * WIDTH, WIDTH), Conv1D(WIDTH, WIDTH)
        self.register_buffer("bias", torch.ones(1, 1, 16, 16, dtype=torch.bool).tril(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = (t.unflatten(2, (HEADS, -1)).transpose(1, 2) for t in self.c_attn(x).split(WIDTH, 2))
        n = x.shape[1]
        scores = (q @ k.transpose(-1, -2)).masked_fill(~self.bias[:, :, :n, :n], float("-inf"))
        return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)), (k, v)


class GPT2Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(WIDTH), GPT2Attention(), nn.LayerNorm(WIDTH)
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(2 * WIDTH, WIDTH), "c_proj": Conv1D(WIDTH, 2 * WIDTH)})

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        seen, past = self.attn(self.ln_1(x))
        x = x + seen
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")), past


class GPT2Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(16, WIDTH)
        self.h = nn.ModuleList(GPT2Block() for _ in range(2))
        self.ln_f = nn.LayerNorm(WIDTH)

    def forward(self, input_ids: Tensor) -> ModelOutput:
        x, past = self.wte(input_ids) + self.wpe(torch.arange(input_ids.shape[1])), []
        for block in self.h:
            x, pair = block(x)
            past.append(pair)
        return ModelOutput(last_hidden_state=self.ln_f(x), past_key_values=tuple(past))


class GPT2LMHeadModel(nn.Module):
    """The head is tied to the embedding; keys and values come back in nested tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer, self.lm_head = GPT2Model(), nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, input_ids: Tensor) -> ModelOutput:
        out = self.transformer(input_ids)
        return ModelOutput(logits=self.lm_head(out.last_hidden_state), past_key_values=out.past_key_values)


class GPT2ForSequenceClassification(nn.Module):
    """The last token's score."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.transformer, self.score = GPT2Model(), nn.Linear(WIDTH, classes, bias=False)

    def forward(self, input_ids: Tensor) -> ModelOutput:
        return ModelOutput(logits=self.score(self.transformer(input_ids).last_hidden_state)[:, -1])


class RMSNorm(nn.Module):
    """offset: what is added to the weight, 1 in Gemma."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.full((WIDTH,), 1 - offset) + 0.1 * torch.rand(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return (self.offset + self.weight) * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


class RotaryEmbedding(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000 ** -(torch.arange(0, dim, 2) / dim), persistent=False)

    def forward(self, n: int) -> tuple[Tensor, Tensor]:
        angles = torch.arange(n)[:, None] * self.inv_freq.repeat(2)
        return angles.cos(), angles.sin()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class LlamaAttention(nn.Module):
    """Four heads of queries, two of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.k_proj, self.v_proj = (nn.Linear(WIDTH, WIDTH // 2, bias=False) for _ in range(2))

    def forward(self, x: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (
            projection(x).unflatten(2, (-1, WIDTH // HEADS)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        k, v = rotated(k, *places).repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        seen = F.scaled_dot_product_attention(rotated(q, *places), k, v, is_causal=True)
        return self.o_proj(seen.transpose(1, 2).flatten(2))


class LlamaMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class MixtralExperts(nn.Module):
    """All experts in two parameters of three dimensions, (experts, outputs, inputs)."""

    def __init__(self, experts: int = 4, top_k: int = 2) -> None:
        super().__init__()
        self.top_k = top_k
        self.gate = nn.Linear(WIDTH, experts, bias=False)
        self.experts = nn.Module()
        self.experts.gate_up_proj = nn.Parameter(torch.randn(experts, 2 * WIDTH, WIDTH) * 0.2)
        self.experts.down_proj = nn.Parameter(torch.randn(experts, WIDTH, WIDTH) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(self.top_k, -1)
        share = torch.zeros(*x.shape[:-1], len(self.gate.weight)).scatter(-1, chosen, weights)
        gate, up = torch.einsum("bnd,eod->bneo", x, self.experts.gate_up_proj).chunk(2, -1)
        out = torch.einsum("bned,eod->bneo", F.silu(gate) * up, self.experts.down_proj)
        return (out * share[..., None]).sum(2)


class SwitchFeedForward(nn.Module):
    """One expert a token, each a module of its own in a dictionary."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, experts, bias=False)
        self.experts = nn.ModuleDict({f"expert_{i}": LlamaMLP() for i in range(experts)})

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts.values()):
            at = chosen == number
            out[at] = expert(x[at]) * weight[at][:, None]
        return out


class DecoderLayer(nn.Module):
    def __init__(self, mlp: nn.Module, offset: float) -> None:
        super().__init__()
        self.self_attn, self.mlp = LlamaAttention(), mlp
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(offset), RMSNorm(offset)

    def forward(self, x: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), places)
        return x + self.mlp(self.post_attention_layernorm(x))


class CausalLM(nn.Module):
    """Llama, Gemma (tied, weights of norms around 0) or a mixture of experts, by their feed-forward parts."""

    def __init__(self, mlps: Sequence[nn.Module], tied: bool = False, offset: float = 0.0) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(WORDS, WIDTH)
        self.model.layers = nn.ModuleList(DecoderLayer(mlp, offset) for mlp in mlps)
        self.model.norm, self.model.rotary_emb = RMSNorm(offset), RotaryEmbedding(WIDTH // HEADS)
        self.lm_head = nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> ModelOutput:
        x, places = self.model.embed_tokens(input_ids), self.model.rotary_emb(input_ids.shape[1])
        for layer in self.model.layers:
            x = layer(x, places)
        return ModelOutput(logits=self.lm_head(self.model.norm(x)))
