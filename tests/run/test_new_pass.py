"""A pass that is not pithnet's own: registered in a few lines, it goes from recipe to report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import pithnet as pn
from pithnet.errors import RecipeError
from pithnet.passes import Given, Need, Pass, Record, Sketch, forget, register, selected_layers
from pithnet.recipe import PassSettings, parse, to_yaml
from pithnet.report import publish
from pithnet.results import LayerRow, Store
from pithnet.run.plan import make_plan
from pithnet.surgery import latent_weight
from tests.run.running import Crash, Parts, Shown, run
from tests.run.test_compression import network, training

RECIPE = {
    "name": "clipped",
    "steps": [
        {"clip": {"limit": 0.1}, "train": {"epochs": 2, "lr": 0.01}},
        {"prune": {"sparsity": 0.5}},
        {"share": {"bits": 2}},
    ],
}


class ClipSettings(PassSettings):
    limit: float = 1.0


class Clip(Pass[ClipSettings]):
    """Clips weights to [-limit, limit]."""

    config = ClipSettings

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        return [layer.row() for layer in sketch.selected(self.settings, self.name)]

    def begin(self, model: nn.Module, given: Given) -> None:
        layers = selected_layers(model, self.settings.skip, self.settings.also)
        with torch.no_grad():
            for _, layer in layers:
                latent_weight(layer).clamp_(-self.settings.limit, self.settings.limit)
        rows = [LayerRow(name, layer.weight.numel(), 0) for name, layer in layers]
        self.record = Record.of(model, f"clip to {self.settings.limit}", rows)

    def finish(self) -> Record:
        return self.record


class Curious(Clip):
    """Reads batches without declaring that it needs them."""

    def begin(self, model: nn.Module, given: Given) -> None:
        list(given.batches or ())


class Labelled(Clip):
    """Needs labels."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.LABELS})


@pytest.fixture
def clip(request: pytest.FixtureRequest) -> Iterator[None]:
    register("clip", getattr(request, "param", Clip))
    yield
    forget("clip")


def parts(**changes: object) -> Parts:
    return {"model": network(), "train": training(), **changes}


@pytest.mark.usefixtures("clip")
def test_it_is_planned_carried_out_recorded_reported_and_resumed(tmp_path: Path) -> None:
    recipe = parse(RECIPE, "test")
    assert parse(yaml.safe_load(to_yaml(recipe)), "again") == recipe
    plan = make_plan(network(), recipe)
    assert plan.steps[0].title == "clip"
    assert {layer.passes for layer in plan.layers} == {"clip, prune, share"}
    with Store.create(tmp_path / "whole", {}) as store:
        whole = run(parts(), recipe, store)
        first = store.events("pass")[0]
    assert first["what"] == "clip to 0.1"
    assert [row["name"] for row in first["layers"]] == [row.name for row in plan.steps[0].rows]
    with Store.create(tmp_path / "cut", {}) as store, pytest.raises(Crash):
        run(parts(), recipe, store, Shown(crash_at=1))
    with Store.open(tmp_path / "cut") as store:
        assert run(parts(), recipe, store).data == whole.data
    result = pn.compress(network(), training(), recipe=recipe, out=tmp_path / "api")
    page = publish(tmp_path / "api").read_text()
    assert "clip to 0.1" in page
    assert result.bytes == len((tmp_path / "api" / "model.pith").read_bytes())
    assert json.loads((tmp_path / "api" / "plan.json").read_text())["steps"][0]["title"] == "clip"


@pytest.mark.usefixtures("clip")
def test_its_settings_are_checked_as_any_others() -> None:
    steps = [{"clip": {"limitt": 1}}]
    with pytest.raises(RecipeError, match=r"unknown key 'steps.0.clip.limitt'. Did you mean limit"):
        parse({"name": "x", "steps": steps}, "test")
    with pytest.raises(RecipeError, match="a step has a key 'clip' already"):
        register("clip", Clip)


def test_without_the_registration_there_is_no_such_key() -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'steps.0.clip'"):
        parse(RECIPE, "test")


@pytest.mark.parametrize("clip", [Curious], indirect=True)
@pytest.mark.usefixtures("clip")
def test_what_a_pass_did_not_ask_for_it_does_not_get() -> None:
    with pytest.raises(TypeError, match="reads 'batches' and does not declare that it needs it"):
        run(parts(), parse(RECIPE, "test"))


@pytest.mark.parametrize("clip", [Labelled], indirect=True)
@pytest.mark.usefixtures("clip")
def test_what_a_pass_needs_and_there_is_not_is_said_before_anything_changes() -> None:
    with pytest.raises(RecipeError, match="clip needs training data with labels"):
        run(parts(train=training(labelled=False), teacher=network(1)), parse(RECIPE, "test"))
    once = parse({"name": "once", "steps": [{"clip": {}}]}, "test")
    run(parts(), once)  # labels are found without a training, too
    with pytest.raises(RecipeError, match="clip needs training data with labels"):
        run(parts(train=None), once)
