"""How compression lives on a layer: parametrizations of its weight (torch.nn.utils.parametrize).

Every training loop, optimizer and state_dict keeps working, and the zeros and levels stay, because the
layer's `weight` is computed from them in every forward pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.errors import ModelError

Weighted = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class Mask(nn.Module):
    """weight -> weight where `mask` (bool buffer of the weight's shape), exact zero elsewhere.

    Pruned weights get no gradient, unless `recoverable`: then the gradient passes straight through, a pruned
    weight goes on learning and can come back when the mask is drawn again (Guo, Yao & Chen 2016, eq. 3).
    """

    mask: Tensor

    def __init__(self, mask: Tensor, recoverable: bool = False) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.recoverable = recoverable

    def forward(self, weight: Tensor) -> Tensor:
        # torch.where, not a product: 0 * inf is NaN and 0 * -1 is -0.0.
        masked = torch.where(self.mask, weight, 0.0)
        return weight + (masked - weight).detach() if self.recoverable else masked

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight

    def get_extra_state(self) -> Tensor:
        """`recoverable`, so that a training continued from its state_dict ranks the same weights."""
        return torch.tensor(self.recoverable)

    def set_extra_state(self, state: Tensor) -> None:
        self.recoverable = bool(state)


class Codebook(nn.Module):
    """centroids (K,) -> weight: each weight is the centroid its index names, index 0 is exact zero.

    The trainable tensor under the parametrization is the codebook itself, so a centroid's gradient is the sum
    over its members (Han, Mao & Dally 2016, section 3.3). `index`: uint8 or int32 buffer of the weight's
    shape, 0..K.
    """

    index: Tensor

    def __init__(self, index: Tensor, centroids: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index.to(torch.uint8 if len(centroids) < 256 else torch.int32))
        self._initial: Tensor | None = centroids
        self._k = len(centroids)

    def forward(self, centroids: Tensor) -> Tensor:
        table = torch.cat([centroids.new_zeros(1), centroids])
        return _look_up(table, self.index.long())

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The centroids (K,) closest to `weight`: means of their members, 0 where there are none."""
        if self._initial is not None:
            centroids, self._initial = self._initial, None
            return centroids.to(weight.dtype).clone()
        flat, size = self.index.flatten().long(), self._k + 1
        sums = weight.new_zeros(size).index_add_(0, flat, weight.flatten())
        return (sums / flat.bincount(minlength=size).clamp(min=1))[1:]


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index], its gradient summed in the order of the index, so that a seed repeats a training exactly:
    the gradient of plain indexing is added up by threads in whatever order they come.
    """
    return table.index_select(0, index.flatten()).view(index.shape)


class TrainedLevels(nn.Module):
    """weight -> nearest level, zeros kept; both the weight under it and the levels train.

    The gradient reaches the full-precision weight straight through the rounding (Bengio et al. 2013) and each
    level as the sum over its members. `prices` (K,) is what choosing a level costs in squared distance: with
    rate_weight * code length it makes the choice that of entropy-constrained quantization (Chou, Lookabaugh &
    Gray 1989).
    """

    prices: Tensor

    def __init__(self, levels: Tensor, prices: Tensor) -> None:
        super().__init__()
        self.levels = nn.Parameter(levels.clone())
        self.register_buffer("prices", prices.clone())

    def nearest(self, weight: Tensor) -> Tensor:
        """int64 indices into `levels`, of the weight's shape."""
        cost = (weight.detach()[..., None] - self.levels.detach()).square_().add_(self.prices)
        return cost.argmin(-1)

    def forward(self, weight: Tensor) -> Tensor:
        chosen = _look_up(self.levels, self.nearest(weight))
        # weight - weight.detach() is exactly zero: the value is the level, the gradient is the identity.
        return torch.where(weight == 0, 0.0, chosen + (weight - weight.detach()))

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


PARAMETRIZATIONS = (Mask, Codebook, TrainedLevels)


def set_trained_levels(layer: nn.Module, levels: Tensor, prices: Tensor) -> None:
    """Rounds the layer's weight to trainable levels after whatever masks it, in place; both tensors (K,)."""
    parametrize.register_parametrization(layer, "weight", TrainedLevels(levels, prices))


