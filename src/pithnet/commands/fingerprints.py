"""What a run learns from, as digests in its settings.json: a resumed run must find the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pithnet.commands.inputs import Images
from pithnet.commands.loaders import OwnLoaders
from pithnet.commands.settings import split_teacher
from pithnet.data import ArrayData
from pithnet.errors import PithError
from pithnet.learn import first_batch
from pithnet.run.resumption import batches_digest

_SAMPLED = 1000  # images of a set; all 150 MB of CIFAR-10 would take longer than the rest of the start


def loader_digests(loaders: OwnLoaders) -> dict[str, str]:
    """Returns for "train" and "val" the number of batches and a digest of the inputs of the first.

    Raises:
        DataError: A loader gives no batch, or one that cannot be read.
    """
    parts = {"train": loaders.train, "val": loaders.val}
    return {
        part: batches_digest(loader, first_batch(loader, part).inputs, part)
        for part, loader in parts.items()
        if loader is not None
    }


def check_inputs(content: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Refuses to go on with other inputs than those that a run began with.

    Args:
        content: What the run's settings.json holds.
        now: The digests of the inputs as they are now, by name.

    Raises:
        PithError: An input is another; the message names it.
    """
    settings, data = content["settings"], content["data"]
    names = {
        "weights": settings.get("weights"),
        "teacher": split_teacher(settings.get("teacher") or "")[1],
    }
    for what, began in content.get("inputs", {}).items():
        if began == now.get(what):
            continue
        if what == "images":
            where = f" at {data['data_root']}" if data["data_root"] else ""
            name = data["data"] or "cifar10"
            raise PithError(
                f"the images of {name}{where} are not those this run began with; put those back, or start a "
                "new run with --out"
            )
        if what in ("train", "val", "model"):
            which = f"the network that {settings['model']} returns is"
            if what != "model":
                which = f"the {what} batches of {data['data']} are"
            raise PithError(
                f"{which} not as when this run began; put that back, or start a new run with --out"
            )
        raise PithError(
            f"the checkpoint {names.get(what)} is not the one this run began with; put that one back, or "
            "start a new run with --out"
        )


def images_digest(images: Images) -> str:
    """Returns a SHA-256 of the labels of a data set and of images at even distances, in hex digits."""
    digest = hashlib.sha256()
    for part in (images.train, images.test):
        if part is not None:
            _add(digest, part)
    return digest.hexdigest()


def _add(digest: Any, part: ArrayData) -> None:
    """Shape, classes, all labels, and images at even distances."""
    digest.update(f"{tuple(part.images.shape)} {part.classes}".encode())
    if part.labels is not None:
        digest.update(part.labels.numpy().tobytes())
    step = max(1, len(part) // _SAMPLED)
    digest.update(part.images[::step].contiguous().numpy().tobytes())
