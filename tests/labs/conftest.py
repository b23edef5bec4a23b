"""A bench small enough to train on in a test."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pithnet.labs.bench import Bench
from pithnet.run.inputs import Images
from pithnet.run.settings import DataSettings


@pytest.fixture
def small_bench() -> Bench:
    """The digits' CNN on 128 images, measured on 100."""
    bench = Bench.open(DataSettings(data="digits"), None, batch_size=64, seed=0)
    assert bench.images.train is not None
    images = Images(
        "digits", bench.images.train.take(torch.arange(128)), bench.images.test.take(torch.arange(100))
    )
    return replace(bench, images=images)
