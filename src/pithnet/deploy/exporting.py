"""A model as an ONNX file."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from pithnet.atomic import write_atomic
from pithnet.deploy.biases import store_int32_biases
from pithnet.deploy.naming import clean
from pithnet.deploy.signature import Call, call_of, cast, named_tensors
from pithnet.errors import ModelError
from pithnet.surgery import release_all, unwrapped

OPSET = 20


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was written; `print` says what it takes and gives.

    Attributes:
        path: Where it is.
        bytes: Its size.
        inputs: The names of the inputs.
        outputs: The names of the outputs.
        batch: How many samples a batch has, None where it may have any number.
        cast: The dtype of the model's weights where it is not the file's float32, such as "float16".
    """

    path: Path
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int | None = None
    cast: str | None = None

    def lines(self) -> list[str]:
        """Returns what someone who runs the file has to know beside its size, line by line."""
        said = []
        if self.cast:
            said.append(f"the model's {self.cast} weights were cast to float32, and so are its inputs")
        if self.batch is not None:
            said.append(f"batches have to be of {self.batch}: forward makes a constant of the batch's size")
        return said

    def __str__(self) -> str:
        names = f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"
        return "\n".join([f"{self.path}: {self.bytes:,} bytes, {names}", *self.lines()])


def export_onnx(
    model: nn.Module, example: Any, path: str | Path, facts: Mapping[str, str] | None = None
) -> OnnxFile:
    """Writes `model` in eval mode as an ONNX file with float32 numbers, and leaves the model as it is.

    The batch may have any size where forward allows it; BatchNorm after a convolution is folded into it.
    Parametrized weights are made plain first. Weights and inputs of float16, bfloat16 and float64 are cast to
    float32, and the result says so. Integer inputs, such as tokens, keep their dtype. A single tensor is the
    input "input" and the output "logits"; several inputs are named as forward's arguments or the dict's keys,
    several outputs by their keys or attributes, or output_0, output_1.

    Args:
        model: The network.
        example: Inputs as the model is called with them: a tensor (B, ...), a tuple of arguments or a dict of
            them; what is no tensor, such as None, is a constant of the file. All other axes than the first
            have the example's lengths. A tuple of lengths, (C, H, W) say, stands for one float32 tensor.
        path: The file to write.
        facts: Names and values for the file's metadata.

    Raises:
        ModelError: The model is not exportable; the message says the cause.
        DataError: The example has no tensor.
        PithError: The file cannot be written.
    """
    plain, was = float32_copy(model)
    proto, batch = to_proto(plain, example)
    onnx.helper.set_model_props(proto, dict(facts or {}))
    data = proto.SerializeToString()
    write_atomic(Path(path), data)
    inputs, outputs = (tuple(v.name for v in values) for values in (proto.graph.input, proto.graph.output))
    return OnnxFile(Path(path), len(data), inputs, outputs, batch, was)


def float32_copy(model: nn.Module) -> tuple[nn.Module, str | None]:
    """Returns a copy of plain float32 tensors in eval mode on the CPU, and the dtypes that were cast.

    The second is None where none was.
    """
    plain = copy.deepcopy(unwrapped(model)).eval().cpu()
    release_all(plain)
    held = {t.dtype for t in (*plain.parameters(), *plain.buffers()) if t.is_floating_point()}
    names = sorted(str(dtype).removeprefix("torch.") for dtype in held - {torch.float32})
    return plain.float().requires_grad_(False), " and ".join(names) or None


def to_proto(model: nn.Module, example: Any) -> tuple[onnx.ModelProto, int | None]:
    """Returns the ONNX graph of a model, and its batch size, None where it may be any.

    Args:
        model: Plain float32 tensors; its `forward` gives a flat tuple of tensors afterwards.
        example: Inputs as the model is called with them.

    Raises:
        ModelError: The model is not exportable; the message says the cause.
    """
    is_shape = isinstance(example, tuple) and bool(example) and all(isinstance(n, int) for n in example)
    # A batch of one would be taken for a constant.
    given = torch.zeros(2, *example) if is_shape else example
    call = cast(call_of(model, given), torch.float32)
    outputs = _flatten_(model, call)
    try:
        proto, batch = _converted(model, _of_two(call), outputs, dynamic=True), None
    except Exception as e:
        try:
            batch = 1 if is_shape else call.batch
            # Copies: the first attempt leaves its marks on the tensors.
            fixed = call.map(lambda t: (t[:batch] if is_shape else t).clone())
            proto = _converted(model, fixed, outputs, dynamic=False)
        except Exception:
            hint = "; give an example input in place of a shape" if is_shape else ""
            raise ModelError(
                f"{type(model).__name__} cannot be exported to ONNX: {_cause(e)}{hint}"
            ) from None
    clean(proto)
    store_int32_biases(proto)
    return proto, batch


def _flatten_(model: nn.Module, call: Call) -> list[str]:
    """Makes forward a function of tensors that gives a tuple of them, in place; returns the outputs' names.

    The exporter takes no other classes; on a wrapper around the model every name would have a prefix.
    """
    forward = model.forward
    outputs: list[str] = []
    if model._forward_hooks or model._forward_pre_hooks:
        raise ModelError(
            f"{type(model).__name__} has hooks on its own forward, which a file cannot hold; remove them, or "
            "put the model into nn.Sequential(model)"
        )

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        args, kwargs = call.with_tensors(iter(tensors))
        found = named_tensors(forward(*args, **kwargs))
        outputs[:] = found
        return tuple(found.values())

    model.forward = flat
    return outputs


def _of_two(call: Call) -> Call:
    """Returns a call of one sample doubled, because the exporter takes a length of one for a constant."""
    if call.batch != 1:
        return call
    return call.map(lambda t: torch.cat([t, t]) if t.ndim and len(t) == 1 else t)


def _converted(model: nn.Module, call: Call, outputs: list[str], dynamic: bool) -> onnx.ModelProto:
    any_size = {0: torch.export.Dim.DYNAMIC}
    axes = tuple(any_size if t.ndim and len(t) == call.batch else None for t in call.tensors)
    with _silent():
        program = torch.export.export(
            model, call.tensors, dynamic_shapes=(axes,) if dynamic else None, strict=False
        )
        converted = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(call.names),
            output_names=outputs,
            optimize=True,
            verbose=False,
        )
    assert converted is not None
    proto: onnx.ModelProto = converted.model_proto
    return proto


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps the exporter quiet: it speaks of its own dependencies and draws graphs on stderr.

    Our error names the cause.
    """
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _cause(error: BaseException) -> str:
    """Returns the first sentence of the error at the bottom of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first: Any = lines[0] if lines else type(error).__name__
    return str(first)[:200]
