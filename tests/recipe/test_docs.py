"""docs/recipes.md says what the schema and the registries say; its examples can be carried out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import yaml
from pydantic import BaseModel, create_model

import pithnet as pn
from pithnet.learn import PRECISIONS
from pithnet.learn.schedules import SCHEDULES
from pithnet.passes import GRANULARITIES as PRUNED_TOGETHER
from pithnet.passes import RAMPS, SCOPES, Given
from pithnet.passes.regularized.terms import GROUPS, HOWS
from pithnet.recipe import (
    Distill,
    Keep,
    PostTraining,
    Prune,
    Quantize,
    Recipe,
    Regularize,
    Share,
    Shrink,
    Step,
    Train,
    passes,
    schema,
)
from pithnet.run.plan import make_plan
from pithnet.surgery.weights.finalize import ROUNDINGS
from pithnet.tensor import AGGREGATIONS, CHANNEL_CRITERIA, CRITERIA, REGULARIZERS
from pithnet.tensor.clustering._inits import INITS
from pithnet.tensor.observers import OBSERVERS
from pithnet.tensor.quantizers import FITS, GRANULARITIES, QUANTIZERS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "recipes.md").read_text()
COLUMNS = ["key", "default", "values", "what it does"]
# The one description of a training is a plain dataclass; here it becomes a part as the others are.
TRAIN = create_model(
    "Train",
    **{  # type: ignore[call-overload]
        field.name: (
            get_type_hints(Train, include_extras=True)[field.name],
            ... if field.default is MISSING else field.default,
        )
        for field in fields(Train)
    },
)
SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": Recipe,
    "A step": Step,
    "`prune`": Prune,
    "`regularize`": Regularize,
    "`shrink`": Shrink,
    "`share`": Share,
    "`quantize`": Quantize,
    "`post_training`": PostTraining,
    "`train`": TRAIN,
    "`distill`": Distill,
    "`storage`": Keep,
}
NAMES: dict[str, Iterable[str]] = {
    "scope": SCOPES,
    "criterion": CRITERIA,
    "channel criterion": CHANNEL_CRITERIA,
    "pruned together": PRUNED_TOGETHER,
    "ramp": RAMPS,
    "how": HOWS,
    "regularizer": REGULARIZERS,
    "init": INITS,
    "quantizer": QUANTIZERS,
    "granularity": GRANULARITIES,
    "fit": FITS,
    "observer": OBSERVERS,
    "schedule": SCHEDULES,
    "format": ROUNDINGS,
}
# Plain strings in the schema, because it knows no torch: the values that the passes take.
STRINGS = {
    (Prune, "criterion"): CRITERIA,
    (Quantize, "quantizer"): QUANTIZERS,
    (Quantize, "fit"): FITS,
    (Shrink, "criterion"): CHANNEL_CRITERIA,
    (Shrink, "aggregation"): AGGREGATIONS,
}

Row = list[str]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def tables(section: str) -> dict[str, list[Row]]:
    """The tables of a section by the first word of their header; rows of cells, the header's first."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    found = {}
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        header, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
        assert header[0] not in found
        assert {len(row) for row in rows} == {len(header)}, header
        found[header[0]] = [header, *rows]
    return found


def all_tables() -> dict[str, list[Row]]:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    return {name: table for heading in headings for name, table in tables(heading).items() if name != "key"}


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


def keys(part: type[BaseModel]) -> dict[str, Row]:
    """The rows of a class's table by key, each without it."""
    (section,) = [section for section, found in SECTIONS.items() if found is part]
    header, *rows = tables(section)["key"]
    assert header == COLUMNS
    return {coded(row[0])[0]: row[1:] for row in rows}


FIELDS = [(part, key) for part in SECTIONS.values() for key in part.model_fields]
ids = [f"{part.__name__}.{key}" for part, key in FIELDS]


def test_every_class_of_the_schema_has_a_table() -> None:
    named = [*vars(schema).values(), *vars(passes).values()]
    found = {v for v in named if isinstance(v, type) and issubclass(v, schema.Part)}
    assert found - {schema.Part, schema.PassSettings} == set(SECTIONS.values()) - {TRAIN}


