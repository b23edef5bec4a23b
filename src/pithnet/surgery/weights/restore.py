"""A state_dict of a compressed model back onto a plain one."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.errors import ModelError
from pithnet.surgery.graph.restore_activations import has_quantized_activations, rebuild_activations_
from pithnet.surgery.weights.chains import attach, parametrization, release, set_codebook, set_trained_levels
from pithnet.surgery.weights.fake_quantizers import FakeQuantizer, is_quantizer_state
from pithnet.surgery.weights.holders import Weighted, weighted_layers
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS, Mask
from pithnet.surgery.weights.ties import conflicting_tie
from pithnet.surgery.wrappers import plain_key, unwrapped

State = Mapping[str, Tensor]


def restore(model: nn.Module, state: State) -> nn.Module:
    """Rebuilds on `model`, in place, the compression that a state_dict's keys speak of, and loads it.

    The compression is the parametrizations of weights, and quantizers of activations, for which BNs that the
    state has folded are taken out of the model's forward. What compresses the model already is released. What
    is tied in the model must be so in the state, and is tied again; other libraries' parametrizations must be
    on the model as they were. Tensors of the state come to the model's devices. Prefixes of keys that
    torch.compile and DataParallel put are ignored.

    Args:
        model: The network, plain or compressed.
        state: Its state_dict.

    Returns:
        The model.

    Raises:
        ModelError: The state has a layer that the model has not or has in another shape, a tensor is tied in
            the model only, or a parametrization is unknown: nothing is changed then, and the message names
            it. After that it says what torch says of other keys and shapes that do not fit.
    """
    given, model = model, unwrapped(model)
    state = _plain_keys(state, model)
    layers = [layer for _, layer in weighted_layers(model, ("*",))]
    compressed = [layer for layer in layers if any(parametrization(layer, k) for k in PARAMETRIZATIONS)]
    ours = {key for layer in compressed for key in layer.keys}
    chains = {
        key: count for key, count in _chains(state).items() if key in ours or not _has_chain(model, key)
    }
    owners = {key: layer for layer in layers for key in layer.keys}
    found = {key: _owner(model, key, owners) for key in chains}
    for layer in dict.fromkeys(found.values()):
        _check(layer, chains, state)
    if has_quantized_activations(state):
        rebuild_activations_(copy.deepcopy(model), state)
    for layer in compressed:
        release(layer)
    rebuild_activations_(model, state)
    for layer in dict.fromkeys(found.values()):
        for i in range(chains[layer.keys[0]]):
            _register(layer, i, state)
    _load(model, state)
    return given


def _plain_keys(state: State, model: nn.Module) -> State:
    """Returns the state of a compiled or DataParallel model as that of the network inside."""
    keys = {key: plain_key(key) for key in state}
    if "module" not in model._modules and all(key.startswith("module.") for key in keys.values()):
        keys = {key: plain.removeprefix("module.") for key, plain in keys.items()}
    return {plain: state[key] for key, plain in keys.items()}


def _load(model: nn.Module, state: State) -> None:
    own = {plain_key(key): key for key in model.state_dict()}  # parts of it may be compiled
    state = {own.get(key, key): value for key, value in state.items()}
    conflict = conflicting_tie(model, state)
    if conflict:
        one, other = conflict
        raise ModelError(f"the model ties {one} to {other}, the state holds different numbers for them")
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as e:
        raise ModelError(f"the state does not fit the model: {' '.join(str(e).split())}") from None


def _prefix(key: str) -> str:
    """Returns where a state keeps a tensor's chain: `layer.weight` -> `layer.parametrizations.weight.`."""
    path, _, tensor = key.rpartition(".")
    return f"{path}.parametrizations.{tensor}." if path else f"parametrizations.{tensor}."


def _chains(state: State) -> dict[str, int]:
    """Returns the plain keys of the parametrized tensors, and how many parts each chain has."""
    counts: dict[str, int] = {}
    for key in state:
        match = re.fullmatch(r"((?:.*\.)?)parametrizations\.(\w+)\.(\d+)\..*", key)
        if match:
            plain = match[1] + match[2]
            counts[plain] = max(counts.get(plain, 0), int(match[3]) + 1)
    return counts


def _module(model: nn.Module, key: str) -> nn.Module | None:
    try:
        return model.get_submodule(key.rpartition(".")[0])
    except AttributeError:
        return None


def _has_chain(model: nn.Module, key: str) -> bool:
    """Tells whether the model has a parametrization of its own there: it is built with weight_norm, say."""
    module = _module(model, key)
    return module is not None and parametrize.is_parametrized(module, key.rpartition(".")[2])


def _owner(model: nn.Module, key: str, owners: Mapping[str, Weighted]) -> Weighted:
    if key in owners:
        return owners[key]
    name, module = key.rpartition(".")[0] or key, _module(model, key)
    has = "has no such layer" if module is None else f"a {type(module).__name__} there"
    raise ModelError(f"the state has a compressed layer {name!r}, the model {has}")


def _check(layer: Weighted, chains: Mapping[str, int], state: State) -> None:
    missing = next((key for key in layer.keys if key not in chains), None)
    if missing:
        one = next(key for key in layer.keys if key in chains)
        raise ModelError(
            f"the model ties {one} to {missing}, the state holds a compressed {one} alone; untie them first"
        )
    prefix = _prefix(layer.keys[0])
    for part in (f"{prefix}{i}" for i in range(chains[layer.keys[0]])):
        known = any(f"{part}.{tensor}" in state for tensor in ("mask", "levels", "index"))
        if not known and not is_quantizer_state(state.get(f"{part}._extra_state")):
            raise ModelError(f"the state has an unknown parametrization {part}")
    index, original = state.get(f"{prefix}0.index"), state.get(f"{prefix}original")
    if original is None:
        raise ModelError(f"the state has no {prefix}original, which {layer.keys[0]} is made of")
    shape = list((original if index is None else index).shape)
    if shape != list(layer.weight.shape):
        raise ModelError(
            f"{layer.keys[0]} is {shape} in the state and {list(layer.weight.shape)} in the model; "
            "build the model with the sizes it had"
        )
    if index is not None and index.numel() and not 0 <= int(index.min()) <= int(index.max()) <= len(original):
        raise ModelError(f"{layer.keys[0]} has indices beyond its codebook of {len(original)} in the state")


def _register(layer: Weighted, place: int, state: State) -> None:
    prefix, device = _prefix(layer.keys[0]), layer.weight.device
    part = f"{prefix}{place}"
    state = {key: value.to(device) for key, value in state.items() if key.startswith(prefix)}
    if f"{part}.mask" in state:
        attach(layer, Mask(state[f"{part}.mask"].clone()))
    elif f"{part}.levels" in state:
        set_trained_levels(layer, state[f"{part}.levels"], state[f"{part}.prices"])
    elif f"{part}.index" in state:
        set_codebook(layer, state[f"{part}.index"], state[f"{prefix}original"])
    else:
        levels = (state.get(f"{part}.{name}") for name in ("scale", "offset"))
        attach(layer, FakeQuantizer.from_state(layer.weight, state[f"{part}._extra_state"], *levels))
