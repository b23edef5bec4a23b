"""Whether an exported file answers as the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from pithnet.deploy.reading import read_proto
from pithnet.deploy.runtimes import OnnxSession

_ROUNDING = 1.001  # a step is a difference of two products, each rounded


@dataclass(frozen=True)
class Agreement:
    """How near a file and a model are to each other on n images.

    The largest difference of a logit, and how many images have the same best class. step: of the file's
    quantized logits; where they are float, a 255th of their range. within_a_step: the share of logits that
    differ by no more than one.

    Where a sum falls in the middle between two integers, the last bit of a float decides which way it is
    rounded: about one activation in a million differs in each layer, and later layers carry it on.
    """

    max_difference: float
    step: float
    within_a_step: float
    same: int
    n: int


@torch.no_grad()
def agreement(path: str | Path, model: nn.Module, batches: Iterable[Tensor]) -> Agreement:
    """Runs an ONNX file and `model` (eval mode) on the same images, float32 (B, C, H, W) batches.

    Raises ModelError where the file does not run.
    """
    session = OnnxSession(path, threads=torch.get_num_threads())
    ours, theirs = [], []
    for x in batches:
        ours.append(model.eval()(x).numpy())
        theirs.append(session(x.contiguous().numpy()))
    expected, found = np.concatenate(ours), np.concatenate(theirs)
    step = _output_step(path) or float(expected.max() - expected.min()) / 255
    difference = np.abs(expected - found)
    within = float((difference <= _ROUNDING * step).mean())
    same = int((expected.argmax(1) == found.argmax(1)).sum())
    return Agreement(float(difference.max()), step, within, same, len(expected))


def _output_step(path: str | Path) -> float | None:
    """The scale of the quantizer that makes a file's output; None where nothing quantizes it."""
    graph = read_proto(path).graph
    last = next((n for n in graph.node if graph.output[0].name in n.output), None)
    if last is None or last.op_type != "DequantizeLinear":
        return None
    scale = next(i for i in graph.initializer if i.name == last.input[1])
    return float(onnx.numpy_helper.to_array(scale))
