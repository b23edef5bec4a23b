"""Where channels go in products of tensors: matrix products, einsum, attention.

All of them are sums over some letters of products of two tensors whose axes have letters, as in einsum. Heads
are channels along a letter that both tensors and the result have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from pithnet.surgery.channels.formulas import Extent
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, spread, varying, vector
from pithnet.surgery.channels.zeros import stays_zero

_BATCH = "zyxwvu"
_SUMS_OTHERS = "adds up products of channels that are not zero where the channels are"


@dataclass
class Factor:
    """One of the two tensors.

    Attributes:
        symbols: Its symbols; None of a constant.
        letters: A letter for each axis.
        node: What gives it.
        sizes: How long its axes are.
    """

    symbols: Tensor | None
    letters: str
    node: fx.Node
    sizes: tuple[int, ...]

    def varying(self) -> list[str]:
        """Returns the letters along which its channels lie, in order."""
        return [] if self.symbols is None else [self.letters[axis] for axis in varying(self.symbols)]

    def size(self, letter: str) -> int:
        """Returns how long its axis of a letter is."""
        return self.sizes[self.letters.index(letter)]


def matmul(step: Step) -> Tensor:
    """Multiplies matrices; channels may lie along rows, columns or heads."""
    one, other = step.node.args[0], step.node.args[1] if len(step.node.args) > 1 else step.raw(1, "other")
    if not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
        raise Blocked("is an operation that no rule is known for")
    dims = [step.values[node].ndim for node in (one, other)]
    if step.called not in ("matmul", "__matmul__", "mm", "bmm") or min(dims) < 2 or max(dims) > 6:
        raise Blocked("is an operation that no rule is known for")
    batch = _BATCH[: max(dims) - 2]
    letters = [batch[len(batch) - ndim + 2 :] for ndim in dims]
    return contracted(step, (one, letters[0] + "ik"), (other, letters[1] + "kj"), batch + "ij")


def added(step: Step) -> Tensor:
    """Multiplies an activation with a weight and adds a number for each output, as a linear layer does."""
    bias, one, other = (step.raw(place, name) for place, name in enumerate(("input", "mat1", "mat2")))
    nodes = all(isinstance(node, fx.Node) for node in (bias, one, other))
    if step.called != "addmm" or not nodes or bias in step.marks:
        raise Blocked("is an operation that no rule is known for")
    found = contracted(step, (one, "ik"), (other, "kj"), "ij")
    value = step.values[bias]
    if varying(found) == [1] and value.ndim and value.shape[-1] > 1:
        step.book.merge(step.constant_along(bias, -1), vector(found, 1))
    if varying(found) == [0] and value.ndim > 1 and value.shape[0] > 1:
        step.book.merge(step.constant_along(bias, 0), vector(found, 0))
    return found


def einsum(step: Step) -> Tensor:
    """Carries out an einsum of two tensors without diagonals."""
    equation, *nodes = step.node.args
    if len(nodes) == 1 and isinstance(nodes[0], tuple | list):
        nodes = list(nodes[0])
    inputs, arrow, out = str(equation).replace(" ", "").partition("->")
    parts = inputs.split(",")
    plain = all(len(set(part)) == len(part) and part.isalpha() for part in (*parts, out))
    is_known = step.called == "einsum" and len(nodes) == len(parts) == 2 and bool(arrow) and plain
    if not is_known or not all(isinstance(node, fx.Node) for node in nodes):
        raise Blocked("is an operation that no rule is known for")
    return contracted(step, (nodes[0], parts[0]), (nodes[1], parts[1]), out)  # type: ignore[arg-type]


def attention(step: Step) -> Tensor:
    """Lets a whole head go: its query, key, value and output, or a key and value with all their queries."""
    if step.module is not None:
        raise Blocked("keeps all its heads, being one module; write q, k, v as layers of their own")
    nodes = [step.raw(place, name) for place, name in enumerate(("query", "key", "value"))]
    factors = [_factor(step, node, "") for node in nodes]
    ndim = step.value.ndim
    batch = _BATCH[: ndim - 2]
    heads = step.value.shape[-3] if ndim > 2 else 1
    for factor, letters in zip(factors, ("ik", "jk", "je"), strict=True):
        factor.letters = (batch + letters)[-len(factor.sizes) :]
        shared = heads // factor.sizes[-3] if len(factor.sizes) > 2 else 1
        if step.argument(7, "enable_gqa") and shared > 1 and factor.symbols is not None:
            factor.symbols = factor.symbols.repeat_interleave(shared, -3)
            factor.sizes = tuple(factor.symbols.shape)
    query, key, value = factors
    if not _has_heads(query, key) and step.argument(6, "scale") is None:
        for factor in (query, key):
            if factor.symbols is not None:
                step.book.freeze(factor.symbols, f"{step.node.name} divides by the root of a head's size")
    scores = _contract(step, query, key, batch + "ij")
    mask = step.raw(3, "attn_mask")
    if mask is not None:
        scores = _masked(step, scores, mask)
    return _contract(step, Factor(scores, batch + "ij", step.node, tuple(scores.shape)), value, batch + "ie")


def _has_heads(*factors: Factor) -> bool:
    return any(set(factor.varying()) & set(_BATCH) for factor in factors)


def _masked(step: Step, scores: Tensor, mask: Any) -> Tensor:
    """Lets heads meet a mask that differs between them."""
    value = step.values[mask]
    for axis in varying(scores):
        place = axis - scores.ndim + value.ndim
        if place < 0 or value.shape[place] == 1:
            continue
        own = step.marks.get(mask)
        other = step.constant_along(mask, place) if own is None else vector(own, place)
        step.book.merge(vector(scores, axis), other)
    return scores


def contracted(step: Step, one: tuple[fx.Node, str], other: tuple[fx.Node, str], out: str) -> Tensor:
    """Returns the symbols of a sum of products of two tensors.

    Args:
        step: The step.
        one: What gives the first tensor, and a letter for each of its axes.
        other: The second one, in the same way.
        out: The letters of the result; other letters are summed over.

    Raises:
        Blocked: Channels are summed over that may not be zero, or meet a constant that is no weight.
    """
    return _contract(step, _factor(step, *one), _factor(step, *other), out)


def _factor(step: Step, node: Any, letters: str) -> Factor:
    value, symbols = step.values[node], step.marks.get(node)
    return Factor(symbols, letters, node, tuple(value.shape))


def _contract(step: Step, one: Factor, other: Factor, out: str) -> Tensor:
    factors = (one, other)
    heads = [
        x for x in out if x in one.letters and x in other.letters and any(x in f.varying() for f in factors)
    ]
    if heads:
        found = _by_heads(step, factors, heads[0], out)
    else:
        for factor in factors:
            _settle_sums(step, factor, out)
        _meet_sums(step, factors, out)
        found = _free(step, factors, out)
    _count(step, factors, out, found)
    return found


def _by_heads(step: Step, factors: tuple[Factor, Factor], head: str, out: str) -> Tensor:
    size = max(factor.size(head) for factor in factors)
    meeting = []
    for factor in factors:
        axis = factor.letters.index(head)
        if factor.symbols is None:
            if factor.size(head) > 1:
                meeting.append(step.constant_along(factor.node, axis))
                step.made(factor.node, axis)
        elif factor.size(head) == 1 < size:
            step.book.freeze(factor.symbols, f"{step.node.name} spreads it over several heads")
        else:
            factor.symbols = step.book.straight(factor.symbols, axis)
            meeting.append(vector(factor.symbols, axis))
    for symbols in meeting[1:]:
        step.book.merge(meeting[0], symbols)
    return spread(meeting[0], out.index(head), _shape(factors, out))


def _settle_sums(step: Step, factor: Factor, out: str) -> None:
    """Lets channels lie along letters of the result, or along one that is summed over."""
    own = factor.varying()
    summed = [letter for letter in own if letter not in out]
    kept = summed[:1] if len(summed) == len(own) else []
    for letter in summed:
        if letter not in kept and factor.symbols is not None:
            factor.symbols = step.book.pinned(factor.symbols, factor.letters.index(letter))


def _meet_sums(step: Step, factors: tuple[Factor, Factor], out: str) -> None:
    summed = {letter for factor in factors for letter in factor.varying() if letter not in out}
    for letter in summed:
        if any(letter not in factor.letters for factor in factors):
            raise Blocked("adds up all channels")
        marked = [factor for factor in factors if factor.symbols is not None]
        if len(marked) == 2 and not any(stays_zero(step, f.node) for f in marked):
            raise Blocked(_SUMS_OTHERS)
        one, other = (_along(step, factor, letter) for factor in factors)
        step.book.merge(one, other)


def _along(step: Step, factor: Factor, letter: str) -> Tensor:
    axis = factor.letters.index(letter)
    if factor.symbols is None:
        return step.constant_along(factor.node, axis)
    return step.book.along(factor.symbols, axis)


def _free(step: Step, factors: tuple[Factor, Factor], out: str) -> Tensor:
    """Returns the symbols of a result whose channels are one factor's, or new outputs of a weight."""
    shape = _shape(factors, out)
    free = [factor for factor in factors if any(letter in out for letter in factor.varying())]
    if len(free) > 1:
        raise Blocked("spreads channels along several axes")
    if free:
        return _laid(free[0], out, shape)
    for factor in factors:
        own = [letter for letter in factor.letters if letter in out and factor.size(letter) > 1]
        if factor.symbols is None and own and step.constants.get(factor.node):
            axis = factor.letters.index(own[0])
            symbols = step.constant_along(factor.node, axis)
            step.made(factor.node, axis)
            return spread(symbols, out.index(own[0]), shape)
    return step.book.fixed(shape, f"{step.node.name} makes it of all channels")


