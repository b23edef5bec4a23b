"""Runtimes that answer a batch: ONNX Runtime, PyTorch eager, OpenVINO."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pithnet.errors import ModelError

Floats = NDArray[np.float32]
Runner = Callable[[Floats], Floats]
_ERRORS_ONLY = 3


class OnnxSession:
    """An ONNX file in ONNX Runtime on the CPU; calling it runs a batch, float32 (B, ...) -> float32 (B, ...).

    Raises ModelError where the file is missing or cannot be run.
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
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise ModelError(f"{path} takes {len(inputs)} inputs; one of float32 images is needed")
        self.path, self.input_name = path, inputs[0].name
        self.shape = tuple(d if isinstance(d, int) else -1 for d in inputs[0].shape[1:])

    def __call__(self, x: Floats) -> Floats:
        try:
            answer: Floats = self._session.run(None, {self.input_name: x})[0]
        except Exception:
            got, takes = (" x ".join(map(str, shape)) for shape in (x.shape[1:], self.shape))
            raise ModelError(
                f"{self.path} takes images of {takes} (channels x height x width), not {got}"
            ) from None
        return answer


class OnnxNetwork(nn.Module):
    """An ONNX file as a module in eval mode on the CPU, for whatever measures modules; it cannot be trained.

    Raises ModelError as OnnxSession.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._session = OnnxSession(path, threads=torch.get_num_threads())
        # What measures a module asks its first parameter where it computes.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._session(x.contiguous().numpy()))


def torch_runner(model: nn.Module, threads: int) -> Runner:
    """The model in PyTorch eager mode, as it is, in eval mode; sets the process's threads at every call."""
    model = model.eval()

    def run(x: Floats) -> Floats:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            answer: Floats = model(torch.from_numpy(x)).numpy()
            return answer

    return run


def openvino_runner(path: str | Path, threads: int) -> Runner:
    """An ONNX file in OpenVINO on the CPU, in float32 where the file is not quantized.

    Raises ModelError where OpenVINO is not installed, or cannot run the file.
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

    def run(x: Floats) -> Floats:
        answer: Floats = compiled(x)[0]
        return answer

    return run


def has_int8_instructions() -> bool | None:
    """Whether the processor multiplies int8 by itself (VNNI, or ARM's dot product); None where unknown.

    Without them int8 convolutions gain little, and sums of products may saturate in 16 bits.
    """
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        # Every Apple silicon processor has the dot product; elsewhere only Linux tells.
        return True if platform.system() == "Darwin" and platform.machine() == "arm64" else None
    flags = set(text.split())
    return bool(flags & {"avx512_vnni", "avx_vnni", "asimddp", "amx_int8"})
