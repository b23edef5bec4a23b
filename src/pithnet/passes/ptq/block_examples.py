"""The examples that a block learns from: its calls, cut into samples and put together again in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.learn.batch import tensors
from pithnet.passes.ptq.part_calls import CallArguments, answering, float_outputs

_ALIKE = 1e-3  # relative difference of what a sample gives alone and beside others: rounding, no more


@dataclass(frozen=True)
class Examples:
    """Calls of one block with like arguments, put together: n samples of `rows` rows each, or one as a whole.

    A row is an entry of the first axis of the block's first tensor, and of every tensor as long as that one.

    Attributes:
        given: What the block is called with.
        targets: What the block should give; those without an entry for every row are left out, unless the
            call stays whole.
        rows: None where the samples of a call cannot be told apart.
    """

    given: CallArguments
    targets: tuple[Tensor | None, ...]
    rows: int | None

    @property
    def size(self) -> int:
        """The number of samples."""
        return 1 if self.rows is None else _length(self.given) // self.rows

    def draw(self, size: int, generator: torch.Generator) -> tuple[CallArguments, tuple[Tensor | None, ...]]:
        """Draws arguments and targets of so many samples with replacement; all where they stay together."""
        if self.rows is None:
            return self.given, self.targets
        chosen = torch.randint(self.size, (min(size, self.size),), generator=generator)
        index = (chosen[:, None] * self.rows + torch.arange(self.rows)).flatten()
        index = index.to(next(tensors((self.given.args, self.given.named))).device)
        targets = tuple(None if t is None else t[index] for t in self.targets)
        return _cut(self.given, index), targets

    def pieces(self, size: int) -> Iterator[tuple[CallArguments, tuple[Tensor | None, ...], int]]:
        """Yields arguments, targets and number of samples, at most so many samples at once, in order."""
        if self.rows is None:
            yield self.given, self.targets, 1
            return
        device = next(tensors((self.given.args, self.given.named))).device
        for index in torch.arange(_length(self.given), device=device).split(size * self.rows):
            targets = tuple(None if t is None else t[index] for t in self.targets)
            yield _cut(self.given, index), targets, len(index) // self.rows

    def output_of(self, part: nn.Module) -> list[Tensor]:
        """Returns what the part gives for all of it."""
        with answering(part):
            return float_outputs("", part, part(*self.given.args, **self.given.named))


def examples_of(
    name: str, reference: nn.Module, calls: Sequence[tuple[CallArguments, list[Tensor], int]]
) -> list[Examples]:
    """Returns a block's calls, as few `Examples` as their shapes allow.

    Args:
        name: The block's.
        reference: The block before compression.
        calls: What the block is called with, what the reference gives in its place, and the samples of the
            batch. Where the network hands a block a choice of rows, as a router does to its experts, the two
            networks may choose differently: the target is then what the reference gives for the same rows.

    Raises:
        ModelError: The block's outputs are not finite; the message names it.
    """
    if any(_length(given) % size or len(y[0]) != _length(given) for given, y, size in calls):
        calls = [(g, Examples(g, (), None).output_of(reference), size) for g, _, size in calls]
    finite = [all(bool(y[i].isfinite().all()) for _, y, _ in calls) for i in range(len(calls[0][1]))]
    if not any(finite):
        raise ModelError(
            f"{name} ({type(reference).__name__}) gives NaN or inf and cannot be reconstructed; look for "
            "extreme values in the weights and the images"
        )
    singles: list[Examples] = []
    for given, outputs, size in calls:
        rows = _rows(reference, given, outputs, size) if not singles else singles[0].rows
        if rows is not None and (_length(given) % rows or not finite[0]):
            rows = None
        kept = [
            use and (rows is None or (y.ndim > 0 and len(y) == _length(given)))
            for use, y in zip(finite, outputs, strict=True)
        ]
        targets = tuple(y if keep else None for keep, y in zip(kept, outputs, strict=True))
        singles.append(Examples(given, targets, rows))
    return [_joined(group) for group in _groups(singles)]


def _rows(reference: nn.Module, given: CallArguments, outputs: list[Tensor], size: int) -> int | None:
    """Returns how many rows of a call belong together, None for all.

    It is 1 where each row is alone, else the number of rows of a sample. It is found by trying: half of the
    samples must give what they give beside the others.
    """
    length = _length(given)
    for rows in dict.fromkeys([1, length // size if length % size == 0 else 1]):
        if length // rows < 2 or not (outputs[0].ndim and len(outputs[0]) == length):
            continue
        index = torch.arange(length // rows // 2 * rows, device=outputs[0].device)
        try:
            found = Examples(_cut(given, index), (), None).output_of(reference)[0]
        except RuntimeError:  # shapes that belong together: this is not how to cut them
            continue
        wanted = outputs[0][index]
        if found.shape == wanted.shape and float((found - wanted).norm()) <= _ALIKE * float(wanted.norm()):
            return rows
    return None


def _groups(singles: Sequence[Examples]) -> Iterator[list[Examples]]:
    """Yields those that can be joined: samples can be cut, and all but the rows is the same."""
    groups: list[list[Examples]] = []
    for one in singles:
        like = next((g for g in groups if _is_like(g[0], one)), None)
        if like is None:
            groups.append([one])
        else:
            like.append(one)
    yield from groups


def _is_like(a: Examples, b: Examples) -> bool:
    if a.rows is None or b.rows is None:
        return False
    lengths = _length(a.given), _length(b.given)
    mine, other = ((one.given.args, one.given.named, one.targets) for one in (a, b))
    return _same(mine, other, lengths)


def _same(a: Any, b: Any, lengths: tuple[int, int]) -> bool:
    """Tells whether two nests differ in nothing but the rows of their tensors."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if _is_per_row(a, lengths[0]) and _is_per_row(b, lengths[1]):
            return a.shape[1:] == b.shape[1:] and a.dtype == b.dtype
        return torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k], lengths) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(_same(x, y, lengths) for x, y in zip(a, b, strict=True))
    return a is b or (isinstance(a, bool | int | float | str) and a == b)


def _joined(group: Sequence[Examples]) -> Examples:
    if len(group) == 1:
        return group[0]
    first, length = group[0], _length(group[0].given)
    others = [iter(tensors((one.given.args, one.given.named))) for one in group]

    def join(tensor: Tensor) -> Tensor:
        parts = [next(other) for other in others]
        return torch.cat(parts) if _is_per_row(tensor, length) else tensor

    targets = tuple(
        None if parts[0] is None else torch.cat(parts)
        for parts in zip(*(one.targets for one in group), strict=True)
    )
    return Examples(_mapped(first.given, join), targets, first.rows)


def _length(given: CallArguments) -> int:
    """Returns the entries of the first axis of the first tensor; 1 where there is none."""
    first = next(tensors((given.args, given.named)), None)
    return 1 if first is None or not first.ndim else len(first)


def _cut(given: CallArguments, index: Tensor) -> CallArguments:
    """Returns some rows of a call."""
    length = _length(given)
    return _mapped(given, lambda tensor: tensor[index] if _is_per_row(tensor, length) else tensor)


def _is_per_row(tensor: Tensor, length: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == length


def _mapped(given: CallArguments, change: Callable[[Tensor], Tensor]) -> CallArguments:
    """Returns the call with every tensor changed, in order."""

    def nest(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value)
        if isinstance(value, Mapping):
            return {name: nest(part) for name, part in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(nest, value))
        return type(value)(map(nest, value)) if isinstance(value, tuple | list) else value

    args = tuple(nest(value) for value in given.args)
    return CallArguments(args, {name: nest(value) for name, value in given.named.items()})