def _laid(factor: Factor, out: str, shape: tuple[int, ...]) -> Tensor:
    symbols, letters = factor.symbols, factor.letters
    assert symbols is not None
    for letter in [letter for letter in letters if letter not in out]:
        symbols = symbols.select(letters.index(letter), 0)
        letters = letters.replace(letter, "")
    symbols = symbols.permute([letters.index(letter) for letter in out if letter in letters])
    return symbols[tuple(slice(None) if letter in letters else None for letter in out)].expand(shape)


def _shape(factors: tuple[Factor, Factor], out: str) -> tuple[int, ...]:
    return tuple(max(f.size(letter) for f in factors if letter in f.letters) for letter in out)


def _count(step: Step, factors: tuple[Factor, Factor], out: str, found: Tensor) -> None:
    sizes: list[Any] = [Extent(found, axis) for axis in range(len(out))]
    for letter in dict.fromkeys(factors[0].letters + factors[1].letters):
        if letter not in out:
            factor = next((f for f in factors if letter in f.varying()), None)
            whole = max(f.size(letter) for f in factors if letter in f.letters)
            symbols = None if factor is None else factor.symbols
            sizes.append(whole if symbols is None else Extent(symbols, factor.letters.index(letter)))  # type: ignore
    step.multiplies(*sizes)
