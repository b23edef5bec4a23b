"""The table of operations: that its lines are found in every form, and that the facts in it are facts."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pithnet.surgery.graph.lookup import modules_of, operation_of, operation_of_function, operation_of_module
from pithnet.surgery.graph.operation import UNKNOWN, Kind, Operation
from pithnet.surgery.graph.operations import OPERATIONS
from pithnet.surgery.graph.tracing import traced

X = torch.linspace(-3, 3, 2 * 4 * 6 * 6).view(2, 4, 6, 6)
# What modules are made with, where they take arguments.
_ARGUMENTS: dict[type[nn.Module], tuple[Any, ...]] = {
    nn.Unflatten: (1, (2, 2)),
    nn.ChannelShuffle: (2,),
    nn.PixelShuffle: (2,),
    nn.PixelUnshuffle: (2,),
    nn.ConstantPad1d: (1, 0.0),
    nn.ConstantPad2d: (1, 0.0),
    nn.ConstantPad3d: (1, 0.0),
}


def made(cls: type[nn.Module]) -> nn.Module:
    one = () if cls.__name__ in ("Flatten",) else (1,)
    return cls(*_ARGUMENTS.get(cls, one)).eval()


def given(cls: type[nn.Module]) -> Tensor:
    """What a module of one, two or three dimensions takes."""
    return X[0] if "1d" in cls.__name__ else X.unsqueeze(1) if "3d" in cls.__name__ else X


def having(fact: str) -> list[type[nn.Module]]:
    return [cls for operation in OPERATIONS if getattr(operation, fact) for cls in operation.modules]


def test_no_class_and_no_name_stands_in_two_lines() -> None:
    classes = Counter(cls for operation in OPERATIONS for cls in operation.modules)
    names = Counter(name for operation in OPERATIONS for name in operation.names)
    assert {key: n for key, n in (*classes.items(), *names.items()) if n > 1} == {}


def test_every_name_is_one_of_torchs() -> None:
    homes = (torch, F, torch.special, operator, Tensor, torch.ops.aten, torch.linalg)
    names = [name for operation in OPERATIONS for name in operation.names]
    assert [name for name in names if not any(hasattr(home, name) for home in homes)] == []


class Forms(nn.Module):
    """One kind in each form that a forward may call it in."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.conv, self.pool = nn.ReLU(), nn.Conv2d(4, 4, 1, groups=4), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(F.relu(torch.relu(x.relu().relu_())))
        x = self.conv(x) + torch.add(x, 1.0)
        x = F.pad(x[:, :, ::2], (1, 1)).permute(0, 1, 3, 2).flatten(2)
        x = torch.cat(x.chunk(2, 1), 1) * x.mT.mT
        x = F.scaled_dot_product_attention(x, x, x) @ x.transpose(1, 2)
        return self.pool(x).mean((1, 2)) + F.dropout(x, training=False).sum() + x.shape[0]


FORMS = (
    "relu relu relu relu relu convolution add add slice pad permute reshape split concatenate permute "
    "permute multiply attention permute matrix_product average_pool mean dropout sum add shape slice add"
)


def test_modules_functions_methods_and_attributes_are_of_one_kind() -> None:
    model = Forms()
    graph = traced(model, "a test")
    calls = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
    found = Counter(operation_of(node, model).kind.replace(" ", "_") for node in calls)
    assert found == Counter(FORMS.split())


def test_operators_of_an_export_are_of_the_same_kinds() -> None:
    program = torch.export.export(Forms().eval(), (X,))
    kinds = [
        operation_of(node, nn.Module()).kind for node in program.graph.nodes if node.op == "call_function"
    ]
    assert UNKNOWN.kind not in kinds
    assert {Kind.RELU, Kind.CONVOLUTION, Kind.PAD, Kind.ATTENTION, Kind.CONCATENATE, Kind.SPLIT} <= set(kinds)


def test_what_the_table_has_not_is_unknown_whatever_its_name() -> None:
    def relu(x: Tensor) -> Tensor:
        return x

    class Own(nn.Module):
        pass

    assert operation_of_function(relu) is UNKNOWN
    assert operation_of_module(Own()) is UNKNOWN
    node = fx.Graph().create_node("call_method", "no_method_of_tensors", ())
    assert operation_of(node, Own()) is UNKNOWN
    assert UNKNOWN.multiplies  # nobody knows


def test_a_subclass_is_what_its_nearest_base_is() -> None:
    class Own(nn.ReLU6):
        pass

    assert operation_of_module(Own()) is operation_of_module(nn.ReLU6())
    assert not operation_of_module(nn.Hardtanh()).clips_at_zero  # of which ReLU6 is a subclass
    assert modules_of(Kind.LINEAR) == (nn.Linear,)


@pytest.mark.parametrize("cls", having("passes_scale"))
def test_a_positive_factor_passes_through(cls: type[nn.Module]) -> None:
    module, x = cls().eval(), given(cls)
    assert torch.equal(module(4 * x), 4 * module(x))


@pytest.mark.parametrize("cls", having("clips_at_zero"))
def test_nothing_is_left_below_zero(cls: type[nn.Module]) -> None:
    assert torch.equal(cls()(-X.abs()), torch.zeros_like(X))
    assert cls()(X).min() == 0


@pytest.mark.parametrize("cls", having("moves"))
def test_what_moves_gives_numbers_that_it_was_given(cls: type[nn.Module]) -> None:
    x = given(cls)
    found = made(cls)(x)
    assert set(found.unique().tolist()) <= {*x.unique().tolist(), 0.0}


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.views and o.modules], ids=lambda o: o.kind)
def test_views_write_nothing(operation: Operation) -> None:
    for cls in operation.modules:
        assert made(cls)(given(cls)).untyped_storage().data_ptr() == X.untyped_storage().data_ptr()
