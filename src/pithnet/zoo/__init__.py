"""Architectures and their checkpoints."""

from pithnet.zoo.checkpoints import has_module_prefix, load, load_state, outputs, read_checkpoint
from pithnet.zoo.registry import ARCHITECTURES, build, default_classes, input_shape

__all__ = [
    "ARCHITECTURES",
    "build",
    "default_classes",
    "has_module_prefix",
    "input_shape",
    "load",
    "load_state",
    "outputs",
    "read_checkpoint",
]
