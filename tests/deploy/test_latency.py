"""Timing: in turn, per call, in milliseconds; and the runtimes that are timed."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from pithnet.deploy import Contender, has_int8_instructions, openvino_runner, time_in_turn, torch_runner
from pithnet.deploy.latency import MIN_ROUNDS
from pithnet.deploy.runtimes import Array, OnnxNetwork, OnnxSession, Runner
from pithnet.errors import ModelError
from pithnet.learn import evaluate

from .conftest import Exported


class Sleeper:
    """Takes a known time, and notes what it was given."""

    def __init__(self, seconds: float, log: list[str], name: str) -> None:
        self.seconds, self.log, self.name = seconds, log, name
        self.batches: set[tuple[int, ...]] = set()

    def __call__(self, x: Array) -> Array:
        self.log.append(self.name)
        self.batches.add(x.shape)
        time.sleep(self.seconds)
        return x


def test_contenders_take_turns_and_get_their_own_time() -> None:
    log: list[str] = []
    quick, slow = Sleeper(0.004, log, "quick"), Sleeper(0.03, log, "slow")
    asked: list[int] = []

    def made(runner: Runner) -> Contender:
        return Contender("one", (3, 2, 2), lambda threads: asked.append(threads) or runner)

    first, second = time_in_turn([made(quick), made(slow)], batch=5, threads=2, seconds=0.01)
    assert asked == [2, 2]
    assert quick.batches == slow.batches == {(5, 3, 2, 2)}
    assert first.rounds == second.rounds == MIN_ROUNDS
    assert 4 <= first.low <= first.median <= first.high
    assert 30 <= second.low <= second.median <= second.high
    assert first.median < second.median
    turns = [name for i, name in enumerate(log) if i == 0 or log[i - 1] != name]
    assert len(turns) > MIN_ROUNDS


def test_a_call_that_had_to_wait_does_not_decide_how_many_are_timed() -> None:
    """With one call a slice, the next ones would be timed right after others emptied the caches."""
    calls = 0

    def stumbling(x: Array) -> Array:
        nonlocal calls
        calls += 1
        time.sleep(0.05 if calls == 2 else 0.001)
        return x

    time_in_turn([Contender("one", (2,), lambda threads: stumbling)], batch=1, threads=1, seconds=0.01)
    # 20 ms hold several calls of 1 ms even where each takes three times as long.
    assert calls > 5 * MIN_ROUNDS


def test_every_runtime_gives_the_models_answer(digits_float: Exported) -> None:
    x = digits_float.images[:4]
    expected = digits_float.model(x).detach().numpy()
    threads = torch.get_num_threads()
    for runner in (torch_runner(digits_float.model, 1), OnnxSession(digits_float.path, threads=1)):
        np.testing.assert_allclose(runner(x.numpy()), expected, atol=1e-5)
    torch.set_num_threads(threads)


def test_openvino_gives_the_models_answer(digits_float: Exported) -> None:
    pytest.importorskip("openvino")
    x = digits_float.images[:4]
    answer = openvino_runner(digits_float.path, 1)(x.numpy())
    np.testing.assert_allclose(answer, digits_float.model(x).detach().numpy(), atol=1e-5)


def test_openvino_where_it_is_not_installed(digits_float: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ModelError, match=r"pip install 'pithnet\[openvino\]'"):
        openvino_runner(digits_float.path, 1)


def test_a_file_is_evaluated_as_a_module(digits_float: Exported) -> None:
    x = digits_float.images
    labels = digits_float.model(x).argmax(1)
    found = evaluate(OnnxNetwork(digits_float.path), [(x[:20], labels[:20]), (x[20:], labels[20:])])
    assert (found.accuracy, found.n) == (1, 32)


@pytest.mark.parametrize(
    ("flags", "found"), [("sse2 avx2", False), ("avx2 avx512_vnni", True), ("fp asimd asimddp", True)]
)
def test_int8_instructions_are_read_from_the_flags(
    flags: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.read_text", lambda _: f"flags : {flags}\n")
    assert has_int8_instructions() is found
