"""What a lab can be asked for, as plain data.

No torch here: the command line builds its help from this class.
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
        data: The images: cifar10 (the default) or digits (bundled). Lab linear makes its own data, and lab
            claims runs on the digits.
        data_root: The folder that holds the images.
        download: CIFAR-10 is fetched into --data-root where it is missing.
        weights: The checkpoint that the lab starts from; without it the lab trains a network first.
        quick: The lab runs on the bundled digits with few epochs, which takes under a minute.
        resume: The lab keeps the finished rows in --out and goes on, also with a training that was cut off.
        seed: The seed of everything that is random in the lab.
        model: the network, by its name in the zoo. Lab ptq has vgg16 where none is named, lab fixed-point
            resnet20; others that they take are resnet20b, resnet32 and resnet18.
        precision: The trainings compute in float32, in bf16, or with auto in bf16 where that is faster.
        items: The numbers of the items to measure, such as 2,5; all items without it. The page shows what
            has been measured.
        epochs: how long every training but the baseline's lasts, where the lab's own number takes too long.
            Items 2 and 3 of lab ptq train nothing, so there it is the length of the baseline's training.
        teacher: whose answers the trainings learn from beside the labels: self (the lab's float network),
            none (labels alone), or another trained network, ARCH:FILE, such as resnet44:resnet44.pt. Default:
            self in labs fixed-point and deep-compression, none in lab pruning. Rows called "source" train as
            the source does and never have a teacher.
        device: where the networks are trained and measured: cpu, or cuda for one GPU.
        levels: which levels lab fixed-point measures, one or several of source, symmetric and ours, such as
            source,ours; all without it. Symmetric are the source's levels made symmetric, with and without
            zero.
        pruned: the pruned network that item 3 of lab fixed-point quantizes and that items 1 to 3 of lab
            deep-compression share, a file such as state/iterative-global.pt of lab pruning; it must have been
            pruned from the network of --weights. Without it the lab prunes one.
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
        """Raises PithError for an option that this lab does not take, and for epochs below 1."""
        for field in fields(self):
            asked = getattr(self, field.name) != field.default
            if asked and field.name in _SPECIAL and field.name not in takes:
                raise PithError(f"lab {lab} has no --{field.name}; leave it out")
        if self.epochs is not None and self.epochs < 1:
            raise PithError(f"epochs must be at least 1, got {self.epochs}")

    def chosen(self, known: Collection[str]) -> tuple[str, ...]:
        """The items asked for, all where none are. Raises PithError for one that the lab does not have."""
        chosen = _listed(self.items, known)
        for item in chosen:
            if item not in known:
                raise PithError(f"this lab has no item {item!r}; its items are {', '.join(known)}")
        return chosen

    def chosen_levels(self, known: Collection[str]) -> tuple[str, ...]:
        """The levels asked for, all where none are. Raises PithError for levels that there are not."""
        chosen = _listed(self.levels, known)
        for levels in chosen:
            require_known("levels", levels, known, PithError)
        return chosen


def _listed(text: str | None, known: Collection[str]) -> tuple[str, ...]:
    """What `text` names, between commas; all that is known without a text."""
    return tuple(known) if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
