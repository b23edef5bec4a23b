"""The second front end: torch.export follows forwards that decide by shapes, which torch.fx refuses."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from pithnet.surgery.graph.inputs import bound


@dataclass(frozen=True)
class Exported:
    """A network's operations as torch.export found them, for inputs of the example's shapes.

    graph: its nodes call operators of torch.ops.aten. root: what its attributes are attributes of. tensors:
    the parameters and buffers of the network that are inputs of the graph, by the input's name.
    """

    root: nn.Module
    graph: fx.Graph
    tensors: dict[str, str]


def exported(model: nn.Module, example: Any) -> Exported:
    """Follows the model's forward on an example, in the mode that the model is in.

    Where torch.export cannot follow it, its error is passed on.
    """
    given = bound(model, example)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # of what it cannot follow it writes pages
    try:
        with redirect_stderr(io.StringIO()):
            program = torch.export.export(model, given.args, given.kwargs, strict=False)
    finally:
        logging.disable(before)
    signature = program.graph_signature
    tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return Exported(program.graph_module, program.graph, tensors)


def call_of(node: fx.Node) -> tuple[str, str]:
    """Tells in which module's forward a node stands, the innermost, by name, and in which of its calls.

    The name of the network itself is "".
    """
    stack = node.meta.get("nn_module_stack") or {"": ("", None)}
    call, (place, _) = next(reversed(stack.items()))
    return str(place).partition("@")[0], str(call)
