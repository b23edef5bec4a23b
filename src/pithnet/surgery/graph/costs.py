"""What a network costs: multiply-accumulates, parameters, activations and bytes, operation by operation."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from pithnet.errors import ModelError, lookup
from pithnet.surgery.graph.counting import Work, apart, work_of
from pithnet.surgery.graph.inputs import bound, tensors_as
from pithnet.surgery.graph.lookup import operation_of_module
from pithnet.surgery.graph.shapes import weightless
from pithnet.surgery.graph.tracing import cause_of
from pithnet.surgery.weights.holders import held_tensors
from pithnet.surgery.weights.unsupported import uninitialized
from pithnet.surgery.wrappers import plain_key, unwrapped

_FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """What one layer or operation of a network costs.

    Attributes:
        name: A module's own name; for a function's call the module in whose forward it stands, and what is
            called: "layer1.0.relu", and "layer1.0.relu_1" for the next one there.
        kind: What it does, as in `pithnet.surgery.graph.operations`, such as "convolution" or "batch norm".
        macs: Multiply-accumulates of all its calls: half of what torch's FlopCounterMode counts.
        parameters: Numbers in its parameters; those it shares with an operation before it count there alone.
        activations: Floating-point numbers that its calls give; none for what only views its input.
        calls: How often it is called for one batch.
    """

    name: str
    kind: str
    macs: int
    parameters: int
    activations: int
    calls: int

    @property
    def bytes(self) -> int:
        """What its parameters take as float32."""
        return _FLOAT32 * self.parameters


@dataclass(frozen=True)
class Costs:
    """The costs of a network for one batch: a row for each layer or operation, in the order of calls.

    `print(costs)` shows them as a table; `costs["layer1.0.conv1"]` is one row, and iterating gives all.
    """

    network: str
    rows: tuple[Cost, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network."""
        return sum(row.macs for row in self.rows)

    @property
    def parameters(self) -> int:
        """Numbers in the network's parameters, each parameter once."""
        return sum(row.parameters for row in self.rows)

    @property
    def activations(self) -> int:
        """Floating-point numbers that the operations give, all together."""
        return sum(row.activations for row in self.rows)

    @property
    def bytes(self) -> int:
        """What the parameters take as float32."""
        return sum(row.bytes for row in self.rows)

    def __getitem__(self, name: str) -> Cost:
        """Returns the row of that name.

        Raises:
            ModelError: There is no such row; the nearest names are said.
        """
        return lookup("operation", name, {row.name: row for row in self.rows}, ModelError)

    def __iter__(self) -> Iterator[Cost]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        head = ("name", "kind", "MACs", "parameters", "activations", "bytes")
        rows = [
            (r.name, r.kind, r.macs, r.parameters, r.activations, r.bytes)
            for r in (*self.rows, Cost(self.network, "all", self.macs, self.parameters, self.activations, 1))
        ]
        return _table([head, *((name, kind, *(f"{n:,}" for n in counts)) for name, kind, *counts in rows)])


def costs(model: nn.Module, example: Any) -> Costs:
    """Counts what a network costs to compute for an example, layer by layer, without computing its layers.

    The forward is followed by torch.fx, or, where it decides by shapes, by torch.export. Multiply-accumulates
    are those of convolutions, linear layers, recurrent layers, matrix products and attention: half of what
    torch's FlopCounterMode counts of them. (On the CPU it counts fused attention and LSTMs as nothing; they
    are counted here.) Additions, norms and activations have none. Zeros and shared values count as any
    others. The model and the random numbers of torch and of Python are left alone.

    Args:
        model: A network of any kind, in eval or train mode; eval mode is what is counted.
        example: Inputs, floats of any values: a tensor (B, ...) for model(x), a tuple for model(*x), a dict
            for model(**x). Counts are for the whole batch: give a batch of one for the costs of one input.

    Returns:
        `Costs`, with a row for each operation that has parameters, multiplies or gives new numbers.

    Raises:
        ModelError: Neither front end follows the forward, or the network does not take the example.
    """
    model = unwrapped(model)
    lazy = uninitialized(model)
    if lazy:
        raise ModelError(f"{lazy} has no weights yet; run one batch through the model first")
    bound(model, example)
    with apart():
        work = {plain_key(name): each for name, each in _work(model, example).items()}
    parameters, unread = _parameters(model, work)
    rows = [
        Cost(name, each.kind, each.macs, parameters.get(name, 0), each.activations, each.calls)
        for name, each in work.items()
    ]
    rows = [row for row in rows if row.macs or row.parameters or row.activations]
    return Costs(type(model).__name__, (*rows, *unread))


def _work(model: nn.Module, example: Any) -> dict[str, Work]:
    try:
        return work_of(weightless(model), tensors_as(example, lambda t: t.detach().cpu().clone()))
    except ModelError:
        raise
    except Exception:
        pass  # zeros, or the CPU, would not do: a copy of the network itself tells whether the example does
    try:
        return work_of(copy.deepcopy(model).eval(), tensors_as(example, lambda t: t.detach().clone()))
    except ModelError:
        raise
    except Exception as e:
        raise ModelError(
            f"{type(model).__name__} does not run on the example: {cause_of(e)}; give inputs as it takes them"
        ) from None


def _parameters(model: nn.Module, work: dict[str, Work]) -> tuple[dict[str, int], list[Cost]]:
    """How many numbers each operation's parameters hold, and rows for those that no operation reads.

    A tensor counts for the operation that reads it first.
    """
    order = {name: place for place, name in enumerate(work)}
    functions: dict[str, str] = {}
    for name, each in work.items():
        for key in each.reads:
            functions.setdefault(plain_key(key), name)
    counts, unread = Counter[str](), Counter[nn.Module]()
    names = {}
    for holders in held_tensors(model):
        size = int(getattr(holders[0].module, holders[0].tensor).numel())
        keys = [key for holder in holders for key in holder.keys]
        readers = [reader for key in keys if (reader := functions.get(key) or _called_around(key, order))]
        if readers:
            counts[min(readers, key=order.__getitem__)] += size
        else:
            unread[holders[0].module] += size
            names[holders[0].module] = holders[0].paths[0]
    return counts, [Cost(names[m], operation_of_module(m).kind, 0, size, 0, 0) for m, size in unread.items()]


def _called_around(key: str, called: Collection[str]) -> str | None:
    """The innermost module that holds a tensor and is called, by name."""
    while key := key.rpartition(".")[0]:
        if key in called:
            return key
    return None


def _table(rows: list[tuple[str, ...]]) -> str:
    """Two columns of words, and numbers at the right of theirs."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
