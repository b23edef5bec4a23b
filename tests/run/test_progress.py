"""Lines for logs: one per epoch, with the time left."""

from __future__ import annotations

import io

import pytest

from pithnet.learn import EpochRecord
from pithnet.run.progress import Bar, Lines, clock, describe

RECORD = EpochRecord(epoch=2, loss=0.5, accuracy=0.75, lr=0.1, seconds=2.0, images=1000)


def test_a_line_per_epoch() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.begin(3, done=1)
    for step in range(5):
        lines.batch("prune", step + 1, 5)
    lines.epoch("prune", RECORD, 3)
    lines.epoch("prune", RECORD, 3)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("prune: epoch 2/3, loss 0.5000, train accuracy 75.00 %, 2.0 s (500 images/s), ")
    assert first.endswith(" left")
    assert not second.endswith(" left")


def test_describe_without_labels() -> None:
    record = EpochRecord(epoch=1, loss=1.0, accuracy=None, lr=0.1, seconds=0.0, images=10)
    assert "accuracy" not in describe(record, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.4, "5 s"), (89, "89 s"), (120, "2 min"), (5400, "1 h 30 min"), (90_000, "25 h 00 min")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_bar_starts_again_with_every_training(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        for done in (0, 1):
            bar.begin(2, done)
            bar.batch("teacher", 1, 2)
            bar.batch("train", 1, 4)
            assert bar._progress.tasks[-1].completed == done + 0.25
            bar.epoch("train", RECORD, 2)
    assert "train: epoch 2/2" in capsys.readouterr().err