@pytest.mark.parametrize("part", SECTIONS.values(), ids=lambda part: part.__name__)
def test_keys_are_those_of_the_schema(part: type[BaseModel]) -> None:
    assert sorted(keys(part)) == sorted(part.model_fields)


@pytest.mark.parametrize(("part", "key"), FIELDS, ids=ids)
def test_the_default_is_the_real_one(part: type[BaseModel], key: str) -> None:
    default, field = keys(part)[key][0], part.model_fields[key]
    if field.is_required():
        assert default == "*required*"
        return
    (shown,) = coded(default)
    value = field.get_default()
    plain = value.model_dump(exclude_defaults=True) if isinstance(value, BaseModel) else value
    assert json.dumps(yaml.safe_load(shown)) == json.dumps(plain)


def span(found: dict[str, Any]) -> str:
    """The range of a number's JSON schema as the page words it."""
    low, above = found.get("minimum"), found.get("exclusiveMinimum")
    high, below = found.get("maximum"), found.get("exclusiveMaximum")
    if above is not None:
        return f", above {above:g}" + ("" if high is None else f", up to {high:g}")
    if low is None:
        return ""
    if below is not None:
        return f", {low:g} to below {below:g}"
    return f", {low:g} or more" if high is None else f", {low:g} to {high:g}"


def wording(part: type[BaseModel], key: str) -> str | None:
    """The values a key takes, as the page words them; None for text, lists and mappings."""
    found = part.model_json_schema()["properties"][key]
    found = found.get("anyOf", [found])[0]  # what it takes beside null
    names = STRINGS.get((part, key), found.get("enum"))
    if names is not None:
        return ", ".join(f"`{name}`" for name in names)
    if "$ref" in found:
        return f"[{key}](#{key})"
    kinds = {"integer": "whole number", "number": "number", "boolean": "true, false"}
    if found["type"] not in kinds:
        return None
    return kinds[found["type"]] + span(found)


@pytest.mark.parametrize(("part", "key"), FIELDS, ids=ids)
def test_values_are_those_that_the_schema_takes(part: type[BaseModel], key: str) -> None:
    wanted, values = wording(part, key), keys(part)[key][1]
    assert values
    assert wanted in (None, re.sub(",? or null$", "", values))


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_registry(name: str) -> None:
    _, *rows = all_tables()[name]
    assert [coded(row[0]) for row in rows] == [[known] for known in NAMES[name]]
    assert all(row[-1] for row in rows)


def test_precisions_groups_and_presets_are_there() -> None:
    assert sorted(coded(keys(Recipe)["precision"][1])) == sorted(PRECISIONS)
    assert coded(keys(Regularize)["groups"][1]) == list(GROUPS)
    intro = PAGE.split("\n## ")[0]
    assert {name for name in coded(intro) if name in pn.recipe.presets()} == set(pn.recipe.presets())


def test_regularizers_have_the_ways_and_parameters_that_they_take() -> None:
    _, *rows = all_tables()["regularizer"]
    for name, hows, parameters, _ in rows:
        kind = REGULARIZERS[coded(name)[0]]
        proxes = {"proximal", "admm"} if kind.has_prox else set()
        assert set(coded(hows)) == proxes | ({"loss"} if kind.has_subgradient else set())
        own = [f for f in fields(kind) if f.name not in ("strength", "k", "dim")]
        assert parameters == ", ".join(f"`{f.name}` {f.default}" for f in own if f.default is not MISSING)


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.split("\n")[0])
def test_examples_are_valid_and_can_be_carried_out(block: str) -> None:
    recipe = pn.recipe.parse(yaml.safe_load(block), "docs/recipes.md")
    plan = make_plan(pn.zoo.build("digits-cnn", width=4), recipe)
    assert all(row.zeros for row in plan.layers)
    assert plan.ratio > 1


def test_there_are_four_examples() -> None:
    kinds = [[step.kind for step in pn.recipe.parse(yaml.safe_load(b), "x").steps] for b in blocks("yaml")]
    assert kinds == [
        ["prune"],
        ["prune", "quantize"],
        ["prune", "share", "train"],
        ["prune", "post_training"],
    ]
    *_, last = (pn.recipe.parse(yaml.safe_load(block), "docs/recipes.md") for block in blocks("yaml"))
    smallest = pn.load_recipe("smallest")
    assert (last.steps, last.distill, last.storage) == (smallest.steps, smallest.distill, smallest.storage)


