"""What would fail in the middle of a training is said before it, and by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pithnet.errors import DataError, ModelError
from pithnet.learn import try_measuring, try_training

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(9, 4, generator=G), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])


def classifier(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, outputs)
    )


def with_nan(x: Tensor) -> Tensor:
    x = x.clone()
    x[3, 1] = torch.nan
    return x


def numpy_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.tensor(float(outputs.detach().numpy().mean()))


SHAPES = (
    r"loss\(outputs, targets\) fails on the first batch, outputs float32 \(9, 1\), targets float32 \(5, 4\)"
)
LABELS = [
    (Y.float(), DataError, r"train: labels are class indexes, int64 \(9,\), and these are float32 \(9,\)"),
    (Y.int(), DataError, r"these are int32 \(9,\); convert them \(\.long\(\)"),
    (Y[:, None], DataError, r"these are int64 \(9, 1\)"),
    (F.one_hot(Y), DataError, r"these are int64 \(9, 3\).*argmax\(1\)"),
    (Y[:5], DataError, r"these are int64 \(5,\)"),
    (Y + 1, DataError, "the model has 3 classes, and a label is 3; labels are from 0 to 2"),
    (Y - 1, DataError, "and a label is -1"),
    ({"class": Y}, DataError, r"these are \{class: int64 \(9,\)\}"),
]


@pytest.mark.parametrize(("labels", "error", "message"), LABELS)
@pytest.mark.parametrize("what", ["train", "val"])
def test_labels(labels: Any, error: type[Exception], message: str, what: str) -> None:
    check = try_training if what == "train" else try_measuring
    with pytest.raises(error, match=message.replace("train:", f"{what}:")):
        check(classifier(), [(X, labels)])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((with_nan(X), Y), "train: the inputs of the first batch hold NaN or inf"),
        ((X / 0, Y), "train: the inputs of the first batch hold NaN or inf"),
        (
            (X[:, :3], Y),
            r"train: the model cannot take the first batch, float32 \(9, 3\): RuntimeError: mat1 and mat2",
        ),
        ((X.double(), Y), r"float64 \(9, 4\): RuntimeError: .*; its weights are float32, convert the inputs"),
        (((X, X), Y), r"\(float32 \(9, 4\), float32 \(9, 4\)\): TypeError: .*positional arguments"),
        (
            {"pixels": X, "y": Y},
            r"\{pixels: float32 \(9, 4\)\}: TypeError: .*unexpected keyword argument 'pixels'",
        ),
    ],
)
def test_inputs(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        try_training(classifier(), [batch])


def test_outputs_that_are_no_class_logits_ask_for_a_loss() -> None:
    for outputs, shown in [(nn.Unflatten(1, (3, 1)), r"\(9, 3, 1\)"), (nn.Linear(3, 1), r"\(9, 1\)")]:
        for batch in (X, (X, Y)):
            with pytest.raises(
                ModelError, match=rf"the model returns float32 {shown}; for another task give loss="
            ):
                try_training(nn.Sequential(classifier(), outputs), [batch])
    try_training(classifier(1), [(X, X[:, :1])], F.mse_loss)


@pytest.mark.parametrize(
    ("batch", "loss", "message"),
    [
        ((X, X[:5]), F.mse_loss, SHAPES),
        ((X, X[:, 0]), F.mse_loss, r"float32 \(9,\): UserWarning: Using a target size"),
        (X, F.mse_loss, "targets None: .*; the loader gives no targets, yield"),
        ((X, X[:, :1]), nn.MSELoss(reduction="none"), r"a scalar tensor, and gave float32 \(9, 1\)"),
        ((X, X[:, :1]), lambda o, t: 0.5, "must give a scalar tensor, and gave a float"),
        ((X, X[:, :1]), numpy_loss, "has no gradient; compute it from outputs, with torch alone"),
        ((X, X[:, :1]), lambda o, t: (o - t).sum() / 0, "is -?inf on the first batch"),
        ((X, with_nan(X)[:, 1:2]), F.mse_loss, "the targets of the first batch hold NaN or inf"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("default:Using a target size")
def test_losses(batch: Any, loss: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        try_training(classifier(1), [batch], loss)


def test_a_loss_may_need_no_targets() -> None:
    assert try_training(classifier(1), [X], lambda outputs, targets: outputs.square().mean()).targets is None


def test_a_single_sample_and_batchnorm() -> None:
    data = TensorDataset(X, Y)
    with pytest.raises(DataError, match=r"train: a batch has one sample, and BatchNorm cannot .*drop_last"):
        try_training(classifier(), DataLoader(data, 4))
    with pytest.raises(DataError, match="one sample"):
        try_training(classifier(), [(X, Y), (X[:1], Y[:1])])
    with pytest.raises(DataError, match="one sample"):
        try_training(classifier(), DataLoader(data, 1))
    try_training(classifier(), DataLoader(data, 4, drop_last=True))
    try_training(nn.Linear(4, 3), DataLoader(data, 4))
    try_measuring(classifier(), DataLoader(data, 4))
    pictures = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 3))
    try_training(pictures, DataLoader(data, 4))


def test_a_single_sample_is_enough_for_frozen_batchnorm() -> None:
    model = classifier().train()
    model[1].eval()
    try_training(model, DataLoader(TensorDataset(X, Y), 4))
    with pytest.raises(DataError, match="one sample"):
        try_training(model.eval(), DataLoader(TensorDataset(X, Y), 4))


def test_a_teacher_knows_the_same_classes() -> None:
    with pytest.raises(ModelError, match=r"the teacher: float32 \(9, 5\) for the model's float32 \(9, 3\)"):
        try_training(classifier(), [(X, Y)], teacher=classifier(5))
    with pytest.raises(ModelError, match=r"the teacher logits in train: float32 \(9, 2\)"):
        try_training(classifier(), [(X, Y, X[:, :2])])
    with pytest.raises(DataError, match="the teacher cannot take the first batch"):
        try_training(classifier(), [(X, Y)], teacher=nn.Linear(3, 3))
    try_training(classifier(), [(X, Y, X[:, :3])], teacher=classifier())


def test_a_model_that_is_frozen_as_a_whole_cannot_be_trained() -> None:
    with pytest.raises(ModelError, match="no weight of the model can be trained"):
        try_training(classifier().requires_grad_(False), [(X, Y)])


def test_the_last_batch_of_val_is_read_before_a_training_of_hours() -> None:
    good = [(X, Y)] * 3
    with pytest.raises(DataError, match="val: the model has 3 classes, and a label is 3"):
        try_measuring(classifier(), [*good, (X, Y + 1)])
    with pytest.raises(DataError, match="val: the inputs of batch 4 hold NaN or inf"):
        try_measuring(classifier(), [*good, (with_nan(X), Y)])
    with pytest.raises(DataError, match="val: accuracy needs labels, and the test data has none"):
        try_measuring(classifier(), [*good, X])
    with pytest.raises(DataError, match="val: a batch is a str"):
        try_measuring(classifier(), [*good, "x"])
    with pytest.raises(DataError, match="this is a generator"):
        try_measuring(classifier(), (b for b in good))
    with pytest.raises(DataError, match="val is empty"):
        try_measuring(classifier(), [])


def test_metrics() -> None:
    with pytest.raises(
        DataError, match=r"val: l1_loss must give a score per sample, a tensor of shape \(9,\)"
    ):
        try_measuring(classifier(1), [(X, X[:, :1])], metric=F.l1_loss)
    with pytest.raises(DataError, match=r"val: the metric fails on the first batch.*KeyError"):
        try_measuring(classifier(), [(X, Y)], metric=lambda outputs, targets: {}["x"])
    with pytest.raises(ModelError, match=r"val: class logits are float .* give loss= and metric="):
        try_measuring(classifier(1), [(X, X[:, :1])], F.mse_loss)
    with pytest.raises(DataError, match=r"val: loss\(outputs, targets\) fails"):
        try_measuring(classifier(), [(X, Y)], lambda o, t: o.missing, lambda o, t: o[:, 0])
    with pytest.raises(DataError, match=r"val: loss.* must give a scalar tensor, and gave float32 \(9,\)"):
        try_measuring(classifier(), [(X, Y)], lambda o, t: o[:, 0], lambda o, t: o[:, 0])
    try_measuring(classifier(), [X], metric=lambda outputs, targets: outputs.softmax(1).amax(1))


def test_trying_changes_nothing() -> None:
    model = classifier().train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    try_training(model, DataLoader(TensorDataset(X, Y), 4, shuffle=True, drop_last=True))
    try_measuring(model, DataLoader(TensorDataset(X, Y), 4, shuffle=True))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
