"""A model as an ONNX file."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from pithnet.atomic import write_atomic
from pithnet.deploy.biases import store_int32_biases
from pithnet.deploy.naming import clean
from pithnet.errors import ModelError
from pithnet.surgery import release_all

OPSET = 20
INPUT, OUTPUT = "input", "logits"


def export_onnx(
    model: nn.Module, shape: tuple[int, ...], path: str | Path, facts: Mapping[str, str] | None = None
) -> None:
    """Writes `model` in eval mode as an ONNX file: input float32 (batch, *shape), output its logits.

    The batch may have any size; BatchNorm after a convolution is folded into it. What compresses the weights
    is made plain first. `facts`: names and values for the file's metadata.
    Raises ModelError with the cause where the model is not exportable, PithError where it cannot be written.
    """
    proto = to_proto(_plain(model), shape)
    onnx.helper.set_model_props(proto, dict(facts or {}))
    write_atomic(Path(path), proto.SerializeToString())


def to_proto(model: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The ONNX graph of a model of plain tensors. Raises ModelError as `export_onnx`."""
    # A batch of one would be taken for a constant.
    example = torch.zeros(2, *shape)
    with _silent():
        try:
            batch = {0: torch.export.Dim.DYNAMIC}
            program = torch.export.export(model.eval(), (example,), dynamic_shapes=(batch,), strict=False)
            converted = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                optimize=True,
                verbose=False,
            )
        except Exception as e:
            raise ModelError(f"{type(model).__name__} cannot be exported to ONNX: {_cause(e)}") from None
    assert converted is not None
    proto: onnx.ModelProto = converted.model_proto
    clean(proto)
    store_int32_biases(proto)
    return proto


def _plain(model: nn.Module) -> nn.Module:
    plain = copy.deepcopy(model).eval()
    release_all(plain)
    return plain.requires_grad_(False)


@contextmanager
def _silent() -> Iterator[None]:
    """The exporter speaks of its own dependencies and draws graphs on stderr; our error names the cause."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _cause(error: BaseException) -> str:
    """The first sentence of what lies at the bottom of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first: Any = lines[0] if lines else type(error).__name__
    return str(first)[:200]
