"""LSTM, GRU and RNN with parametrized weights: torch runs them from a list of tensors of their own.

`_flat_weights` is filled when a module is made and moved, so a parametrization put on later may be seen late
or never, and what it computed must not be kept there: a graph would live on, and copies would fail.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def follow_parametrizations_(module: nn.Module) -> None:
    """Lets a parametrized recurrent module read its weights anew in every forward pass, in place.

    Any other module is left as it is. cuDNN then copies the weights into its own order in every forward pass.
    """
    if not isinstance(module, nn.RNNBase):
        return
    cls: Any = type(module)  # the module's own: torch makes it for the parametrization
    cls._flat_weights = property(_current_weights, _leave)
    cls._update_flat_weights = _leave
    cls.flatten_parameters = _leave
    module.__dict__.pop("_flat_weights", None)


def hold_weights_(module: nn.Module) -> None:
    """Lets a recurrent module whose last parametrization was taken off hold its weights again, in place."""
    if isinstance(module, nn.RNNBase) and "_flat_weights" not in vars(type(module)):
        module._init_flat_weights()


def _current_weights(module: nn.RNNBase) -> list[Any]:
    return [getattr(module, name, None) for name in module._flat_weights_names]


def _leave(module: nn.RNNBase, value: object = None) -> None:
    """Keeps nothing: what the module computes with is computed when it is asked for."""
