"""Which line of the table of operations a node, a module or a function is one of."""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pithnet.surgery.graph.operation import UNKNOWN, Kind, Operation
from pithnet.surgery.graph.operations import OPERATIONS

_HOMES = (torch, F, torch.special, operator)
_BY_CLASS = {cls: operation for operation in OPERATIONS for cls in operation.modules}
_BY_NAME = {name: operation for operation in OPERATIONS for name in operation.names}


def operation_of(node: fx.Node, model: nn.Module) -> Operation:
    """Finds the operation that a node of the model's graph carries out; UNKNOWN if the table has it not.

    A node may call a module, a function of torch, torch.nn.functional or operator, a method of a tensor, or
    an operator of torch.ops.aten. Of a function that is none of these its name says nothing.
    """
    if node.op == "call_module":
        return operation_of_module(model.get_submodule(str(node.target)))
    if node.op == "call_method":
        return operation_of_method(str(node.target))
    return operation_of_function(node.target, node.args) if node.op == "call_function" else UNKNOWN


def operation_of_module(module: nn.Module) -> Operation:
    """Finds the operation of a module, as of the nearest of its class's bases that the table has, or UNKNOWN.

    A subclass may have a forward of its own: `foldable.own_way` tells.
    """
    return next((_BY_CLASS[cls] for cls in type(module).__mro__ if cls in _BY_CLASS), UNKNOWN)


def operation_of_method(name: str) -> Operation:
    """Finds the operation of the tensor's method or attribute of that name, or UNKNOWN."""
    return _BY_NAME.get(name, UNKNOWN) if hasattr(Tensor, name) else UNKNOWN


def operation_of_function(function: Any, args: tuple[Any, ...] = ()) -> Operation:
    """Finds the operation of a function of torch's, or of an operator of torch.ops.aten, or UNKNOWN.

    args: what it is called with; of `getattr` they say which attribute of a tensor is read.
    """
    if function is getattr:
        return operation_of_method(str(args[1])) if len(args) > 1 else UNKNOWN
    if isinstance(function, torch._ops.OpOverload):
        return _BY_NAME.get(function._schema.name.removeprefix("aten::"), UNKNOWN)
    return _by_function().get(function, UNKNOWN)


def modules_of(*kinds: Kind) -> tuple[type[nn.Module], ...]:
    """Returns the classes of modules of these kinds, in the order of the table."""
    return tuple(cls for operation in OPERATIONS if operation.kind in kinds for cls in operation.modules)


@cache
def _by_function() -> dict[Any, Operation]:
    found = ((getattr(home, name, None), _BY_NAME[name]) for name in _BY_NAME for home in _HOMES)
    return {function: operation for function, operation in found if callable(function)}
