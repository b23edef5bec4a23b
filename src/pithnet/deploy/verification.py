"""The check whether an exported file answers as the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pithnet.deploy.reading import read_proto
from pithnet.deploy.runtimes import OnnxSession
from pithnet.deploy.signature import Call, call_of, cast, main_output, named_tensors
from pithnet.errors import DataError, ModelError
from pithnet.surgery import evaluating, unwrapped

_ROUNDING = 1.001  # a step is a difference of two products, each rounded
_PLACES = {3: "positions", 4: "pixels", 5: "voxels"}


@dataclass(frozen=True)
class Agreement:
    """How near an output of a file is to the model's; `print` says it in a line.

    Where a sum falls in the middle between two integers, the last bit of a float decides which way it is
    rounded: about one activation in a million differs in each layer, and later layers carry it on.

    Attributes:
        output: Its name.
        max_difference: The largest difference of a number.
        relative_error: The difference's Euclidean norm over that of the model's numbers.
        step: The step of the file's quantized numbers; where they are float, a 255th of the range of the
            model's.
        within_a_step: The share of numbers that differ by no more than a step.
        what: What was compared: the "images" or "samples" of (B, C); the pixels of (B, C, H, W), voxels or
            positions, with the class on the second axis; the tokens of (B, L, C), with the class on the last
            axis. Integers are compared one by one, as "numbers".
        same: How many of them have their largest number in the same place; None where nothing is a class, for
            (B,) and (B, 1), and for all outputs but the answer.
        n: How many of them there are.
        others: The other outputs.
    """

    output: str
    max_difference: float
    relative_error: float
    step: float
    within_a_step: float
    what: str
    same: int | None
    n: int
    others: tuple[Agreement, ...] = ()

    def __str__(self) -> str:
        said = f"largest difference {self.max_difference:.3g}, relative error {self.relative_error:.2g}"
        if self.same is not None:
            compared = "equal" if self.what == "numbers" else "same class"
            said += f"; {compared} for {self.same:,} of {self.n:,} {self.what}"
        return "; ".join([said, *(f"{o.output}: relative error {o.relative_error:.2g}" for o in self.others)])


@torch.no_grad()
def agreement(path: str | Path, model: nn.Module, batches: Iterable[Any]) -> Agreement:
    """Runs an ONNX file and a model in eval mode on the same batches and compares all their outputs.

    Args:
        path: The file.
        model: The model.
        batches: Inputs as the model is called with them: tensors (B, ...), tuples of arguments or dicts.
            Floating-point tensors are cast to the model's dtype for the model and to float32 for the file.

    Returns:
        The agreement of the answer, the output "logits" or else the first one, with the `others` in it.

    Raises:
        DataError: There is no batch.
        ModelError: The file does not run or has other outputs.
    """
    session, model = OnnxSession(path, threads=torch.get_num_threads()), unwrapped(model)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    main, seen = "", dict[str, _Seen]()
    for inputs in batches:
        given = call_of(model, inputs)
        call = cast(given, dtype).map(lambda t: t.to(device))
        with evaluating(model):
            output = model(*call.args, **call.kwargs)
        main, expected = main_output(output), named_tensors(output)
        found = session.answers(
            *session.arrays(given.tensors, dict(zip(given.names, given.tensors, strict=True)))
        )
        if len(found) != len(expected):
            raise ModelError(f"{path} gives {', '.join(session.outputs)}, the model {', '.join(expected)}")
        for (name, ours), theirs in zip(expected.items(), found, strict=True):
            seen.setdefault(name, _Seen(name)).add(ours, theirs, call if name == main else None)
    if not seen:
        raise DataError("there is no batch to compare on; give at least one")
    steps = dict(zip(seen, _output_steps(path), strict=True))
    totals = {name: part.total(steps[name]) for name, part in seen.items()}
    answer = totals.pop(main)
    return Agreement(**(vars(answer) | {"others": tuple(totals.values())}))


@dataclass
class _Seen:
    """An output of all batches so far."""

    name: str
    expected: list[NDArray[Any]] = field(default_factory=list)
    differences: list[NDArray[Any]] = field(default_factory=list)
    what: str = "numbers"
    same: int | None = None
    n: int = 0

    def add(self, ours: Tensor, theirs: NDArray[Any], call: Call | None) -> None:
        """Takes in a batch; `call` is what was asked, where the output is the answer and may hold classes."""
        if tuple(ours.shape) != theirs.shape:
            raise ModelError(
                f"{self.name}: the model gives {tuple(ours.shape)} and the file {theirs.shape}; export the "
                "model again with an example of these lengths"
            )
        exact = ours.detach().double().cpu().numpy()
        found = theirs.astype(np.float64)
        self.expected.append(exact.ravel())
        with np.errstate(invalid="ignore"):  # both minus infinity, as masked logits are, is no difference
            self.differences.append(np.where(exact == found, 0, np.abs(exact - found)).ravel())
        if not ours.is_floating_point():
            self._count("numbers", exact == found)
            return
        what, axis = ("numbers", None) if call is None else _classes(exact.shape, call)
        if axis is None:
            self.n += exact.size
        else:
            self._count(what, exact.argmax(axis) == found.argmax(axis))

    def _count(self, what: str, same: NDArray[Any]) -> None:
        self.what, self.n = what, self.n + same.size
        self.same = (self.same or 0) + int(same.sum())

    def total(self, step: float | None) -> Agreement:
        expected, difference = np.concatenate(self.expected), np.concatenate(self.differences)
        finite = expected[np.isfinite(expected)]
        step = step or (float(np.ptp(finite)) / 255 if finite.size else 0.0)
        error, norm = float(np.linalg.norm(difference)), float(np.linalg.norm(finite))
        return Agreement(
            output=self.name,
            max_difference=float(difference.max(initial=0)),
            relative_error=error / norm if norm else (np.inf if error else 0.0),
            step=step,
            within_a_step=float((difference <= _ROUNDING * step).mean()) if difference.size else 1.0,
            what=self.what,
            same=self.same,
            n=self.n,
        )


def _classes(shape: tuple[int, ...], call: Call) -> tuple[str, int | None]:
    """Returns what an output of this shape has classes of, and their axis, None where it has none."""
    asked = next(t for t in call.tensors if t.ndim)
    if len(shape) < 2 or shape[0] != call.batch or len(shape) > 5:
        return "numbers", None
    axis, what = 1, _PLACES.get(len(shape), "images" if asked.ndim == 4 else "samples")
    tokens = not asked.is_floating_point() and asked.ndim == 2
    steps = asked.ndim == 3 and asked.shape[2] != shape[-1]
    if len(shape) == 3 and (tokens or steps) and asked.shape[1] == shape[1]:
        axis, what = 2, "tokens"
    return (what, axis) if shape[axis] > 1 else ("numbers", None)


def _output_steps(path: str | Path) -> list[float | None]:
    """Returns the scale of the quantizer that makes each output of a file; None where none does."""
    graph = read_proto(path).graph
    made_by = {out: node for node in graph.node for out in node.output}
    stored = {i.name: i for i in graph.initializer}
    makers = [made_by.get(output.name) for output in graph.output]
    return [
        float(onnx.numpy_helper.to_array(stored[node.input[1]]))
        if node is not None and node.op_type == "DequantizeLinear" and node.input[1] in stored
        else None
        for node in makers
    ]
