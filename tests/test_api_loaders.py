"""`pn.compress` end to end with every kind of loader, and with losses and metrics of the user's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparisons import assert_below
from comparisons.compression import digits_without_labels
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import pithnet as pn

# The file of a network so small is mostly its header, and a trivial way may be smaller.
pytestmark = pytest.mark.filterwarnings("ignore:.* bytes and this file:pithnet.PithWarning")


def recipe(**changes: Any) -> pn.Recipe:
    content = {
        "name": "quick",
        "steps": [
            {"prune": {"sparsity": 0.5, "ramp": 0.5}, "train": {"epochs": 2, "lr": 0.05}},
            {"share": {"bits": 3}, "train": {"epochs": 1, "lr": 0.01}},
        ],
    }
    return pn.recipe.parse(content | changes, "test")


G = torch.Generator().manual_seed(0)
X = torch.randn(96, 8, generator=G)
Y = (X[:, :2].sum(1) > 0).long()


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def loader(*columns: Tensor, shuffle: bool = True) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*columns), 24, shuffle=shuffle)


class Dicts(Dataset[dict[str, Tensor]]):
    """As data sets of Hugging Face give them."""

    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {name: column[i] for name, column in self.columns.items()}


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class Text(nn.Module):
    """Tokens and a mask in, an object with logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.classifier = nn.Linear(8, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        embedded = self.embedding(input_ids) * attention_mask[..., None]
        return Output(None, self.classifier(embedded.sum(1) / attention_mask.sum(1, keepdim=True)))


TOKENS = torch.randint(0, 12, (96, 5), generator=G)
MASK = torch.ones(96, 5).where(torch.arange(5) < torch.randint(2, 6, (96, 1), generator=G), 0.0)
SPOKEN = (TOKENS[:, 0] > 5).long()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in model.state_dict().items() if v.ndim > 1}


