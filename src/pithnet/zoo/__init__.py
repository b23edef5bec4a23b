"""Architectures and their checkpoints."""

from pithnet.zoo.checkpoints import (
    has_module_prefix,
    load,
    load_state,
    outputs,
    read_checkpoint,
    read_tensors,
)
from pithnet.zoo.network import ZooNetwork, shortcut_sizes, widths_of
from pithnet.zoo.registry import ARCHITECTURES, build, default_classes, input_shape
from pithnet.zoo.weightless import build_weightless
from pithnet.zoo.width_tables import read_json_object, read_widths, widths_in

__all__ = [
    "ARCHITECTURES",
    "ZooNetwork",
    "build",
    "build_weightless",
    "default_classes",
    "has_module_prefix",
    "input_shape",
    "load",
    "load_state",
    "outputs",
    "read_checkpoint",
    "read_json_object",
    "read_tensors",
    "read_widths",
    "shortcut_sizes",
    "widths_in",
    "widths_of",
]
