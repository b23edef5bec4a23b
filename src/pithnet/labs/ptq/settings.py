"""How much `lab ptq` looks at, and how it trains a network where it is given none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pithnet.learn import Training, from_scratch


@dataclass(frozen=True)
class Settings:
    """How many images and seconds the lab spends.

    `calibration` and `sensitivity` are training images, without labels, for ranges and repairs, and for the
    choice of bits. `compared` are test images on which files are compared with their simulation. `seconds` of
    timing are for each size of batch and number of threads (1 and all where none are named). `imagenet` says
    whether the sizes of VGG-16 for ImageNet are measured. Mixed precision chooses from `widths`.
    Item 1 prunes each of the `shares`, and trains what is left by `tuning`, or not at all where that is None.
    """

    baseline: Training
    batch_size: int
    calibration: int
    sensitivity: int
    compared: int
    seconds: float
    imagenet: bool
    batches: tuple[int, ...] = (1, 64)
    threads: tuple[int, ...] = ()
    widths: tuple[int, ...] = (2, 3, 4, 5, 6, 8)
    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    tuning: Training | None = None

    def within(self, epochs: int | None) -> Settings:
        """Returns the same with item 1 fine-tuned for so many epochs; as it is with None."""
        return self if epochs is None else replace(self, tuning=_tuning(epochs))


def _tuning(epochs: int) -> Training:
    return Training(epochs, lr=0.02, schedule="one-cycle", warmup=0.1)


FULL = Settings(
    baseline=from_scratch(15, lr=0.1),
    batch_size=128,
    calibration=512,
    sensitivity=256,
    compared=1000,
    seconds=10.0,
    imagenet=True,
)
QUICK = Settings(
    baseline=from_scratch(6),
    batch_size=64,
    calibration=256,
    sensitivity=128,
    compared=500,
    seconds=0.1,
    imagenet=False,
    threads=(1,),
    shares=(0.9,),
)