def test_python_block_runs() -> None:
    _, block = blocks("python")
    torch.manual_seed(0)
    model, images = pn.zoo.build("digits-cnn", width=4), torch.randn(16, 1, 8, 8)
    names: dict[str, Any] = {"pn": pn, "model": model, "images": images}
    exec(compile(block, "docs/recipes.md", "exec"), names)
    assert [layer.bits for layer in names["record"].layers] == [4] * 4
    assert names["record"].sparsity >= 0.5
    assert "activations 8" in names["record"].what


def test_the_criterion_of_the_page_prunes_what_is_near_to_a_half() -> None:
    block, _ = blocks("python")
    try:
        exec(compile(block, "docs/recipes.md", "exec"), {})
        layer = torch.nn.Linear(4, 1, bias=False)
        layer.weight.data = torch.tensor([[0.0, 0.4, -0.5, 2.0]])
        pn.prune(layer, 0.5, criterion="far-from-half")
        assert layer.weight.tolist() == [[0.0, 0.0, 0.0, 2.0]]
        assert layer.parametrizations.weight[0].mask.tolist() == [[True, False, False, True]]
    finally:
        CRITERIA.pop("far-from-half", None)


T = {"epochs": 1}
IMAGE = Given(example=torch.zeros(1, 1, 8, 8))
PASSES: dict[str, list[dict[str, Any]]] = {
    "prune": [{"prune": {"sparsity": 0.5}}],
    "regularize": [{"regularize": {"sparsity": 0.5}, "train": T}],
    "shrink": [{"shrink": {"macs": 0.8, "round_to": 1}}],
    "share": [{"share": {"bits": 2}}, {"share": {"bits": 2, "trained": True}, "train": T}],
    "quantize": [{"quantize": {"bits": 4, "quantizer": "lsq"}}],
    "post_training": [{"post_training": {"bytes": 0.2}}],
    "train": [{"train": T}],
}


def orders() -> list[tuple[str, str, str]]:
    """(first, later, what the page says) for each pair of its table of orders."""
    header, *rows = tables("Which step may follow which")["first \\ later"]
    return [
        (first, later, cell)
        for row in rows
        for column, cell in zip(header[1:], row[1:], strict=True)
        for first in coded(row[0])
        for later in coded(column)
    ]


@pytest.mark.parametrize(("first", "later", "said"), orders(), ids=lambda x: x.split(",")[0])
def test_what_may_follow_what(first: str, later: str, said: str) -> None:
    assert said.split(",")[0] in ("yes", "refused")
    for one in PASSES[first]:
        for other in PASSES[later]:
            recipe = pn.recipe.parse({"name": "x", "steps": [one, other]}, "x")
            model = pn.zoo.build("digits-cnn", width=4)
            if said.startswith("yes"):
                assert len(make_plan(model, recipe, IMAGE).layers) == 4
                continue
            with pytest.raises(pn.PithError, match=r"(prune|shrink) before"):
                make_plan(model, recipe, IMAGE)


def test_every_pair_of_passes_is_in_the_table() -> None:
    pairs = {(first, later) for first, later, _ in orders()}
    assert pairs == {(a, b) for a in PASSES if a != "train" for b in PASSES}


def test_a_mask_from_before_is_drawn_anew_after_quantizing() -> None:
    steps = [PASSES["prune"][0], PASSES["quantize"][0], {"prune": {"sparsity": 0.7}}]
    plan = make_plan(pn.zoo.build("digits-cnn", width=4), pn.recipe.parse({"name": "x", "steps": steps}, "x"))
    assert sum(row.zeros for row in plan.layers) == pytest.approx(0.7 * 980, abs=1)


def test_links_lead_to_headings() -> None:
    anchors = {h.replace("`", "").lower().replace(" ", "-") for h in re.findall(r"^## (.*)$", PAGE, re.M)}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
