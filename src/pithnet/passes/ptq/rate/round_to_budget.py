"""Networks that take so many bytes, or bits a weight, without labels and without training."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pithnet.errors import DataError, ModelError, PithError, RecipeError
from pithnet.learn.batch import call, describe, tensors
from pithnet.passes.calibration import read_once
from pithnet.passes.file_size import Weigh, file_bytes
from pithnet.passes.layers import selected_layers
from pithnet.passes.ptq.layer_inputs import require_own_values
from pithnet.passes.ptq.part_calls import answering
from pithnet.passes.ptq.rate.amounts import whole_bytes
from pithnet.passes.ptq.rate.budget import Budget, Measure, coded_bits, round_within
from pithnet.passes.ptq.rate.data_free import DataFreeNetwork
from pithnet.passes.ptq.rate.network import Network
from pithnet.passes.ptq.rate.rounding import Effort
from pithnet.passes.quantize import layer_row
from pithnet.passes.records import Record
from pithnet.surgery import (
    TrainedLevels,
    Weighted,
    in_float32,
    parametrization,
    release,
    set_latent_weight,
    weighted_layers,
)
from pithnet.surgery.graph.inputs import tensors_as

_LEAST_SAMPLES = 100  # together: shorter batches are joined where they can be


def round_to_budget(
    model: nn.Module,
    rate: float | None,
    size: float | None,
    calibrate: Any,
    skip: Sequence[str],
    seed: int,
    weigh: Weigh = file_bytes,
) -> Record:
    """Does what `quantize_without_labels` does with `rate` or `bytes`, in place.

    Args:
        model: The network.
        rate: Bits a weight, or None.
        size: Bytes of the file or a share of float32's, or None.
        calibrate: Samples, or None.
        skip: Patterns of layers to leave as they are.
        seed: Of positions and signs.
        weigh: Gives the bytes of the file.

    Raises:
        RecipeError: Zeros everywhere would take more.
        ModelError: A layer cannot be compressed, or the forward reads none of the weights.
        DataError: There are no samples, or the network does not take them.
    """
    layers = selected_layers(model, skip)
    for name, layer in layers:
        _require_own(name, layer)
    names = [name for name, _ in layers]
    own = _own_dtype(model)
    wanted = whole_bytes(size, model) if size is not None else float(rate or 0)
    unit = "bytes" if rate is None else "bits a weight"

    def budget(read: Sequence[str], unread: Sequence[str] = ()) -> Budget:
        """What the layers that are read may take; the others stay in float."""
        measure = _in_dtype(own, weigh if rate is None else coded_bits(read))
        least = require_enough(model, read, wanted, measure, unit, unread)
        weights = sum(layer.weight.numel() for name, layer in layers if name in read)
        return Budget(wanted, least, 1 / 8 if rate is None else 1 / max(weights, 1), measure)

    kept = budget(names)
    with in_float32(model):
        network: Network | DataFreeNetwork
        batches = None if calibrate is None else joined(read_once(model, calibrate))
        if batches is None:
            network = DataFreeNetwork(model, names)
        else:
            require_taken(model, batches)
            network = Network(model, names, batches, seed)
            if len(network.unread) == len(names):
                raise ModelError(
                    f"the network reads none of the weights for these images, {names[0]} first; give "
                    "calibrate= inputs that go through its layers"
                )
            if network.unread:
                kept = budget([name for name in names if name not in network.unread], network.unread)
        outcome, found = round_within(network, kept, Effort())
        outcome.write_(model)
        unread = tuple(network.unread)
    how = "without labels" if calibrate is not None else "without labels or images"
    amount = f"{found:,.0f} bytes" if rate is None else f"{found:.3f} bits a weight"
    what = f"quantize {how}, {amount}"
    rows = [layer_row(name, layer) for name, layer in selected_layers(model, skip) if name not in unread]
    return replace(Record.of(model, what, rows, skip), unread=unread)


def _own_dtype(model: nn.Module) -> torch.dtype | None:
    """Returns float16 or bfloat16 where the whole model is of this dtype, else None."""
    dtypes = {t.dtype for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()}
    return dtypes.pop() if dtypes in ({torch.float16}, {torch.bfloat16}) else None


def _in_dtype(own: torch.dtype | None, measure: Measure) -> Measure:
    """Returns a measure of copies, which it changes, as they are once they have their own dtype again."""
    return measure if own is None else lambda trial: measure(trial.to(own))


def _require_own(name: str, layer: Weighted) -> None:
    require_own_values(name, layer)
    if parametrization(layer, TrainedLevels):
        raise ModelError(f"{layer.keys[0]} is training its levels; run freeze_levels before quantizing")


@torch.no_grad()
def require_enough(
    model: nn.Module,
    names: Sequence[str],
    wanted: float,
    measure: Measure,
    unit: str,
    unread: Sequence[str] = (),
) -> float:
    """Refuses a budget below what the network would take with zeros for all weights of these layers.

    Args:
        model: The network, which is left alone.
        names: Of the layers.
        wanted: The budget, in the measure's unit.
        measure: Of a network.
        unit: Its name, "bytes" or "bits a weight".
        unread: Names of layers that stay in float because the network never reads them.

    Returns:
        What it would take with zeros.

    Raises:
        RecipeError: The budget is below that.
    """
    empty = copy.deepcopy(model)
    for name, layer in weighted_layers(empty):
        if name in names:
            release(layer)
            set_latent_weight(layer, torch.zeros_like(layer.weight))
    least = measure(empty)
    if wanted < least:
        shown = f"{least:,.0f}" if unit == "bytes" else f"{least:.3f}"
        asked = f"{wanted:,.0f}" if unit == "bytes" else f"{wanted:.3f}"
        float_too = f", with {', '.join(unread)} in float, which the network never reads," if unread else ""
        raise RecipeError(
            f"zeros for all weights{float_too} would take {shown} {unit} already, more than the {asked} "
            "asked for; give more, or remove channels first (pn.shrink)"
        )
    return least


def require_taken(model: nn.Module, batches: Sequence[tuple[Any, Any]]) -> None:
    """Checks that the network takes the samples, by one of each shape.

    Args:
        model: The network.
        batches: What `read_once` gives.

    Raises:
        DataError: The network cannot be run on a batch; the message names it.
    """
    seen = set()
    with answering(model):
        for number, (inputs, _) in enumerate(batches):
            shapes = tuple((t.shape[1:], t.dtype) for t in tensors(inputs))
            if shapes in seen:
                continue
            seen.add(shapes)
            _try(model, inputs, number)


def _try(model: nn.Module, inputs: Any, number: int) -> None:
    size = _length(inputs)
    sample = tensors_as(inputs, lambda t: t[:2] if t.ndim and len(t) == size else t)
    try:
        call(model, sample)
    except PithError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"the network cannot be run on batch {number} of calibrate, {describe(inputs)}: {cause}; give "
            "samples of the shape that it is used with"
        ) from error


def joined(batches: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Returns the batches without their labels, short ones of the same shapes put together.

    Args:
        batches: What `read_once` gives.
    """
    return [(inputs, None) for inputs in _joined([inputs for inputs, _ in batches])]


