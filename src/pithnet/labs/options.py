"""What a lab can be asked for, as plain data.

It imports no torch: the command line builds its help from this class.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

from pithnet.errors import PithError, require_known

# Not every lab has these: each says in its TAKES which it does.
_SPECIAL = ("model", "precision", "items", "epochs", "teacher", "device", "levels", "pruned")


@dataclass(frozen=True, kw_only=True)
class LabOptions:
    """How a lab is run.

    Args:
        data: Run the lab on cifar10, the default, or on digits, which are bundled. Lab linear makes its own
            data, and lab claims runs on the digits.
        data_root: Read the images from this folder.
        download: Fetch CIFAR-10 into --data-root where it is missing.
        weights: Start from the network of this checkpoint. Without it, the lab trains a network first.
        quick: Run on the bundled digits with few epochs, which takes under a minute.
        resume: Keep the finished rows in --out and go on, also with a training that was cut off.
        seed: Draw everything that is random in the lab from this seed.
        model: Name the network, as the zoo does. Without it, lab ptq takes vgg16 and lab fixed-point
            resnet20. They also take resnet20b, resnet32 and resnet18.
        precision: Compute the trainings in float32, in bf16, or with auto in bf16 where that is faster.
        items: Measure the items of these numbers, such as 2,5. Without it, the lab measures all of them. The
            page shows what has been measured.
        epochs: Let every training but the baseline's last this many epochs, where the lab's own number takes
            too long. In lab ptq item 1 fine-tunes what it has pruned for this many epochs; without this
            option it does not, and its items 2 and 3 train nothing.
        teacher: Let the trainings learn from a teacher beside the labels: self (the lab's float network),
            none (labels alone), or another trained network as ARCH:FILE, such as resnet44:resnet44.pt.
            Without it, labs fixed-point and deep-compression take self, and lab pruning takes none. Rows
            called "source" train as the source does and never have a teacher.
        device: Train and measure on cpu, or on cuda, which is one GPU.
        levels: Measure these levels in lab fixed-point: one or several of source, symmetric and ours, such as
            source,ours. Without it, the lab measures all. Symmetric are the source's levels made symmetric,
            with and without zero.
        pruned: Take the pruned network of this file, such as state/iterative-global.pt of lab pruning. Item 3
            of lab fixed-point quantizes it, and items 1 to 3 of lab deep-compression share it. It must have
            been pruned from the network of --weights. Without it, the lab prunes one.
    """

    data: str | None = None
    data_root: Path | None = None
    download: bool = False
    weights: Path | None = None
    quick: bool = False
    resume: bool = False
    seed: int = 0
    model: str | None = None
    precision: str = "float32"
    items: str | None = None
    epochs: int | None = None
    teacher: str | None = None
    device: str = "cpu"
    levels: str | None = None
    pruned: Path | None = None

    def check(self, lab: str, takes: Collection[str]) -> None:
        """Refuses what this lab does not take.

        Raises:
            PithError: An option is not among `takes`, or epochs are below 1.
        """
        for field in fields(self):
            asked = getattr(self, field.name) != field.default
            if asked and field.name in _SPECIAL and field.name not in takes:
                raise PithError(f"lab {lab} has no --{field.name}; leave it out")
        if self.epochs is not None and self.epochs < 1:
            raise PithError(f"epochs must be at least 1, got {self.epochs}")

    def chosen(self, known: Collection[str]) -> tuple[str, ...]:
        """Returns the items asked for, all where none are.

        Raises:
            PithError: The lab does not have one of them.
        """
        chosen = _listed(self.items, known)
        for item in chosen:
            if item not in known:
                raise PithError(f"this lab has no item {item!r}; its items are {', '.join(known)}")
        return chosen

    def chosen_levels(self, known: Collection[str]) -> tuple[str, ...]:
        """Returns the levels asked for, all where none are.

        Raises:
            PithError: There are no such levels.
        """
        chosen = _listed(self.levels, known)
        for levels in chosen:
            require_known("levels", levels, known, PithError)
        return chosen


def _listed(text: str | None, known: Collection[str]) -> tuple[str, ...]:
    """What `text` names, between commas; all that is known without a text."""
    return tuple(known) if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
