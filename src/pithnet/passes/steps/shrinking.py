"""The pass `shrink`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pithnet.errors import RecipeError
from pithnet.learn import StepSchedule
from pithnet.passes.file_size import Weigh, file_bytes
from pithnet.passes.needs import Given, Need
from pithnet.passes.records import Record
from pithnet.passes.shrinking.budgets import Asked
from pithnet.passes.shrinking.candidates import plan_within
from pithnet.passes.shrinking.choices import Rules
from pithnet.passes.shrinking.gradual import GradualShrinking
from pithnet.passes.shrinking.plan import ShrinkPlan
from pithnet.passes.shrinking.ranking import Ranking
from pithnet.passes.shrinking.sparsity import ChannelSparsity
from pithnet.passes.sketch import Sketch
from pithnet.passes.step import Pass
from pithnet.recipe import Shrink
from pithnet.results import LayerRow
from pithnet.surgery import cut_channels_, find_channels, weighted_layers
from pithnet.tensor import CHANNEL_CRITERIA


class Shrinking(Pass[Shrink]):
    """Channels removed under a budget: at once, or after a training on a ramp or with a penalty."""

    config = Shrink
    _ramp: GradualShrinking | None = None
    _sparsity: ChannelSparsity | None = None
    _record: Record | None = None
    _removed: list[int] | None = None

    @property
    def needs(self) -> frozenset[Need]:
        """An input to follow the forward with, and what the budget and the criterion look at."""
        s = self.settings
        criterion = CHANNEL_CRITERIA.get(s.criterion)
        asked = {
            Need.EXAMPLE: True,
            Need.WEIGH: s.bytes is not None,
            Need.BATCHES: criterion is not None and criterion.needs_batches,
            Need.LABELS: criterion is not None and criterion.needs_labels,
        }
        return frozenset(need for need, wanted in asked.items() if wanted)

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        given.require(self.needs & {Need.EXAMPLE}, f"{self.name} {self.settings.title}")
        coded = [
            layer.name
            for layer in sketch.layers
            if {"share", "quantize", "post_training"} & set(layer.passes)
        ]
        if coded:
            raise RecipeError(f"{self.name} comes after {coded[0]} has got its levels; shrink before")
        # What a criterion will see of the data is not known yet; magnitudes stand in for it.
        seen = "l1" if self.needs & {Need.BATCHES} else self.settings.criterion
        plan = plan_within(
            sketch.model,
            given.sample,
            self._asked,
            Ranking(seen, self.settings.aggregation, self.settings.consumers, given.seed),
            self._rules,
            given.weigh or file_bytes,
        )
        before = {layer.name: layer.shape for layer in sketch.layers}
        sketch.go_on_with(plan.cut(), self.name)
        smaller = [layer for layer in sketch.layers if layer.shape != before[layer.name]]
        return [layer.row(outputs=plan.widths.get(layer.name)) for layer in smaller]

    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        if self.settings.trains:
            return self._schedule(model, given, self.settings.options)
        plan = plan_within(
            model, given.sample, self._asked, self._ranking(given), self._rules, self._weigh(given)
        )
        self._cut(plan)
        return None

    def resume(self, model: nn.Module, given: Given) -> StepSchedule | None:
        options = self.settings.options
        if options["bytes"] is not None:  # a share of what the network had at first: its state says how many
            options["bytes"] = 1.0
        return self._schedule(model, given, options)

    def _schedule(self, model: nn.Module, given: Given, options: dict[str, Any]) -> StepSchedule | None:
        s = self.settings
        if s.penalty is not None:
            seen = self._ranking(given)
            self._sparsity = ChannelSparsity(
                model,
                given.sample,
                **s.penalty_options,
                **options,
                seed=seen.seed,
                batches=seen.batches,
                loss=seen.loss,
                weigh=self._weigh(given),
            )
            return self._sparsity
        if s.ramp:
            self._ramp = GradualShrinking(
                model,
                given.sample,
                asked=self._asked,
                ranking=self._ranking(given),
                rules=self._rules,
                weigh=self._weigh(given),
                ramp=s.ramp,
                schedule=s.schedule,
                updates=s.updates,
            )
        return self._ramp

    def finish(self) -> Record:
        if self._ramp is not None:
            assert self._ramp.plan is not None
            self._cut(self._ramp.plan)
        if self._sparsity is not None:
            self._cut(self._sparsity.finish())
        assert self._record is not None
        return self._record

    @property
    def structure(self) -> dict[str, Any] | None:
        return None if self._removed is None else {"removed": self._removed}

    def rebuild(self, model: nn.Module, given: Given, structure: dict[str, Any]) -> None:
        cut_channels_(model, find_channels(model, given.sample), structure["removed"])

    def _cut(self, plan: ShrinkPlan) -> None:
        before = {name: layer.weight.shape for name, layer in weighted_layers(plan.model)}
        plan.cut_()
        rows = [
            LayerRow(name, layer.weight.numel(), _zeros(layer.weight), outputs=plan.widths.get(name))
            for name, layer in weighted_layers(plan.model)
            if layer.weight.shape != before[name]
        ]
        self._removed = sorted(plan.removed)
        self._record = Record(f"{self.name} {self.settings.title}", tuple(rows))

    @property
    def _asked(self) -> Asked:
        s = self.settings
        return Asked(
            s.scope, {"macs": s.macs, "parameters": s.parameters, "bytes": s.bytes, "rates": s.rates}
        )

    @property
    def _rules(self) -> Rules:
        return Rules(self.settings.round_to, self.settings.floor, self.settings.skip)

    def _ranking(self, given: Given) -> Ranking:
        s = self.settings
        looks = Need.BATCHES in self.needs
        batches, loss = (given.batches, given.loss) if looks else (None, None)
        return Ranking(s.criterion, s.aggregation, s.consumers, given.seed, batches, loss)

    def _weigh(self, given: Given) -> Weigh:
        known = given.weigh if Need.WEIGH in self.needs else None
        return known or file_bytes


def _zeros(weight: Tensor) -> int:
    return weight.numel() - int(weight.count_nonzero())
