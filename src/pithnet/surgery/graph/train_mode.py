"""Whether a graph that was read in eval mode may stand for a network in train mode too."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.inputs import REQUIRED
from pithnet.surgery.graph.lookup import operation_of_function
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import WITHIN, Tracer, calls, followed

_OR_FREEZE = "; for inference alone freeze the model first: model.requires_grad_(False)"


def traced_to_train(model: nn.Module, purpose: str, example: Any = REQUIRED) -> fx.Graph:
    """Follows as `traced` does, and checks that the graph may stand for the forward in train mode as well.

    A model none of whose parameters trains is for eval mode only, and its modes are not compared.

    Raises:
        ModelError: The forward cannot be followed, as `traced` says; something that is computed from a buffer
            or parameter, which is named, would be built in; a dropout, which is named, could not be
            turned on in training; or the network, or a part of it that has weights and is named, computes
            something else in train mode.
    """
    tracer = followed(model, purpose, example)
    for name in sorted(tracer.built_in):
        raise ModelError(
            f"{purpose} gives {type(model).__name__} another forward, which would have built in what is now "
            f"computed from {name}, whatever {name} is later; compute with it on tensors alone, without if, "
            "for, len, int or float of it"
        )
    if any(p.requires_grad for p in model.parameters()):
        _check_dropouts(tracer.graph)
        if tracer.readers:
            _check_same_in_training(model, tracer)
    return tracer.graph


def _check_dropouts(graph: fx.Graph) -> None:
    for node in graph.nodes:
        if _is_dropout(node) and _given(node, "p", 1) != 0 and drops_nothing(node):
            raise ModelError(
                f"{node.name} would be off in training too, since forward is kept as it is in eval mode; "
                f"use nn.Dropout, a module, in place of the function{_OR_FREEZE}"
            )


def drops_nothing(node: fx.Node) -> bool:
    """Tells whether a node calls a function of dropout that drops nothing: in eval mode, or of p = 0."""
    off = _given(node, "training", "train", 2) is False or _given(node, "p", 1) == 0
    return _is_dropout(node) and off


def _is_dropout(node: fx.Node) -> bool:
    return node.op == "call_function" and operation_of_function(node.target).kind is Kind.DROPOUT


def _given(node: fx.Node, *keys: str | int) -> Any:
    """The argument of that name or place; None where there is none."""
    given: dict[Any, Any] = dict(enumerate(node.args)) | node.kwargs
    return next((given[key] for key in keys if key in given), None)


def _check_same_in_training(model: nn.Module, tracer: Tracer) -> None:
    """Follows the forward of a copy in train mode, and compares the two graphs.

    Random numbers drawn while a forward is followed would be the same ever after, so a forward that draws any
    in train mode is another one.
    """
    copied, training = copy.deepcopy(model).train(), _again(tracer)
    with _own_random_numbers():
        before = random.getstate(), torch.get_rng_state()
        try:
            training.follow(copied)
            place = _first_difference(tracer.graph, training.graph)
        except Exception:
            place = training.within[-1]
        drawn = random.getstate() != before[0] or not torch.equal(torch.get_rng_state(), before[1])
    if place is None and not drawn:
        return
    readers = tracer.readers | training.readers
    around = [name for name in readers if not name or f"{place}.".startswith(f"{name}.")]
    name = max(around or readers, key=len)
    what = f"{name} ({type(model.get_submodule(name)).__name__})" if name else type(model).__name__
    raise ModelError(
        f"{what} does something else in train mode, which would be lost, since forward is kept as it is in "
        "eval mode; build it without that, or move what looks at self.training into a module of its own "
        f"without weights, as nn.Dropout is{_OR_FREEZE}"
    )


def _again(tracer: Tracer) -> Tracer:
    return Tracer(tracer.given, calls(tracer.graph), tracer.proxy_buffer_attributes)


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(state)


def _first_difference(one: fx.Graph, other: fx.Graph) -> str | None:
    """In whose forward the first node stands that two graphs do not share; None where they are the same."""
    forms, others = _forms(one), _forms(other)
    for form, its, node in zip(forms, others, other.nodes, strict=False):
        if form != its:
            return str(node.meta[WITHIN])
    return None if len(forms) == len(others) else ""


def _forms(graph: fx.Graph) -> list[Any]:
    """What each node does with which earlier nodes, without names."""
    places = {node: f"%{place}" for place, node in enumerate(graph.nodes)}
    forms = []
    for node in graph.nodes:
        given = fx.map_arg((node.args, node.kwargs), lambda n: places[n])
        if _is_dropout(node) and _given(node, "p", 1) == 0:
            given = given[0][:1]  # in train mode it drops nothing either
        forms.append((node.op, None if node.op == "output" else node.target, given))
    return forms
