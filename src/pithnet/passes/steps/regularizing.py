"""The pass `regularize`."""

from __future__ import annotations

import torch
from torch import nn

from pithnet.learn import StepSchedule
from pithnet.passes.needs import Given
from pithnet.passes.records import Record
from pithnet.passes.regularized.regularization import Regularization
from pithnet.passes.regularized.settings import RegularizationSettings
from pithnet.passes.sketch import Sketch
from pithnet.passes.step import Pass
from pithnet.passes.steps.order import refuse_after_coding
from pithnet.passes.steps.pruning import cut
from pithnet.recipe import Regularize
from pithnet.results import LayerRow


class Regularizing(Pass[Regularize]):
    """Zeros by a regularizer that trains along; at its end the weights are masked."""

    config = Regularize
    _work: Regularization | None = None

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        s = self.settings
        choice = RegularizationSettings(**s.model_dump(exclude={"skip", "also"}))
        layers = sketch.selected(s, self.name)
        refuse_after_coding(layers, f"{self.name} {s.title}")
        choice.check([layer.layer for layer in layers])
        if s.sparsity is not None:
            scores = [torch.where(m.rows != 0, m.rows.abs(), -1.0) for m in layers]
            cut(layers, scores, s.sparsity, s.scope)
        return [layer.row() for layer in layers]

    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        return self.resume(model, given)

    def resume(self, model: nn.Module, given: Given) -> StepSchedule | None:
        self._work = Regularization(model, **self.settings.options)
        return self._work

    def finish(self) -> Record:
        assert self._work is not None
        return self._work.finish()