def shared_parameters(model: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    """Codebooks and trained levels, (K,) each, with the mean number of weights that share an entry."""
    for _, layer in weighted_layers(model):
        levels, codebook = parametrization(layer, TrainedLevels), parametrization(layer, Codebook)
        if isinstance(levels, TrainedLevels):
            yield levels.levels, int(layer.weight.count_nonzero()) / len(levels.levels)
        elif isinstance(codebook, Codebook):
            centroids = latent_weight(layer)
            assert isinstance(centroids, nn.Parameter)
            yield centroids, int(codebook.index.count_nonzero()) / max(len(centroids), 1)


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, Weighted]]:
    """The layers whose weights are compressed, by module name: convolutions and linear layers, each once."""
    for name, module in model.named_modules():
        if isinstance(module, _WEIGHTED):
            yield name, module


def parametrization(layer: nn.Module, kind: type[nn.Module]) -> nn.Module | None:
    """The layer's weight parametrization of that class, or None."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chain: nn.ModuleList = layer.parametrizations["weight"]  # type: ignore[index,assignment]
    return next((p for p in chain if isinstance(p, kind)), None)


def latent_weight(layer: nn.Module) -> Tensor:
    """The trainable tensor under the layer's weight: the weight itself where nothing is parametrized."""
    weight: Any = layer.weight
    if parametrize.is_parametrized(layer, "weight"):
        chain: Any = layer.parametrizations
        weight = chain["weight"].original
    assert isinstance(weight, Tensor)
    return weight


def set_mask(layer: nn.Module, mask: Tensor, recoverable: bool = False) -> None:
    """Masks the layer's weight, in place: redraws its mask where it has one, else adds one.

    Raises ModelError where the weight is shared already: pruning comes before sharing.
    """
    found = parametrization(layer, Mask)
    if isinstance(found, Mask):
        found.mask.copy_(mask)
        found.recoverable = recoverable
    elif parametrize.is_parametrized(layer, "weight"):
        raise ModelError("a shared weight cannot be pruned further; prune before sharing")
    else:
        parametrize.register_parametrization(layer, "weight", Mask(mask.clone(), recoverable))


def release(layer: nn.Module) -> None:
    """Removes the parametrizations of the layer's weight, in place; the weight keeps its values."""
    if parametrize.is_parametrized(layer, "weight"):
        # A deep copy shares its dynamic class with the original, and torch takes `weight` off that class.
        cls = type(layer)
        own = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        layer.__class__ = type(cls.__name__, cls.__bases__, own)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def set_codebook(layer: nn.Module, index: Tensor, centroids: Tensor) -> None:
    """Replaces the layer's parametrizations by a fixed assignment to trainable centroids, in place."""
    release(layer)
    parametrize.register_parametrization(layer, "weight", Codebook(index, centroids))


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Rebuilds on `model`, in place, the parametrizations that a state_dict's keys speak of, and loads it.

    What compresses the model already is released first. Raises ModelError naming a layer the state has and
    the model has not, an unknown parametrization, or what torch says of keys and shapes that do not fit.
    """
    for _, layer in weighted_layers(model):
        if any(parametrization(layer, kind) for kind in PARAMETRIZATIONS):
            release(layer)
    for name, count in _chains(state).items():
        named = _layer(model, name)
        release(named)  # a module used twice has two names
        for i in range(count):
            _register(named, f"{_prefix(name)}{i}", state)
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as e:
        raise ModelError(f"the state does not fit the model: {' '.join(str(e).split())}") from None
    return model


def _prefix(layer: str) -> str:
    return f"{layer}.parametrizations.weight." if layer else "parametrizations.weight."


def _chains(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Names of the layers with a parametrized weight ("": the model itself), and how many parts each has."""
    found = (re.fullmatch(r"(?:(.*)\.)?parametrizations\.weight\.(\d+)\..*", key) for key in state)
    parts = [(match[1] or "", int(match[2])) for match in found if match]
    return {name: 1 + max(i for other, i in parts if other == name) for name, _ in parts}


def _layer(model: nn.Module, name: str) -> nn.Module:
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        raise ModelError(f"the state has a compressed layer {name!r}, the model has no such layer") from None
    if not isinstance(layer, _WEIGHTED):
        raise ModelError(
            f"the state has a compressed layer {name!r}, the model a {type(layer).__name__} there"
        )
    return layer


def _register(layer: nn.Module, key: str, state: Mapping[str, Tensor]) -> None:
    if f"{key}.mask" in state:
        set_mask(layer, state[f"{key}.mask"])
    elif f"{key}.levels" in state:
        set_trained_levels(layer, state[f"{key}.levels"], state[f"{key}.prices"])
    elif f"{key}.index" in state:
        set_codebook(layer, state[f"{key}.index"], state[key.rpartition(".")[0] + ".original"])
    else:
        raise ModelError(f"the state has an unknown parametrization {key}")
