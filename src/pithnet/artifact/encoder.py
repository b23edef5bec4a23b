"""The bytes of a .pith file from a model, exact to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import torch
from torch import Tensor, nn

from pithnet.artifact.architecture import own_architecture
from pithnet.artifact.budget import Meter, allowance
from pithnet.artifact.container import pack, unpack
from pithnet.artifact.counters import kept_counters
from pithnet.artifact.decoder import decode_records
from pithnet.artifact.inspection import Account, Inspection
from pithnet.artifact.layout import Entry, Record, check_state, implied, layout_of, records
from pithnet.artifact.metadata import Metadata
from pithnet.artifact.record import Decoded, encode_record
from pithnet.artifact.skeleton import skeleton
from pithnet.artifact.state import plain_state
from pithnet.errors import ArtifactError
from pithnet.heartbeat import Step, working
from pithnet.surgery import Untold, activation_quantizers, untold_of, unwrapped
from pithnet.surgery.weights.ties import raw_bytes

_Read = Callable[[Record, Decoded], None]


def encode(model: nn.Module, meta: Metadata | None = None) -> bytes:
    """Returns the model as a .pith file; the same model and metadata give the same bytes.

    It takes the effective tensors of parametrized layers and chooses for each the smallest coding that gives
    it back bit for bit; nothing is rounded here, so finalize the model first. Batch counters of torch's own
    BatchNorm layers (num_batches_tracked), which read none in eval mode, are not stored; those of other
    modules are (`kept_counters`).

    Args:
        model: Any network of dense real tensors.
        meta: What the file says about it. Where it names no architecture, the model's own is taken if it is
            of the zoo and its modules still are (`own_architecture`).

    Raises:
        ArtifactError: The model has activation quantizers, or a tensor or metadata that a file cannot hold;
            the message names it.
    """
    return _encoded(model, meta, lambda: lambda record, decoded: None)


def encode_and_inspect(model: nn.Module, meta: Metadata | None = None) -> tuple[bytes, Inspection]:
    """Returns `encode` of a model, and `inspect` of that: the file is read back once for both.

    Args:
        model: Any network of dense real tensors.
        meta: What the file says about it.

    Raises:
        ArtifactError: The model cannot be stored, for the reasons that `encode` gives.
    """
    accounts: list[Account] = []

    def new_account() -> _Read:
        accounts.append(Account())
        return accounts[-1].add

    data = _encoded(model, meta, new_account)
    return data, accounts[-1].inspection(data)


def _encoded(model: nn.Module, meta: Metadata | None, begin: Callable[[], _Read]) -> bytes:
    """Returns the file.

    Args:
        model: Any network of dense real tensors.
        meta: What the file says about it.
        begin: Is called when a file is about to be read back, and gives what gets its records. The last file
            that is begun is the one returned.
    """
    model = unwrapped(model)
    check_storable(model)
    state = {name: _on_cpu(name, value) for name, value in plain_state(model).items()}
    meta = _named(meta or Metadata(), model)
    layout, is_implied = _layout(state, meta)
    ties = _ties(layout, state)
    names = {layout[a].name: layout[h].name for a, h in ties}
    counters = dict(kept_counters(model, layout, state))
    untold, said = Untold() if is_implied else untold_of(model), None if is_implied else layout
    for slowest in (2, 1, 0):  # without the slow coders where a reader would refuse that much work
        with working("encode", sum(e.size for e in layout), "numbers") as step:
            bodies = _bodies(records(layout, names), state, step, slowest)
            data = pack(meta, said, _flat(ties), _flat(counters.items()), bodies, untold)
        if _verify(data, state, meta, begin()) <= allowance(len(data)):
            break
    return data


def _bodies(
    found: Sequence[Record], state: Mapping[str, Tensor], step: Step, slowest: int
) -> Iterator[bytes]:
    for record in found:
        yield encode_record([state[e.name] for e in record.entries], record, slowest)
        step.advance(record.size)


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return [number for pair in pairs for number in pair]


def check_storable(model: nn.Module) -> None:
    """Checks that a file can hold a model.

    Raises:
        ArtifactError: The model has activation quantizers, or a tensor of another dtype or layout, without a
            printable name, or of too many dimensions; the message names the first.
    """
    quantized = activation_quantizers(model)
    if quantized:
        raise ArtifactError(
            f"the model has activation quantizers (after {next(iter(quantized))}), which a .pith does not "
            "hold; export it to ONNX, or save the model before its activations were quantized"
        )
    check_state(plain_state(model))


def _named(meta: Metadata, model: nn.Module) -> Metadata:
    """Returns the metadata with the model's architecture where they name none."""
    found = own_architecture(model) if meta.architecture is None else None
    return meta if found is None else replace(meta, architecture=found[0], arguments=found[1])


def _on_cpu(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.is_meta:
        raise ArtifactError(f"{name} holds no numbers; a .pith file holds tensors only")
    return value.detach().cpu()


def _layout(state: Mapping[str, Tensor], meta: Metadata) -> tuple[tuple[Entry, ...], bool]:
    """Returns the layout in the file's order, and whether the architecture implies it."""
    layout = layout_of(state)
    if meta.architecture is not None:
        zoo_layout = layout_of(skeleton(meta.architecture, meta.arguments).state_dict())
        if set(zoo_layout) == set(layout):
            return zoo_layout, True
    return layout, False


def _ties(layout: Sequence[Entry], state: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """Returns (place, earlier place) of tensors with equal numbers, but for constant ones: those are free."""
    first: dict[tuple[object, ...], int] = {}
    ties = []
    skipped = implied(layout)
    for i, entry in enumerate(layout):
        value = state[entry.name]
        if entry.name in skipped or entry.size < 2 or bool((value == value.reshape(-1)[0]).all()):
            continue
        key = (entry.shape, entry.dtype, blake2b(raw_bytes(value).numpy().data, digest_size=16).digest())
        holder = first.setdefault(key, i)
        if holder != i:
            ties.append((i, holder))
    return ties


def _verify(data: bytes, state: Mapping[str, Tensor], meta: Metadata, read: _Read) -> int:
    """Reads the file back, a record at a time: a second copy of everything need not fit into memory.

    Returns:
        The work that it took, in the units of `Budget`.
    """
    opened = unpack(data)
    missing = state.keys() - (implied(opened.layout) - opened.counters.keys())
    missing -= {name for name, count in opened.counters.items() if count == int(state[name])}
    numbers, meter = sum(v.numel() for v in state.values()), Meter(len(data))
    with working("read back what was encoded", numbers, "numbers") as step:
        for record, decoded in decode_records(opened, sum(e.words for e in opened.layout), meter):
            for entry, values in zip(record.entries, decoded.split(record), strict=True):
                if _identical(values, state[entry.name]):
                    missing.remove(entry.name)
            read(record, decoded)
            step.advance(record.size)
    missing -= {a for a, h in opened.aliases.items() if _identical(state[a], state[h])}
    if missing:
        raise ArtifactError(f"{min(missing)} cannot be given back bit for bit; please report this as a bug")
    if opened.metadata != meta:
        raise ArtifactError(
            "the metadata holds what a header does not keep; use plain numbers, strings and lists"
        )
    return meter.spent


def _identical(a: Tensor, b: Tensor) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape) and torch.equal(raw_bytes(a), raw_bytes(b))
