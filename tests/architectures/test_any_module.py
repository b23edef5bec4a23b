"""Any nn.Module goes the whole way: prune, share, train, finalize, file, and back into a fresh network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.run.plan import make_plan
from pithnet.surgery import Codebook, latent_weight, weighted_layers

from .networks import NETWORKS, build, inputs, numbers, train_

# The file of a network so small is mostly its header, and a trivial way may be smaller.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* bytes and this file:pithnet.PithWarning"),
    pytest.mark.filterwarnings("ignore:only .* of the parameters will be:pithnet.PithWarning"),
]

RECIPE = pn.recipe.parse(
    {
        "name": "any",
        "batch_size": 16,
        "steps": [
            {"prune": {"sparsity": 0.5, "ramp": 0.5}, "train": {"epochs": 2, "lr": 0.02}},
            {"share": {"levels": 6, "trained": True}, "train": {"epochs": 1, "lr": 0.01}},
        ],
    },
    "any",
)


def compressed(name: str) -> nn.Module:
    model = build(name)
    pn.prune(model, 0.5)
    pn.share(model, bits=3)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_gives_the_finalized_network(name: str, tmp_path: Path) -> None:
    model, x = compressed(name), inputs(name)
    before = {n: layer.weight.detach().clone() for n, layer in weighted_layers(model)}
    train_(model, inputs(name, seed=1), 3)
    for n, layer in weighted_layers(model):
        assert torch.equal(before[n] == 0, layer.weight == 0)
        assert len(before[n].unique()) == len(layer.weight.unique())
        assert torch.equal(before[n], layer.weight) is not latent_weight(layer).requires_grad, n
    final = pn.finalize(model)
    torch.testing.assert_close(final(x), model(x), rtol=0.05, atol=0.05)
    pn.artifact.save(tmp_path / "m.pith", pn.encode(final))
    fresh = NETWORKS[name]()
    loaded = pn.load(tmp_path / "m.pith", model=fresh)
    assert loaded is fresh
    assert torch.equal(loaded(x), final(x))
    assert ties(loaded) == ties(NETWORKS[name]()) == ties(final)


def ties(model: nn.Module) -> list[set[str]]:
    """Names of the parameters that are one and the same."""
    names: dict[int, set[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), set()).add(name)
    return [group for group in names.values() if len(group) > 1]


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "everything"])
def test_through_pn_compress(name: str, tmp_path: Path) -> None:
    model, x = build(name), inputs(name, 32)
    kept = numbers(model)
    batches = [(x[i : i + 16], torch.arange(16) % 10) for i in (0, 16)]
    result = pn.compress(model, train=batches, val=batches, recipe=RECIPE)
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    result.save(tmp_path / "m.pith")
    loaded = pn.load(tmp_path / "m.pith", model=NETWORKS[name]())
    assert torch.equal(loaded(x), result.model(x))


def test_everything_through_pn_compress(tmp_path: Path) -> None:
    model, x = build("everything"), inputs("everything", 32)
    result = pn.compress(model, train=[(x, torch.arange(32) % 10)], recipe=RECIPE)
    result.save(tmp_path / "m.pith")
    loaded = pn.load(tmp_path / "m.pith", model=NETWORKS["everything"]())
    assert torch.equal(loaded(x), result.model(x))
    assert loaded.tied.head.weight is loaded.tied.embed.weight is loaded.tied.table
    assert loaded.twice.first is loaded.twice.second
    sizes = {row.name: row.size for row in pn.prune(build("everything"), 0.5).layers}
    zeros = sum(int((layer.weight == 0).sum()) for _, layer in weighted_layers(result.model))
    assert zeros == pytest.approx(0.5 * sum(sizes.values()), abs=1)


def test_a_tie_has_one_mask_one_codebook_and_counts_once() -> None:
    model = build("tied")
    record = pn.prune(model, 0.5)
    assert [(row.name, row.size) for row in record.layers] == [("embed", 120), ("mix", 144)]
    assert record.sparsity == 0.5
    chains = model.embed.parametrizations["weight"], model.parametrizations["table"]
    assert chains[0] is chains[1] is model.head.parametrizations["weight"]
    pn.share(model, bits=2)
    assert torch.equal(model.head.weight, model.embed.weight)
    assert torch.equal(model.table, model.embed.weight)
    assert Counter(isinstance(m, Codebook) for m in model.modules())[True] == 2
    train_(model, inputs("tied"), 5)
    assert torch.equal(model.head.weight, model.embed.weight)
    assert int((model.embed.weight == 0).sum()) + int((model.mix.weight == 0).sum()) == 132
    final = pn.finalize(model)
    assert final.head.weight is final.embed.weight is final.table


def test_a_tied_tensor_is_stored_once_whether_parametrized_or_not() -> None:
    model = compressed("tied")
    final = pn.finalize(model)
    assert pn.artifact.float32_bytes(pn.artifact.plain_state(model)) == 4 * (120 + 144 + 12 + 10)
    assert pn.artifact.float32_bytes(final.state_dict()) == 4 * (120 + 144 + 12 + 10)
    rows = {t.name: t for t in pn.artifact.inspect(pn.encode(final)).tensors}
    holders = [n for n in ("embed.weight", "head.weight", "table") if not rows[n].coding.startswith("tied")]
    assert len(holders) == 1
    assert sum(sum(rows[n].bytes.values()) for n in rows if "tied" in rows[n].coding) == 0
    untied = pn.finalize(model)
    untied.head.weight = nn.Parameter(torch.randn(10, 12))
    assert len(pn.encode(untied)) > len(pn.encode(final)) + 300
    assert pn.artifact.inspect(pn.encode(final)).ratio == pytest.approx(4 * 286 / len(pn.encode(final)))


def test_a_plan_counts_a_tie_once() -> None:
    recipe = pn.recipe.parse({"name": "x", "steps": [{"share": {"bits": 2}}]}, "x")
    plan = make_plan(build("tied"), recipe)
    assert plan.float_bytes == 4 * 286
    assert [row.weights for row in plan.layers] == [120, 144]
    alone = make_plan(nn.Sequential(nn.Embedding(10, 12), nn.Linear(12, 12), nn.Linear(12, 10)), recipe)
    assert plan.rest == alone.rest == 60 + 2 * 22


def test_frozen_layers_are_compressed_and_stay_frozen() -> None:
    model, levels = compressed("frozen"), build("frozen")
    pn.LevelTraining(levels, levels=3)
    before = [m.stem.weight.clone() for m in (model, levels)]
    assert 3 < len(before[0].unique()) <= 9
    assert len(before[1].unique()) == 3
    for m, weight in zip((model, levels), before, strict=True):
        train_(m, inputs("frozen"), 5)
        assert not any(p.requires_grad for p in m.stem.parameters())
        assert torch.equal(m.stem.weight, weight)
        restored = pn.restore(NETWORKS["frozen"](), m.state_dict())
        assert not any(p.requires_grad for p in restored.stem.parameters())
        assert torch.equal(restored.stem.weight, weight)


def test_bn_that_shares_its_weight_keeps_its_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    model[2].weight = model[0].weight
    for bn in (model[0], model[2], model[3]):
        nn.init.normal_(bn.running_mean)
        nn.init.uniform_(bn.running_var, 0.5, 2)
    model.eval()
    final = pn.finalize(model)
    assert torch.equal(final[0].running_mean, model[0].running_mean)
    assert not final[3].running_mean.any()
    x = torch.randn(8, 4)
    torch.testing.assert_close(final(x), model(x), rtol=0.01, atol=0.01)
