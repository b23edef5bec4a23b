"""What `lab pruning` tries, and how it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pithnet.labs.workbench import Workbench
from pithnet.learn import Training, from_scratch


@dataclass(frozen=True)
class Penalties:
    """How item 6 trains: the regularizers act over the share `until` of the epochs, then the mask is drawn.

    The proximal methods of single weights find their strengths by counting zeros; `l1` (in the loss), `hoyer`
    and `group` are the strengths of the others, and `rho` is ADMM's. None is chosen on what the lab shows.
    """

    training: Training
    until: float
    l1: float
    hoyer: float
    group: float
    rho: tuple[float, float] = (1e-3, 1e-1)


@dataclass(frozen=True)
class Structures:
    """What item 7 removes, and how it trains and times what is left.

    `share` is the share of the parameters that goes with the channels, and as many weights go in the other
    ways. `hidden` is the width of the two hidden layers of the network on digits, which `mlp` trains in
    batches of `batch_size`. `seconds` of timing are for each size of `batches`, on one thread.
    """

    training: Training
    mlp: Training
    seconds: float
    share: float = 0.5
    hidden: int = 128
    batch_size: int = 64
    batches: tuple[int, ...] = (1, 64)


@dataclass(frozen=True)
class Settings:
    """The trainings and prunings of the lab.

    `prunings` is how often an iterative training prunes, before each of its first epochs; `target` is the
    share of zeros it ends at; `views` of each image are shown to a teacher, where there is one.
    """

    baseline: Training
    retrain: Training
    prunings: int
    penalties: Penalties
    structures: Structures
    batch_size: int
    views: int
    target: float = 0.7
    quantiles: tuple[float, ...] = (0.0, 0.25, 0.3, 0.5, 0.7, 0.75)
    deviations: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)

    def within(self, epochs: int | None) -> Settings:
        """Returns the same with so many epochs of every training but the baseline's; as it is with None."""
        if epochs is None:
            return self
        penalties = replace(self.penalties, training=replace(self.penalties.training, epochs=epochs))
        structures = replace(self.structures, training=replace(self.structures.training, epochs=epochs))
        retrain, prunings = replace(self.retrain, epochs=epochs), min(self.prunings, max(1, epochs // 2))
        return replace(self, retrain=retrain, prunings=prunings, penalties=penalties, structures=structures)

    def taught(self, bench: Workbench) -> Settings:
        """Returns the same with every training but the baseline's as the bench's teacher has it."""
        penalties = replace(self.penalties, training=bench.teach(self.penalties.training))
        structures = replace(self.structures, training=bench.teach(self.structures.training))
        return replace(self, retrain=bench.teach(self.retrain), penalties=penalties, structures=structures)


def _one_cycle(epochs: int) -> Training:
    return Training(epochs, lr=0.05, schedule="one-cycle", warmup=0.1)


FULL = Settings(
    baseline=from_scratch(40),
    retrain=_one_cycle(20),
    prunings=10,
    penalties=Penalties(_one_cycle(10), 0.6, l1=1e-4, hoyer=5e-6, group=1e-4),
    structures=Structures(_one_cycle(20), from_scratch(30, lr=0.1), seconds=10.0),
    batch_size=128,
    views=4,
)
QUICK = Settings(
    baseline=from_scratch(8),
    retrain=_one_cycle(3),
    prunings=2,
    penalties=Penalties(_one_cycle(3), 2 / 3, l1=1e-3, hoyer=5e-5, group=1e-3),
    structures=Structures(_one_cycle(1), from_scratch(8), seconds=0.1, batches=(1,)),
    batch_size=64,
    views=1,
)
