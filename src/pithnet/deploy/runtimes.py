"""Runtimes that answer a batch: ONNX Runtime, PyTorch eager, OpenVINO."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pithnet.deploy.signature import OUTPUT, main_output, named_tensors
from pithnet.errors import ModelError

Array = NDArray[Any]
# Arrays (B, ...) in, the time is what counts: what comes back is the answer's array.
Runner = Callable[..., Array]
_ERRORS_ONLY = 3
# Names of ONNX Runtime's, and numpy's.
_DTYPES = {"float": "float32", "int64": "int64", "int32": "int32", "bool": "bool"}


@dataclass(frozen=True)
class Taken:
    """An input of a network.

    Attributes:
        name: Its name.
        dtype: Its dtype.
        shape: Its shape without the batch's axis, -1 for an axis of any length.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        lengths = " x ".join("any" if n < 0 else str(n) for n in self.shape) or "single numbers"
        return f"{self.name}, {self.dtype} of {lengths}"


class OnnxSession:
    """An ONNX file in ONNX Runtime on the CPU; calling it runs a batch: arrays (B, ...) -> (B, ...).

    Its answer is the output "logits", or the first where none is called so.

    Attributes:
        inputs: What it takes, in order.
        batch: How many samples a batch has to have, None for any.

    Args:
        path: The file.
        threads: Threads within one operator.
        save_optimised: Where to write the graph after ONNX Runtime's optimisations, or None.

    Raises:
        ModelError: The file is missing or cannot be run.
    """

    def __init__(self, path: str | Path, threads: int, save_optimised: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        if save_optimised is not None:
            # Short of the hardware's memory layouts, which rename what they move.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.optimized_model_filepath = str(save_optimised)
        if not Path(path).is_file():
            raise ModelError(f"{path}: no such file")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:
            raise ModelError(f"{path} does not run in ONNX Runtime: {str(e).splitlines()[0][:200]}") from None
        inputs = self._session.get_inputs()
        self.path = path
        self.inputs = tuple(_taken(path, given) for given in inputs)
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        lengths = [given.shape[0] for given in inputs if given.shape]
        self.batch = next((n for n in lengths if isinstance(n, int)), None)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (C, H, W) of the only input, of float32 images.

        Raises:
            ModelError: The file takes something else.
        """
        if len(self.inputs) != 1 or self.inputs[0].dtype != np.float32:
            takes = "; ".join(map(str, self.inputs)) or "nothing"
            raise ModelError(f"{self.path} takes {takes}; one input of float32 images is needed")
        return self.inputs[0].shape

    def answers(self, *arrays: Array) -> list[Array]:
        """Returns all outputs.

        Args:
            *arrays: The inputs in order.

        Raises:
            ModelError: The file takes other arrays; the message says which.
        """
        feed = {i.name: a for i, a in zip(self.inputs, arrays, strict=False)}
        try:
            found: list[Array] = self._session.run(None, feed)
        except Exception:
            raise ModelError(self._mismatch(arrays)) from None
        return found

    def arrays(self, tensors: Iterable[Tensor], named: Mapping[str, Tensor]) -> list[Array]:
        """Returns tensors as arrays in the file's order and its dtypes.

        Args:
            tensors: By position, for the inputs that are not named.
            named: By the inputs' names.

        Raises:
            ModelError: An input is missing.
        """
        given, found = iter(tensors), []
        for taken in self.inputs:
            value = named[taken.name] if taken.name in named else next(given, None)
            if value is None:
                raise ModelError(
                    f"{self.path} takes {'; '.join(map(str, self.inputs))}; {taken.name} is missing"
                )
            found.append(value.detach().cpu().contiguous().numpy().astype(taken.dtype, copy=False))
        return found

    def __call__(self, *arrays: Array) -> Array:
        answer = OUTPUT if OUTPUT in self.outputs else self.outputs[0]
        return self.answers(*arrays)[self.outputs.index(answer)]

    def _mismatch(self, arrays: Sequence[Array]) -> str:
        if len(self.inputs) == len(arrays) == 1 and len(self.inputs[0].shape) == 3 and self.batch is None:
            got, takes = (" x ".join(map(str, s)) for s in (arrays[0].shape[1:], self.inputs[0].shape))
            return f"{self.path} takes images of {takes} (channels x height x width), not {got}"
        got = "; ".join(f"{a.dtype} of {' x '.join(map(str, a.shape))}" for a in arrays)
        batch = "" if self.batch is None else f" in batches of {self.batch}"
        return f"{self.path} takes {'; '.join(map(str, self.inputs))}{batch}, not {got}"


def _taken(path: str | Path, given: Any) -> Taken:
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    if kind not in _DTYPES:
        raise ModelError(
            f"{path} takes {given.name}, a {given.type}; pithnet runs files of {', '.join(_DTYPES)}"
        )
    shape = tuple(d if isinstance(d, int) else -1 for d in given.shape[1:])
    return Taken(given.name, np.dtype(_DTYPES[kind]), shape)


class OnnxNetwork(nn.Module):
    """An ONNX file as a module in eval mode on the CPU, for whatever measures modules; it cannot be trained.

    It takes tensors by position or by the inputs' names, and gives a tensor, or a dict of several by their
    names.

    Raises:
        ModelError: The file is missing or cannot be run.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._session = OnnxSession(path, threads=torch.get_num_threads())
        # What measures a module asks its first parameter where it computes.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        self.eval()

    def forward(self, *tensors: Tensor, **named: Tensor) -> Any:
        answers = self._session.answers(*self._session.arrays(tensors, named))
        found = {n: torch.from_numpy(a) for n, a in zip(self._session.outputs, answers, strict=True)}
        return found if len(found) > 1 else next(iter(found.values()))


def torch_runner(model: nn.Module, threads: int) -> Runner:
    """Returns a runner of a model in PyTorch eager mode, as it is, in eval mode.

    It gives the answer's array, whatever else the model returns.

    Args:
        model: The model.
        threads: Set for the whole process at every call.
    """
    model = model.eval()

    def run(*arrays: Array) -> Array:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            output = model(*map(torch.from_numpy, arrays))
            answer: Array = named_tensors(output)[main_output(output)].numpy()
            return answer

    return run


def openvino_runner(path: str | Path, threads: int) -> Runner:
    """Returns a runner of an ONNX file in OpenVINO on the CPU, in float32 where the file is not quantized.

    Args:
        path: The file.
        threads: Threads of the runner.

    Raises:
        ModelError: OpenVINO is not installed, or cannot run the file.
    """
    try:
        import openvino
    except ImportError:
        raise ModelError("OpenVINO is not installed: pip install 'pithnet[openvino]'") from None
    options: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
    except RuntimeError as e:
        raise ModelError(f"{path} does not run in OpenVINO: {str(e).splitlines()[0][:200]}") from None

    def run(*arrays: Array) -> Array:
        answer: Array = compiled(list(arrays))[0]
        return answer

    return run


def has_int8_instructions() -> bool | None:
    """Tells whether the processor multiplies int8 by itself (VNNI, or ARM's dot product); None if unknown.

    Without them int8 convolutions gain little, and sums of products may saturate in 16 bits.
    """
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        # Every Apple silicon processor has the dot product; elsewhere only Linux tells.
        return True if platform.system() == "Darwin" and platform.machine() == "arm64" else None
    flags = set(text.split())
    return bool(flags & {"avx512_vnni", "avx_vnni", "asimddp", "amx_int8"})
