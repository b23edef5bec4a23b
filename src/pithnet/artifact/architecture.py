"""Which network of the zoo a model is: with that, its file can be loaded by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from pithnet.artifact.layout import layout_of
from pithnet.artifact.metadata import Metadata
from pithnet.artifact.skeleton import skeleton
from pithnet.artifact.state import plain_state
from pithnet.errors import ArtifactError
from pithnet.zoo import ARCHITECTURES

_log = logging.getLogger(__name__)

# What changes nothing in eval mode, in which files are loaded. p: of dropout.
_TRAINING_ONLY = {"training", "momentum", "inplace", "track_running_stats", "p"}
_PLAIN = (str, int, float, tuple, type(None))


def own_architecture(model: nn.Module) -> tuple[str, dict[str, Any]] | None:
    """Returns (name, arguments) of the zoo as `model.architecture` says, None where it says no such thing.

    It is also None where the architecture is the zoo's, but modules were replaced or set otherwise, since the
    name would load as another function; the first difference is then logged.

    Args:
        model: Any network.
    """
    match getattr(model, "architecture", None):
        case (str(name), Mapping() as arguments) if name in ARCHITECTURES:
            pass
        case _:
            return None
    try:
        network = skeleton(name, arguments)
    except ArtifactError:
        return None
    # Tensors that differ need no care: loading by name refuses them, and says which.
    if set(layout_of(network.state_dict())) == set(layout_of(plain_state(model))):
        difference = _difference(_modules(model), _modules(network))
        if difference is not None:
            _log.warning(
                "the file names no architecture, because the model is no longer %s: %s; "
                "to load it, build the network and pass it: load(path, model=...)",
                name,
                difference,
            )
            return None
    return name, dict(arguments)


def with_architecture(meta: Metadata, model: nn.Module) -> Metadata:
    """Returns the metadata with the architecture of a model, and without any where it is not the zoo's.

    Args:
        meta: What else a file says about the model.
        model: Any network.
    """
    name, arguments = own_architecture(model) or (None, {})
    return replace(meta, architecture=name, arguments=arguments)


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the modules by name, without those that parametrizations are made of."""
    return {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if "parametrizations" not in name.split(".")
    }


def _difference(own: Mapping[str, nn.Module], zoos: Mapping[str, nn.Module]) -> str | None:
    """Describes the first module or setting that is not the zoo's; None where all are."""
    for name in [*zoos, *own]:
        if name not in own or name not in zoos:
            return f"{name} is {'missing' if name in zoos else 'added'}"
        kind, expected = _kind(own[name]), _kind(zoos[name])
        if kind is not expected:
            return f"{name or 'it'} is a {kind.__name__} and no {expected.__name__}"
        for setting, value in vars(zoos[name]).items():
            if setting.startswith("_") or setting in _TRAINING_ONLY or not isinstance(value, _PLAIN):
                continue
            mine = getattr(own[name], setting, None)
            if not isinstance(mine, _PLAIN) or mine != value:
                return f"{name}.{setting} is {mine!r}, not {value!r}".lstrip(".")
    return None


def _kind(module: nn.Module) -> type:
    kind = parametrize.type_before_parametrizations(module)
    return nn.BatchNorm2d if kind is nn.SyncBatchNorm else kind  # the same in eval mode
