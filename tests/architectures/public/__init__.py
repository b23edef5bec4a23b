"""Twenty networks of ten families, built as public repositories build them: names, arguments and outputs.

None is wider than 64, and none needs more than torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.learn import call
from pithnet.learn.batch import tensors

from . import convolutional, decoders, encoders, recurrent, vision


@dataclass(frozen=True)
class Public:
    """family: one of ten. inputs: what the network is called with, from a generator (see `learn.call`)."""

    family: str
    build: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Any]


def images(g: torch.Generator) -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=g)


def tokens(g: torch.Generator) -> Tensor:
    return torch.randint(1, encoders.WORDS, (4, 8), generator=g)


def masked(g: torch.Generator) -> dict[str, Tensor]:
    lengths = torch.tensor([8, 5, 8, 3])
    return {"input_ids": tokens(g), "attention_mask": (torch.arange(8) < lengths[:, None]).long()}


def typed(g: torch.Generator) -> dict[str, Tensor]:
    return {**masked(g), "token_type_ids": (torch.arange(8) > 3).long().expand(4, 8)}


def ids(g: torch.Generator) -> dict[str, Tensor]:
    return {"input_ids": tokens(g)}


def both(g: torch.Generator) -> dict[str, Tensor]:
    return {"input_ids": tokens(g), "decoder_input_ids": tokens(g)[:, :5]}


def noisy(g: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(4, 4, 8, 8, generator=g), torch.tensor([1.0, 10.0, 100.0, 999.0])


def llama() -> nn.Module:
    return decoders.CausalLM([decoders.LlamaMLP(), decoders.LlamaMLP()])


def gemma() -> nn.Module:
    return decoders.CausalLM([decoders.LlamaMLP(), decoders.LlamaMLP()], tied=True, offset=1.0)


def mixtral() -> nn.Module:
    return decoders.CausalLM([decoders.MixtralExperts(), decoders.MixtralExperts()])


def switch() -> nn.Module:
    return decoders.CausalLM([decoders.LlamaMLP(), decoders.SwitchFeedForward()])


MODELS: dict[str, Public] = {
    "resnext": Public("CNN", convolutional.ResNeXt, images),
    "mobilenetv3": Public("CNN", convolutional.MobileNetV3, images),
    "densenet": Public("CNN", convolutional.DenseNet, images),
    "vit": Public("ViT", vision.VisionTransformer, images),
    "deit": Public("ViT", vision.DistilledVisionTransformer, lambda g: {"pixel_values": images(g)}),
    "bert": Public("BERT", encoders.BertForMaskedLM, typed),
    "distilbert": Public("BERT", encoders.DistilBertForSequenceClassification, masked),
    "gpt2": Public("GPT-2", decoders.GPT2LMHeadModel, ids),
    "gpt2-classifier": Public("GPT-2", decoders.GPT2ForSequenceClassification, ids),
    "llama": Public("Llama", llama, ids),
    "gemma": Public("Llama", gemma, ids),
    "t5": Public("T5", encoders.T5ForConditionalGeneration, both),
    "t5-encoder": Public("T5", encoders.T5EncoderModel, ids),
    "mixtral": Public("mixture of experts", mixtral, ids),
    "switch": Public("mixture of experts", switch, ids),
    "unet": Public("U-Net", vision.UNet, images),
    "diffusion": Public("U-Net", vision.DiffusionUNet, noisy),
    "lstm": Public("LSTM", recurrent.RNNModel, tokens),
    "gru": Public("LSTM", recurrent.Tagger, lambda g: (tokens(g), torch.tensor([8, 5, 7, 3]))),
    "retinanet": Public("detection", vision.RetinaNet, images),
}


def built(name: str, seed: int) -> nn.Module:
    """A network in eval mode with seeded weights, its BatchNorms as after a training."""
    torch.manual_seed(seed)
    model = MODELS[name].build()
    for bn in model.modules():
        if isinstance(bn, nn.BatchNorm2d):
            nn.init.uniform_(bn.weight, 0.5, 1.5)
            nn.init.normal_(bn.bias, 0, 0.3)
            nn.init.normal_(bn.running_mean, 0, 0.3)
            nn.init.uniform_(bn.running_var, 0.5, 2)
    return model.eval()


def answers(name: str, model: nn.Module) -> list[Tensor]:
    """Every tensor that the network gives for its inputs."""
    inputs = MODELS[name].inputs(torch.Generator().manual_seed(7))
    with torch.no_grad():
        return list(tensors(call(model, inputs)))