def _joined(batches: Sequence[Any]) -> Iterator[Any]:
    waiting: list[Any] = []
    for inputs in batches:
        if waiting and not _alike(waiting[0], inputs):
            yield _together(waiting)
            waiting = []
        waiting.append(inputs)
        if sum(map(_length, waiting)) >= _LEAST_SAMPLES:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def _alike(one: Any, other: Any) -> bool:
    """Tells whether samples can be put together: tensors, or mappings of them, with a row for each sample."""
    parts = (_rows_by_name(one), _rows_by_name(other))
    if parts[0] is None or parts[1] is None or parts[0].keys() != parts[1].keys():
        return False
    return all(t.shape[1:] == parts[1][name].shape[1:] for name, t in parts[0].items())


def _rows_by_name(inputs: Any) -> dict[str, torch.Tensor] | None:
    """Returns the tensors of a batch by name, None where one of them is no row for each sample."""
    named = dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}
    if not all(isinstance(t, torch.Tensor) and t.ndim for t in named.values()):
        return None
    return named if len({len(t) for t in named.values()}) == 1 else None


def _together(batches: Sequence[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]
    if isinstance(batches[0], Mapping):
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    return torch.cat(list(batches))


def _length(inputs: Any) -> int:
    return len(next(tensors(inputs)))
