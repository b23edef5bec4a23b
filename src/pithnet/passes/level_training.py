"""Weight sharing with levels that train along: set up, priced while training, frozen at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pithnet.errors import RecipeError
from pithnet.heartbeat import working
from pithnet.passes.guard import finite_or_unchanged, guarded
from pithnet.passes.layers import require_finite, selected_layers
from pithnet.passes.records import Record
from pithnet.passes.share import cluster, layer_levels, shared_row
from pithnet.passes.updates import Updates
from pithnet.surgery import (
    TrainedLevels,
    Weighted,
    chain,
    latent_weight,
    parametrization,
    set_codebook,
    set_trained_levels,
    weighted_layers,
)


class LevelTraining:
    """Trains weights and levels together while a training runs; hand it to `Trainer(before_step=...)`.

    Each layer starts from entropy-constrained levels of its non-zero weights. Weights then change level as
    they train; `updates` times over the training the price of a level is set anew to rate_weight * code
    length, with the layer's current shares. `freeze_levels` afterwards fixes the assignment. Build it before
    the optimizer: the levels are new parameters.

    Args:
        model: The network, changed in place.
        bits: As `share`'s.
        levels: As `share`'s.
        init: As `share`'s.
        rate_weight: As `share`'s.
        updates: How often the prices are set anew over the training.
        overrides: As `share`'s.
        skip: As `prune`'s.
        also: As `prune`'s.
        generator: As `share`'s.

    Raises:
        RecipeError: An argument is wrong, as `share` says.
        ModelError: A layer cannot be shared, as `selected_layers` says.
    """

    def __init__(
        self,
        model: nn.Module,
        bits: int | None = None,
        *,
        levels: int | None = None,
        init: str = "optimal",
        rate_weight: float = 0.0,
        updates: int = 40,
        overrides: Mapping[str, int] | None = None,
        skip: Sequence[str] = (),
        also: Sequence[str] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        self.model, self.rate_weight = model, rate_weight
        self._updates = Updates(updates, last=0)  # the first prices are set below
        chosen = selected_layers(model, skip, also)
        counts = layer_levels(chosen, bits, levels, overrides or {}, init, rate_weight)
        self.layers = [m for _, m in chosen]
        if any(parametrization(layer, TrainedLevels) for layer in self.layers):
            return  # restored in the middle of its training
        beat = working("choose levels to train", len(self.layers), "layers")
        with finite_or_unchanged(model, "LevelTraining"), beat as step:
            for name, layer in chosen:
                found = cluster(layer.weight, counts[name], init, rate_weight, generator)
                if found is not None:
                    centroids = found.centroids.to(layer.weight.dtype)
                    set_trained_levels(layer, centroids, torch.zeros_like(centroids))
                step.advance()
            self._set_prices()

    def state_dict(self) -> dict[str, int]:
        """Returns what a later process needs to go on from here."""
        return {"update": self._updates.last}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from where `state_dict` was taken."""
        self._updates.last = state["update"]

    def __call__(self, done: float) -> None:
        """Sets the prices anew if it is time for it; `done` is the share of the training, in [0, 1]."""
        # After the last step a new price would change levels that no training answers for.
        if done < 1 and self._updates.due(done):
            self._set_prices()

    @torch.no_grad()
    def _set_prices(self) -> None:
        for layer in self.layers:
            levels = parametrization(layer, TrainedLevels)
            if levels is None:
                continue
            require_finite(layer)
            index, latent = _chosen(layer, levels)
            counts = index[index > 0].bincount(minlength=len(levels.levels) + 1)[1:].double()
            # A level nobody uses keeps the price of a single member, so that weights may still move to it.
            lengths = -(counts.clamp(min=1) / counts.sum().clamp(min=1)).log2()
            scale = float(latent[index > 0].double().square().mean()) if int(counts.sum()) else 0.0
            levels.prices.copy_(self.rate_weight * scale * lengths)


def _chosen(layer: Weighted, levels: TrainedLevels) -> tuple[Tensor, Tensor]:
    """int64 index 0 (zero) or 1..K (level) per weight, and the full-precision weights, zeros included."""
    weight = latent_weight(layer)
    for step in chain(layer):
        if step is levels:
            break
        weight = step(weight)
    return torch.where(weight == 0, 0, levels.nearest(weight) + 1), weight


@guarded
@torch.no_grad()
def freeze_levels(model: nn.Module) -> Record:
    """Fixes, in place, the assignment of layers with trained levels; the levels in use become a codebook.

    Raises:
        RecipeError: No layer has trained levels.
        ModelError: A weight holds NaN or inf; the message names it.
    """
    rows = []
    for name, layer in weighted_layers(model):
        levels = parametrization(layer, TrainedLevels)
        if levels is None:
            continue
        require_finite(layer)
        index, _ = _chosen(layer, levels)
        used = index[index > 0].unique()
        renumber = torch.zeros(len(levels.levels) + 1, dtype=torch.int64, device=used.device)
        renumber[used] = torch.arange(1, len(used) + 1, device=used.device)
        set_codebook(layer, renumber[index], levels.levels.detach()[used - 1].clone())
        rows.append(shared_row(name, layer))
    if not rows:
        raise RecipeError("no layer has trained levels to freeze")
    return Record.of(model, "freeze levels", rows)
