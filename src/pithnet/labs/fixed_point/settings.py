"""What `lab fixed-point` tries, and how it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pithnet.labs.workbench import Workbench
from pithnet.learn import Training, from_scratch


@dataclass(frozen=True)
class Settings:
    """How the lab trains, and what it tries.

    `bits` are tried without training, `trained` with. `target` is the sparsity of item 3, `views` how many of
    each image the teacher is asked about. Item 7 takes `calibration` unlabelled images, `layer_steps` for
    each layer and `block_steps` for each block.
    """

    baseline: Training
    tuning: Training
    pruning: Training
    batch_size: int
    views: int
    bits: tuple[int, ...] = (6, 5, 4, 3, 2)
    trained: tuple[int, ...] = (4, 3, 2)
    target: float = 0.7
    calibration: int = 1024
    layer_steps: int = 500
    block_steps: int = 200

    def within(self, epochs: int | None) -> Settings:
        """Returns the same with so many epochs of every training but the baseline's; as it is with None."""
        if epochs is None:
            return self
        return replace(
            self, tuning=replace(self.tuning, epochs=epochs), pruning=replace(self.pruning, epochs=epochs)
        )

    def taught(self, bench: Workbench) -> Settings:
        """Returns the same with both trainings as the bench's teacher has them."""
        return replace(self, tuning=bench.teach(self.tuning), pruning=bench.teach(self.pruning))


FULL = Settings(
    baseline=from_scratch(40),
    tuning=Training(20, lr=0.04, schedule="one-cycle", warmup=0.1),
    pruning=Training(20, lr=0.05, schedule="one-cycle", warmup=0.1),
    batch_size=128,
    views=4,
)
QUICK = Settings(
    baseline=from_scratch(6),
    tuning=Training(1, lr=0.02, schedule="one-cycle", warmup=0.1),
    pruning=Training(2, lr=0.05, schedule="one-cycle", warmup=0.1),
    batch_size=64,
    views=1,
    bits=(6, 4, 2),
    trained=(4, 2),
    calibration=256,
    layer_steps=100,
    block_steps=40,
)
