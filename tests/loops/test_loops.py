"""Any plain torch loop keeps zeros, levels, masks and indexes, bit for bit, and the weights still learn."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer

import pithnet as pn
from pithnet.learn import parameter_groups
from pithnet.surgery import shared_parameters

from .compressed import FORMS, STEPS, assert_kept, batches, equal, layers, plain, step

Loop = Callable[[nn.Module], None]


def loop(make: Callable[[Any], Optimizer]) -> Loop:
    def run(model: nn.Module) -> None:
        optimizer = make(model.parameters())
        for x, y in batches():
            step(model, optimizer, x, y)

    return run


def clipping(model: nn.Module) -> None:
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    for x, y in batches():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)
        optimizer.step()


def accumulation(model: nn.Module) -> None:
    optimizer = AdamW(model.parameters(), 0.01)
    for i, (x, y) in enumerate(batches(4 * STEPS)):
        (F.cross_entropy(model(x), y) / 4).backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


def decay_everywhere(model: nn.Module) -> None:
    """Weight decay on codebooks and levels too, in groups of their own."""
    shared = [p for p, _ in shared_parameters(model)]
    rest = [p for p in model.parameters() if not any(p is s for s in shared)]
    groups = [{"params": rest}] + ([{"params": shared, "lr": 0.01, "weight_decay": 0.5}] if shared else [])
    optimizer = SGD(groups, 0.05, momentum=0.9, weight_decay=0.05)
    for x, y in batches():
        step(model, optimizer, x, y)


def own_groups(model: nn.Module) -> None:
    optimizer = AdamW(parameter_groups(model, 0.1), 0.01)
    for x, y in batches():
        step(model, optimizer, x, y)


def autocast(model: nn.Module) -> None:
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    for x, y in batches():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def schedule_and_modes(model: nn.Module) -> None:
    """Evaluation in between, a scheduler, and the gradients set to zero instead of None."""
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=STEPS)
    for x, y in batches():
        model.train()
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
        model.eval()
        with torch.inference_mode():
            model(x)


LOOPS: dict[str, Loop] = {
    "AdamW": loop(lambda p: AdamW(p, 0.01, weight_decay=0.1)),
    "AdamW, one tensor at a time": loop(lambda p: AdamW(p, 0.01, weight_decay=0.1, foreach=False)),
    "AdamW, fused": loop(lambda p: AdamW(p, 0.01, weight_decay=0.1, fused=True)),
    "SGD": loop(lambda p: SGD(p, 0.1)),
    "SGD with momentum": loop(lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.01)),
    "SGD with Nesterov's": loop(lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.01, nesterov=True)),
    "RMSprop": loop(lambda p: torch.optim.RMSprop(p, 0.005, momentum=0.5)),
    "clipping": clipping,
    "accumulation": accumulation,
    "decay on codebooks": decay_everywhere,
    "pithnet's parameter groups": own_groups,
    "autocast to bfloat16": autocast,
    "evaluation and a scheduler": schedule_and_modes,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_50_steps(name: str, form: str) -> None:
    model = FORMS[form]()
    before = layers(model)
    LOOPS[name](model)
    assert_kept(before, model)


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_in_the_middle_goes_its_own_way(form: str) -> None:
    model = FORMS[form]()
    before, data = layers(model), batches()
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    for x, y in data[:25]:
        step(model, optimizer, x, y)
    twin = copy.deepcopy(model)
    middle = copy.deepcopy(model.state_dict())
    other = SGD(twin.parameters(), 0.05, momentum=0.9)
    for x, y in data[25:]:
        step(twin, other, x, y)
    assert all(torch.equal(v, middle[k]) for k, v in model.state_dict().items()), (
        "the copy moved the original"
    )
    for x, y in data[25:]:
        step(model, optimizer, x, y)
    for trained in (model, twin):
        assert_kept(before, trained)
    assert not equal(model, twin), "one has the momentum of 25 steps, the other none"


@pytest.mark.parametrize(
    "make", [lambda p: AdamW(p, 0.01), lambda p: SGD(p, 0.05, momentum=0.9)], ids=["AdamW", "SGD"]
)
@pytest.mark.parametrize("form", FORMS)
def test_a_state_dict_continues_to_the_same_bits(form: str, make: Callable[[Any], Optimizer]) -> None:
    whole, data = FORMS[form](), batches()
    before = layers(whole)
    optimizer, file = make(whole.parameters()), io.BytesIO()
    for i, (x, y) in enumerate(data):
        if i == 25:
            torch.save({"model": whole.state_dict(), "optimizer": optimizer.state_dict()}, file)
        step(whole, optimizer, x, y)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = pn.restore(plain(seed=9), state["model"])
    optimizer = make(resumed.parameters())
    optimizer.load_state_dict(state["optimizer"])
    for x, y in data[25:]:
        step(resumed, optimizer, x, y)
    assert equal(resumed, whole)
    assert_kept(before, resumed)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_trained_is_what_the_file_holds(form: str, tmp_path: Path) -> None:
    model = FORMS[form]()
    before = layers(model)
    LOOPS["AdamW"](model)
    if form == "levels":
        pn.freeze_levels(model)
    final = pn.finalize(model)
    pn.save(final, tmp_path / "m.pith")
    loaded = pn.load(tmp_path / "m.pith", model=plain(seed=9))
    x = batches(1)[0][0]
    assert torch.equal(loaded(x), final(x))
    for name, old in before.items():
        weight = loaded.get_submodule(name).weight
        # float16 may round a small number to zero or two to one, and never the other way.
        assert bool((weight[old.zeros] == 0).all())
        assert form == "masks" or weight[weight != 0].unique().numel() <= old.values
