"""The tensors of a model as a plain state_dict, whatever parametrizations it carries."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.surgery import evaluating, plain_key, unwrapped

_FIRST = {"weight": 0, "bias": 1}


def float32_bytes(state: Mapping[str, Tensor]) -> int:
    """Returns what a model takes as float32: 4 bytes for each floating-point number of a plain state_dict.

    BatchNorm statistics count, integer buffers (num_batches_tracked) do not, and tensors that share memory
    count once. ResNet-20 with 10 classes takes 1,084,392.
    """
    distinct = {_memory(v): v.numel() for v in state.values() if v.is_floating_point()}
    return 4 * sum(distinct.values())


def _memory(value: Tensor) -> tuple[object, ...]:
    return value.data_ptr(), tuple(value.shape), tuple(value.stride()), value.dtype


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Returns the model's state_dict, each parametrized tensor as its effective value under its plain name.

    Keys are ordered by module, and within one: weight, bias, the others by name; so a parametrized model and
    its finalized copy give the same order. Effective values are taken in eval mode; the model is left as it
    was. A tensor that is tied in the model is one tensor under several keys. A network that torch.compile or
    DataParallel wrapped has the keys it had before.
    """
    model = unwrapped(model)
    plain: dict[str, Tensor] = {}
    chains: set[str] = set()
    effective: dict[int, Tensor] = {}  # by chain: tied weights share one, and are one tensor here too
    with evaluating(model), torch.no_grad():
        for prefix, module in model.named_modules(remove_duplicate=False):
            if not parametrize.is_parametrized(module):
                continue
            start = f"{prefix}." if prefix else ""
            for name, chain in module.parametrizations.items():
                if id(chain) not in effective:
                    effective[id(chain)] = getattr(module, name).detach()
                plain[start + name] = effective[id(chain)]
                chains.add(f"{start}parametrizations.")
    kept = {k: v for k, v in model.state_dict().items() if _outside(k, chains)}
    state = kept | plain
    order = {prefix: i for i, (prefix, _) in enumerate(model.named_modules(remove_duplicate=False))}
    ordered = sorted(state.items(), key=lambda item: _rank(item[0], order))
    return {plain_key(key): value for key, value in ordered}


def _outside(key: str, chains: set[str]) -> bool:
    """Tells whether a key is none of a parametrization's: `layer.parametrizations.weight.original`, say."""
    at = key.find("parametrizations.")
    return at < 0 or key[: at + len("parametrizations.")] not in chains


def _rank(key: str, order: Mapping[str, int]) -> tuple[int, int, str]:
    module, _, name = key.rpartition(".")
    return order.get(module, len(order)), _FIRST.get(name, len(_FIRST)), name
