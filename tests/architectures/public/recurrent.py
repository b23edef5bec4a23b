"""Recurrent networks: a language model that hands on its state, and a tagger of both directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WORDS, WIDTH = 60, 32


class RNNModel(nn.Module):
    """Two LSTM layers; decoder tied to encoder; returns (logits, (h, c)) and takes the state back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.drop = nn.Embedding(WORDS, WIDTH), nn.Dropout(0.2)
        self.rnn = nn.LSTM(WIDTH, WIDTH, 2, dropout=0.2, batch_first=True)
        self.decoder = nn.Linear(WIDTH, WORDS)
        self.decoder.weight = self.encoder.weight

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, state = self.rnn(self.drop(self.encoder(x)), state)
        return self.decoder(self.drop(out)), state


class Tagger(nn.Module):
    """A convolution over tokens, a GRU in both directions over packed sequences, and attention pooling."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.embedding, self.conv = nn.Embedding(WORDS, WIDTH), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.gru = nn.GRU(WIDTH, 24, batch_first=True, bidirectional=True)
        self.attention, self.fc = nn.Linear(48, 1), nn.Linear(48, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        x = self.conv(self.embedding(tokens).transpose(1, 2)).transpose(1, 2).relu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[1])
        inside = torch.arange(x.shape[1]) < lengths[:, None]
        weights = self.attention(out).squeeze(2).masked_fill(~inside, float("-inf")).softmax(1)
        return {"tags": self.fc(out), "sentence": self.fc((weights[..., None] * out).sum(1))}
