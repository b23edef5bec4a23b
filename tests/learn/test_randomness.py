"""Chance repeats with its seed, and nobody else's is disturbed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from pithnet.learn import seeded

DATA = TensorDataset(torch.arange(20))


def draws() -> tuple[Any, ...]:
    return float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002


def order(loader: DataLoader[Any]) -> list[int]:
    return [int(v) for (x,) in loader for v in x]


def test_a_seed_and_a_number_repeat_all_three_generators() -> None:
    seen = []
    for seed, number in [(1, 0), (1, 0), (1, 1), (2, 0)]:
        with seeded(seed, number):
            seen.append(draws())
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    for column in zip(*seen, strict=True):
        assert len(set(column)) == 3


def test_afterwards_all_is_as_before_also_after_an_error() -> None:
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    try:
        with seeded(3):
            draws()
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(np.random.get_state())) == states[1:]  # noqa: NPY002


def test_the_order_of_a_shuffled_loader_repeats_with_its_own_generator_or_without() -> None:
    for generator in (None, torch.Generator().manual_seed(5)):
        loader = DataLoader(DATA, 4, shuffle=True, generator=generator)
        before = None if generator is None else generator.get_state()
        orders = []
        for epoch in (0, 1, 0):
            with seeded(7, epoch, loader):
                orders.append(order(loader))
        assert orders[0] == orders[2] != orders[1]
        assert sorted(orders[1]) == list(range(20))
        if generator is not None:
            assert torch.equal(generator.get_state(), before)
