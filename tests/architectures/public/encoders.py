"""BERT, DistilBERT and T5 by Hugging Face's names: keyword arguments, masks, named outputs, ties."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .outputs import ModelOutput

WIDTH, HEADS, WORDS = 32, 4, 60


def split(x: Tensor) -> Tensor:
    """(B, N, D) -> (B, heads, N, D / heads)."""
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """(B, heads, N, D / heads) -> (B, N, D)."""
    return x.transpose(1, 2).flatten(2)


class BertEmbeddings(nn.Module):
    def __init__(self, types: bool = True) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.position_embeddings = nn.Embedding(16, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH) if types else None
        self.LayerNorm, self.dropout = nn.LayerNorm(WIDTH, eps=1e-12), nn.Dropout(0.1)
        self.register_buffer("position_ids", torch.arange(16)[None], persistent=False)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        x = self.word_embeddings(input_ids) + self.position_embeddings(
            self.position_ids[:, : input_ids.shape[1]]
        )
        if self.token_type_embeddings is not None and token_type_ids is not None:
            x = x + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        scores = split(self.query(x)) @ split(self.key(x)).transpose(-1, -2) / (WIDTH / HEADS) ** 0.5
        weights = (scores + mask).softmax(-1)
        return joined(weights @ split(self.value(x))), weights


class BertOutput(nn.Module):
    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(c_in, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(hidden) + residual)


class BertLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": BertSelfAttention(), "output": BertOutput(WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, 2 * WIDTH)})
        self.output = BertOutput(2 * WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        seen, weights = self.attention["self"](x, mask)
        x = self.attention["output"](seen, x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x), weights


class BertModel(nn.Module):
    def __init__(self, types: bool = True) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(types)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer() for _ in range(2))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH)})

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None
    ) -> ModelOutput:
        mask = (1 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        x, attentions = self.embeddings(input_ids, token_type_ids), []
        for layer in self.encoder["layer"]:
            x, weights = layer(x, mask)
            attentions.append(weights)
        pooled = self.pooler["dense"](x[:, 0]).tanh()
        return ModelOutput(last_hidden_state=x, pooler_output=pooled, attentions=tuple(attentions))


class BertForMaskedLM(nn.Module):
    """The decoder's weight is the embedding, its bias a parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = BertModel()
        self.transform, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.decoder, self.bias = nn.Linear(WIDTH, WORDS), nn.Parameter(torch.zeros(WORDS))
        self.decoder.weight, self.decoder.bias = self.bert.embeddings.word_embeddings.weight, self.bias

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> ModelOutput:
        out = self.bert(input_ids, attention_mask, token_type_ids)
        logits = self.decoder(self.norm(F.gelu(self.transform(out.last_hidden_state))))
        return ModelOutput(logits=logits, attentions=out.attentions)


class DistilBertForSequenceClassification(nn.Module):
    """No token types; the loss comes first where labels are given."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.distilbert = BertModel(types=False)
        self.pre_classifier, self.classifier = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> ModelOutput:
        hidden = self.distilbert(input_ids, attention_mask, None).last_hidden_state[:, 0]
        logits = self.classifier(F.relu(self.pre_classifier(hidden)))
        return ModelOutput(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)


class T5LayerNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


class T5Attention(nn.Module):
    def __init__(self, biased: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.relative_attention_bias = nn.Embedding(8, HEADS) if biased else None

    def forward(self, x: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        weights = (split(self.q(x)) @ split(self.k(keys)).transpose(-1, -2) + bias).softmax(-1)
        return self.o(joined(weights @ split(self.v(keys))))

    def position_bias(self, n: int, causal: bool) -> Tensor:
        assert self.relative_attention_bias is not None
        at = torch.arange(n)
        bias = self.relative_attention_bias((at[None] - at[:, None]).clamp(-4, 3) + 4).permute(2, 0, 1)
        return bias + torch.full((n, n), float("-inf")).triu(1) if causal else bias


class T5Block(nn.Module):
    def __init__(self, decoder: bool, first: bool) -> None:
        super().__init__()
        self.self_attention, self.norm1 = T5Attention(first), T5LayerNorm()
        self.cross_attention = T5Attention(False) if decoder else None
        self.norm2 = T5LayerNorm() if decoder else None
        self.wi_0, self.wi_1 = (nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
        self.wo, self.norm3 = nn.Linear(2 * WIDTH, WIDTH, bias=False), T5LayerNorm()

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None) -> Tensor:
        seen = self.norm1(x)
        x = x + self.self_attention(seen, seen, bias)
        if self.cross_attention is not None and self.norm2 is not None:
            x = x + self.cross_attention(self.norm2(x), memory, torch.zeros(()))
        seen = self.norm3(x)
        return x + self.wo(F.gelu(self.wi_0(seen), approximate="tanh") * self.wi_1(seen))


class T5Stack(nn.Module):
    def __init__(self, embed_tokens: nn.Embedding, decoder: bool) -> None:
        super().__init__()
        self.embed_tokens, self.is_decoder = embed_tokens, decoder
        self.block = nn.ModuleList(T5Block(decoder, first=i == 0) for i in range(2))
        self.final_layer_norm = T5LayerNorm()

    def forward(self, input_ids: Tensor, memory: Tensor | None = None) -> Tensor:
        x = self.embed_tokens(input_ids)
        # The first block's bias is everybody's.
        bias = self.block[0].self_attention.position_bias(x.shape[1], self.is_decoder)
        for block in self.block:
            x = block(x, bias, memory)
        return self.final_layer_norm(x)


class T5ForConditionalGeneration(nn.Module):
    """One embedding module under three names; the head is tied to it and scales its input."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(WORDS, WIDTH)
        self.encoder, self.decoder = T5Stack(self.shared, False), T5Stack(self.shared, True)
        self.lm_head = nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.shared.weight

    def forward(self, input_ids: Tensor, decoder_input_ids: Tensor) -> ModelOutput:
        memory = self.encoder(input_ids)
        logits = self.lm_head(self.decoder(decoder_input_ids, memory) * WIDTH**-0.5)
        return ModelOutput(logits=logits, encoder_last_hidden_state=memory)


class T5EncoderModel(nn.Module):
    """The encoder alone, for embeddings of sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(WORDS, WIDTH)
        self.encoder = T5Stack(self.shared, False)

    def forward(self, input_ids: Tensor) -> ModelOutput:
        return ModelOutput(last_hidden_state=self.encoder(input_ids))
