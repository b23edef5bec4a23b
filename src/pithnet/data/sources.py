"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pithnet.data.arrays import ArrayData, Normalization
from pithnet.data.cifar10 import load_cifar10
from pithnet.data.digits import load_digits
from pithnet.data.folders import load_folder
from pithnet.data.npz import load_npz
from pithnet.errors import DataError, lookup, require_known


@dataclass(frozen=True)
class Source:
    """A kind of data set.

    Attributes:
        load: Takes a root and a split and gives the images.
        normalization: The default, a key of NORMALIZATIONS.
        root: What a root is for this source, or None where it takes none.
    """

    load: Callable[[Path, str], ArrayData]
    normalization: str
    root: str | None


NORMALIZATIONS = {
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "digits": Normalization((0.3053,), (0.3758,)),  # of the 1,297 training images
}

DATASETS = {
    "cifar10": Source(
        load_cifar10,
        "cifar10",
        "the folder that holds cifar-10-batches-bin or -py; --download fetches it there. "
        "Bundled images: --data digits",
    ),
    "digits": Source(lambda root, split: load_digits(split), "digits", None),
    "folder": Source(load_folder, "imagenet", "the folder that holds train/CLASS/ and test/CLASS/"),
    "npz": Source(load_npz, "imagenet", "an .npz file, or a folder with train.npz and test.npz"),
}


def load(name: str, root: Path | None, split: str) -> ArrayData:
    """Returns the "train" or "test" part of a data set.

    Args:
        name: A key of DATASETS.
        root: Where it lies; None for a bundled one.
        split: "train" or "test".

    Raises:
        DataError: The name or the split is unknown, or the root is missing, not usable, or given for a
            bundled set.
    """
    source = lookup("data set", name, DATASETS, DataError)
    require_known("split", split, ("train", "test"), DataError)
    if source.root is None:
        if root is not None:
            raise DataError(f"data set {name!r} is bundled: leave out --data-root")
        return replace(source.load(Path(), split), name=name)
    if root is None:
        raise DataError(f"data set {name!r} needs --data-root DIR: {source.root}")
    return replace(source.load(Path(root), split), name=name)
