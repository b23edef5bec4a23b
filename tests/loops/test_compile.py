"""torch.compile takes a compressed model whole, and its training keeps zeros and levels."""

from __future__ import annotations

import pytest
import torch

from .compressed import FORMS, assert_kept, batches, layers, step


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_training_of_50_steps(form: str) -> None:
    eager, model = FORMS[form](), FORMS[form]()
    before = layers(model)
    # aot_eager traces forward and backward as inductor does, and needs no C++ compiler.
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    optimizers = [torch.optim.SGD(m.parameters(), 0.05, momentum=0.9) for m in (eager, model)]
    for x, y in batches():
        step(compiled, optimizers[1], x, y)
        step(eager, optimizers[0], x, y)
    assert_kept(before, model)
    for name, layer in layers(eager).items():
        torch.testing.assert_close(layers(model)[name].weight, layer.weight, rtol=1e-3, atol=1e-4)
