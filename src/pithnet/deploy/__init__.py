"""Files that other runtimes run fast: ONNX in float32 and int8, made from a model, checked and timed."""

from pithnet.deploy.biases import with_stored_biases
from pithnet.deploy.calibration_images import CalibrationImages
from pithnet.deploy.exporting import OnnxFile, export_onnx
from pithnet.deploy.graph import Operators, operators
from pithnet.deploy.int8 import Int8Model, dynamic_int8, static_int8
from pithnet.deploy.int8_export import NO_VNNI, Int8Export, export_int8, write_int8
from pithnet.deploy.latency import Contender, Timing, time_in_turn
from pithnet.deploy.reading import facts_of
from pithnet.deploy.runtimes import (
    OnnxNetwork,
    OnnxSession,
    Runner,
    has_int8_instructions,
    openvino_runner,
    torch_runner,
)
from pithnet.deploy.verification import Agreement, agreement

__all__ = [
    "NO_VNNI",
    "Agreement",
    "CalibrationImages",
    "Contender",
    "Int8Export",
    "Int8Model",
    "OnnxFile",
    "OnnxNetwork",
    "OnnxSession",
    "Operators",
    "Runner",
    "Timing",
    "agreement",
    "dynamic_int8",
    "export_int8",
    "export_onnx",
    "facts_of",
    "has_int8_instructions",
    "openvino_runner",
    "operators",
    "static_int8",
    "time_in_turn",
    "torch_runner",
    "with_stored_biases",
    "write_int8",
]
