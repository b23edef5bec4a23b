"""How much of a network is compressed: parameters under a mask, codebook or quantizer, of all parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from pithnet.patterns import any_matches
from pithnet.surgery.weights.chains import chain, latent_weight
from pithnet.surgery.weights.holders import Weighted, compressible, held_tensors, is_matrix
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS, Codebook

SKIPPED, UNKNOWN, SMALL = "skipped by you", "kind not known", "bias and norm"
UNTOUCHED = "no pass took it"
ENOUGH = 0.9  # of the matrices that were not skipped


@dataclass(frozen=True)
class LeftOut:
    """A tensor that nothing compresses.

    Attributes:
        name: Its name in a plain state_dict.
        parameters: How many numbers it has.
        why: SKIPPED, UNKNOWN or SMALL.
        kind: The class that holds it, as `register_kind` takes it.
    """

    name: str
    parameters: int
    why: str
    kind: str


@dataclass(frozen=True)
class Coverage:
    """How many parameters are compressed; ties count once.

    Attributes:
        covered: The parameters that are compressed.
        parameters: All parameters.
        left_out: What is left out, largest first.
    """

    covered: int
    parameters: int
    left_out: tuple[LeftOut, ...]

    @property
    def share(self) -> float:
        """The covered share of all parameters, in [0, 1]; 1 for a network without any."""
        return self.covered / self.parameters if self.parameters else 1.0

    @property
    def unknown(self) -> tuple[LeftOut, ...]:
        """The tensors that are left out because no kind is known for them, largest first."""
        return tuple(part for part in self.left_out if part.why == UNKNOWN)

    @property
    def advice(self) -> str | None:
        """Returns the calls that would cover what is of no known kind.

        It is None where that is no tenth of the matrices. What was skipped is not counted, and neither are
        biases and normalisation.
        """
        wanted, missing = [], self.unknown
        at_stake = self.covered + sum(part.parameters for part in missing)
        reached = self.covered
        for part in missing:
            if reached >= ENOUGH * at_stake:
                break
            reached += part.parameters
            wanted.append(part)
        return _advice(wanted) if wanted else None


def coverage(model: nn.Module, skip: Sequence[str] = (), planned: Collection[str] = ()) -> Coverage:
    """Returns how much of a model is under a mask, codebook or quantizer, as it stands.

    Args:
        model: Any network.
        skip: Patterns that say of what is left out that it was meant to be.
        planned: Names of tensors that count as compressed already, because a pass is going to.
    """
    covered, parameters, left_out = 0, 0, []
    for holders in held_tensors(model):
        layer = Weighted(holders)
        size = _size(layer)
        parameters += size
        if _is_compressed(layer) or layer.keys[0] in planned:
            covered += size
        elif size:
            left_out.append(LeftOut(layer.keys[0], size, _why(layer, skip), _kind(holders[0].module)))
    left_out.sort(key=lambda part: -part.parameters)
    return Coverage(covered, parameters, tuple(left_out))


def _is_compressed(layer: Weighted) -> bool:
    return any(isinstance(part, PARAMETRIZATIONS) for part in chain(layer))


def _size(layer: Weighted) -> int:
    parts = chain(layer)
    if not parts or not isinstance(parts[0], PARAMETRIZATIONS):
        return layer.weight.numel()
    return parts[0].slots.numel() if isinstance(parts[0], Codebook) else latent_weight(layer).numel()


def _why(layer: Weighted, skip: Sequence[str]) -> str:
    if any_matches(skip, layer.all_names):
        return SKIPPED
    if any(holder.tensor in compressible(holder.module) for holder in layer.holders):
        return UNTOUCHED
    return UNKNOWN if is_matrix(layer.holders[0]) else SMALL


def _kind(module: nn.Module) -> str:
    cls = type_before_parametrizations(module)
    return cls.__name__ if "<" in cls.__qualname__ else f"{cls.__module__}.{cls.__qualname__}"


def _advice(wanted: Sequence[LeftOut]) -> str:
    patterns = list(dict.fromkeys(re.sub(r"\d+", "*", part.name) for part in wanted))
    kinds: dict[str, list[str]] = {}
    for part in wanted:
        tensors = kinds.setdefault(part.kind, [])
        if (tensor := part.name.rpartition(".")[2]) not in tensors:
            tensors.append(tensor)
    calls = " and ".join(
        f"pithnet.surgery.register_kind({kind if '.' not in kind else repr(kind)}, weights={tuple(tensors)})"
        for kind, tensors in kinds.items()
    )
    named = all(tensor.isidentifier() for tensors in kinds.values() for tensor in tensors)
    if not named or _kind(nn.Module()) in kinds:
        # Of a list of parameters, whose names are numbers, or of a bare nn.Module, which every module is.
        calls = ""
    return (
        f"{_listed(part.name for part in wanted)} of no known kind; give also={patterns}"
        f"{f', or call {calls}' if calls else ''}, or skip them"
    )


def _listed(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more are" if others else f"{first} is"
