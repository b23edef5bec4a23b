"""Output objects, as transformers' models return them, through evaluation, training and quantization."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

import pithnet as pn
from pithnet.learn.losses import Objective

from .networks import Classifier, ModelOutput, images


def output_object(features: Tensor, logits: Tensor) -> Any:
    return ModelOutput(logits=logits, hidden_states=(features,))


def test_quantized_activations_keep_the_class_and_the_arguments_name() -> None:
    torch.manual_seed(0)
    plain, x = Classifier().eval(), images()
    model = copy.deepcopy(plain)
    model.answer = output_object
    pn.quantize(model, 8, activations=8, calibrate=x, fit="range")
    pn.quantize(plain, 8, activations=8, calibrate=x, fit="range")
    found = model(pixel_values=x)
    assert isinstance(found, ModelOutput)
    # The last linear layer's sums are the answer, in an object as without one: no quantizer follows them.
    assert torch.equal(found.logits, plain(x))
    assert list(model.activation_quantizers) == list(plain.activation_quantizers)


def test_evaluation_and_loss_find_the_logits() -> None:
    torch.manual_seed(0)
    plain, x = Classifier().eval(), images(12)
    model, y = copy.deepcopy(plain), torch.arange(12) % 5
    model.answer = output_object
    batches = [{"pixel_values": x, "labels": y}]
    assert str(pn.evaluate(model, batches)) == str(pn.evaluate(plain, batches))
    assert torch.equal(Objective()(model(x), y, None), Objective()(plain(x), y, None))