@pytest.mark.parametrize("key", ["labels", "label"])
def test_dicts_of_tokens_into_a_model_that_returns_an_object(key: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Text()
    batches = DataLoader(Dicts(input_ids=TOKENS, attention_mask=MASK, **{key: SPOKEN}), 24, shuffle=True)
    result = pn.compress(model, batches, batches, recipe(distill={"weight": 0.5}), out=tmp_path / "run")
    assert result.after is not None
    assert result.after.metric == "accuracy"
    result.save(tmp_path / "text.pith")
    again = pn.load(tmp_path / "text.pith", model=Text())
    assert torch.equal(again(TOKENS, MASK).logits, result.model(TOKENS, MASK).logits)
    with torch.no_grad():
        right = float((again(TOKENS, MASK).logits.argmax(1) == SPOKEN).double().mean())
    assert result.after.accuracy == right


class Pair(nn.Module):
    """Two inputs, a tuple of logits and features."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(a) + self.b(b), a


def test_a_tuple_of_inputs_and_a_tuple_of_outputs() -> None:
    torch.manual_seed(0)
    batches = [((x, -x), y) for x, y in loader(X, Y)]
    result = pn.compress(Pair(), batches, batches, recipe(distill={"weight": 0.5}))
    assert result.after is not None
    assert result.after.n == 96


def test_an_unlabelled_loader_distils_whatever_the_recipe_says(tmp_path: Path) -> None:
    model = classifier()
    unlabelled = [[(x,) for x in X.split(24)], list(X.split(24)), [{"input": X}]]
    results = [
        pn.compress(model, train, loader(X, Y), recipe(distill={"weight": weight}), out=tmp_path / str(i))
        for i, (train, weight) in enumerate(zip(unlabelled, (0.0, 0.3, 0.0), strict=True))
    ]
    same = [weights(r.model) for r in results[:2]]
    assert all(torch.equal(same[0][k], same[1][k]) for k in same[0]), "the recipe's weight made a difference"
    for i in range(3):
        events = [json.loads(line) for line in (tmp_path / str(i) / "events.jsonl").read_text().splitlines()]
        assert events[0]["event"] == "remark"
        assert "no labels" in events[0]["text"]
        assert "weight 1" in events[0]["text"]
        assert pn.load_recipe(tmp_path / str(i) / "recipe.yaml").distill.weight == 1
    other = classifier()
    other[3].reset_parameters()
    taught = pn.compress(model, unlabelled[0], None, recipe(), teacher=other)
    assert not torch.equal(weights(taught.model)["3.weight"], same[0]["3.weight"]), (
        "the teacher was not asked"
    )


def test_a_labelled_loader_says_nothing_of_it(tmp_path: Path) -> None:
    pn.compress(classifier(), loader(X, Y), None, recipe(), out=tmp_path / "run")
    assert "remark" not in (tmp_path / "run" / "events.jsonl").read_text()


def test_teacher_logits_in_the_batches_are_learnt_from() -> None:
    model, soft = classifier(), torch.stack([X[:, 0], -X[:, 0]], 1) * 4
    batches = [(X, None, soft)]
    result = pn.compress(model, batches, [(X, (X[:, 0] < 0).long())], recipe(), seed=1)
    assert result.before is not None
    assert result.after is not None
    assert result.after.mean > result.before.mean + 0.05


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(8, 32), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x).relu()).squeeze(1)


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs()


def regression() -> tuple[nn.Module, Tensor]:
    """A network that has learnt a target; what it gets wrong comes from its compression."""
    torch.manual_seed(0)
    model, target = Line(), X[:, 0] - 2 * X[:, 1].relu()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(model(X), target).backward()
        optimizer.step()
    return model, target


def test_regression_with_a_loss_and_a_metric(tmp_path: Path) -> None:
    model, target = regression()
    steps = [
        {"prune": {"sparsity": 0.5, "ramp": 0.5}, "train": {"epochs": 20, "lr": 0.02}},
        {"share": {"bits": 4}, "train": {"epochs": 10, "lr": 0.005}},
    ]
    what = recipe(steps=steps, precision="auto", distill={"weight": 0.9})
    batches = loader(X, target)
    result = pn.compress(
        model, batches, batches, what, loss=F.mse_loss, metric=absolute_error, out=tmp_path / "run"
    )
    assert result.before is not None
    assert result.after is not None
    assert result.after.loss is not None
    with torch.no_grad():
        error = float(absolute_error(model(X), target).mean())
    assert result.before.mean == pytest.approx(error, rel=1e-5)
    assert result.after.loss < 0.1 * float(target.var()), "the network still does what it was trained for"
    untrained = pn.compress(
        model, None, batches, recipe(steps=[{"prune": {"sparsity": 0.5}}]), metric=absolute_error
    )
    assert untrained.after is not None
    assert result.after.mean < untrained.after.mean, "training with the user's loss was of no use"

    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    for part in ("before", "after", "difference"):
        assert (saved[part]["metric"], saved[part]["share"]) == ("absolute_error", False)
    assert saved["difference"]["points"] == pytest.approx(result.after.mean - result.before.mean)
    assert saved["after"]["interval"] == list(result.after.interval)
    shown = str(result)
    assert f"absolute_error {result.before.mean:.4g} -> {result.after.mean:.4g} on 96 samples" in shown
    assert "accuracy" not in shown
    assert pn.inspect(tmp_path / "run" / "model.pith").claimed is None
    taken = pn.load_recipe(tmp_path / "run" / "recipe.yaml")
    assert (taken.distill.weight, taken.precision) == (0, "float32")
    assert "distillation is left out" in (tmp_path / "run" / "events.jsonl").read_text()


def test_a_loss_of_the_users_for_classes_is_mixed_with_distillation() -> None:
    def wrong_way(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, 1 - targets)

    model = classifier()
    batches = loader(X, Y, shuffle=False)
    own, taught = (
        pn.compress(model, batches, batches, recipe(distill={"weight": w}), loss=wrong_way)
        for w in (0.0, 1.0)
    )
    plain = pn.compress(model, batches, batches, recipe(distill={"weight": 1.0}))
    assert own.after is not None
    assert own.after.metric == "accuracy"
    assert not torch.equal(weights(own.model)["3.weight"], weights(taught.model)["3.weight"])
    assert torch.equal(weights(taught.model)["3.weight"], weights(plain.model)["3.weight"])


def test_shares_of_the_users_are_shown_in_points() -> None:
    def confident(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.softmax(1).amax(1) > 0.6

    result = pn.compress(classifier(), loader(X), [X], recipe(), metric=confident)
    assert result.after is not None
    assert result.after.scores.dtype == torch.bool
    assert f"-> {100 * result.after.mean:.2f} % on 96 samples" in str(result)
    difference = result.results["difference"]
    assert result.before is not None
    assert difference["points"] == pytest.approx(100 * (result.after.mean - result.before.mean))
    assert difference["share"]


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Augments with every global generator there is."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        noise = torch.rand(()) + random.random() + float(np.random.rand())  # noqa: NPY002
        return X[i] + 0.1 * noise, Y[i]


@pytest.mark.parametrize("generator", [None, torch.Generator()], ids=["global", "own"])
def test_a_shuffled_loader_repeats_with_the_seed_and_leaves_random_numbers_alone(
    generator: torch.Generator | None,
) -> None:
    batches = DataLoader(Noisy(), 24, shuffle=True, generator=generator)
    model, files = classifier(), []
    for seed in (3, 3, 4):
        torch.manual_seed(torch.seed())
        states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
        files.append(pn.compress(model, batches, batches, recipe(distill={"weight": 0.5}), seed=seed))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (random.getstate(), str(np.random.get_state())) == states[1:]  # noqa: NPY002
    first, second, other = (f.result.data for f in files)
    assert first == second != other
    assert torch.equal(files[0].after.scores, files[1].after.scores)  # type: ignore[union-attr]


def stream() -> Iterator[tuple[Tensor, Tensor]]:
    yield X, Y


REFUSALS = [
    ({"train": []}, pn.DataError, "train is empty"),
    ({"train": stream()}, pn.DataError, "train must have a length and start anew"),
    ({"val": stream()}, pn.DataError, "val must have a length and start anew"),
    ({"val": loader(X)}, pn.DataError, "val: accuracy needs labels"),
    ({"train": loader(X, Y + 1)}, pn.DataError, "the model has 2 classes, and a label is 2"),
    ({"train": loader(X, Y.float())}, pn.DataError, "train: labels are class indexes, int64"),
    ({"train": loader(X * torch.nan, Y)}, pn.DataError, "train: the inputs of the first batch hold NaN"),
    ({"train": loader(X.double(), Y)}, pn.DataError, "its weights are float32, convert the inputs"),
    ({"model": Line()}, pn.ModelError, r"returns float32 \(24,\); for another task give loss= and metric="),
    ({"model": Line(), "train": loader(X)}, pn.ModelError, "for another task give loss="),
    ({"loss": F.mse_loss}, pn.DataError, r"train: loss\(outputs, targets\) fails on the first batch"),
    ({"metric": F.cross_entropy}, pn.DataError, "val: cross_entropy must give a score per sample"),
    ({"recipe": recipe(label_smoothing=0.1), "loss": F.cross_entropy}, pn.RecipeError, "label_smoothing"),
    (
        {"model": Line(), "train": loader(X, X[:, 0]), "loss": F.mse_loss, "teacher": Line(),
         "recipe": recipe(distill={"weight": 0.5})},
        pn.RecipeError,
        "leave out teacher=",
    ),
    ({"recipe": recipe(distill={"weight": 1}), "teacher": nn.Linear(8, 3)}, pn.ModelError, "same classes"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), REFUSALS)
def test_what_is_refused_before_anything_runs(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    arguments = {"model": classifier(), "train": loader(X, Y), "val": loader(X, Y), "recipe": recipe()}
    with pytest.raises(error, match=message):
        pn.compress(**arguments | changes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_digits_without_labels_lose_hardly_a_point() -> None:
    assert_below(digits_without_labels, seeds=3)
