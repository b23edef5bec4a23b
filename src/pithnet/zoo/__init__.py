"""Architectures and their checkpoints."""

from pithnet.zoo.checkpoints import has_module_prefix, load, load_state, outputs, read_checkpoint
from pithnet.zoo.network import ZooNetwork, widths_of
from pithnet.zoo.registry import ARCHITECTURES, build, default_classes, input_shape
from pithnet.zoo.weightless import build_weightless

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
    "widths_of",
]
