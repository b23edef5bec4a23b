"""What a run learns from, as digests in its settings.json: a resumed run must find the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pithnet.commands.inputs import Images
from pithnet.data import ArrayData
from pithnet.errors import PithError

_SAMPLED = 1000  # images of a set; all 150 MB of CIFAR-10 would take longer than the rest of the start


def fingerprints(images: Images, weights: str | None = None, teacher: str | None = None) -> dict[str, str]:
    """Returns digests (sha256) by name: "images", and where given those of the files "weights" and "teacher".

    Args:
        images: The images to learn from and to measure on.
        weights: The file of the network.
        teacher: ARCH:FILE of the teacher.
    """
    found = {"images": _of_images(images)}
    if weights is not None:
        found["weights"] = _of_file(weights)
    if teacher is not None:
        found["teacher"] = _of_file(_file(teacher))
    return found


def check_inputs(content: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Refuses to go on with other inputs than those that a run began with.

    Args:
        content: What the run's settings.json holds.
        now: What `fingerprints` finds now.

    Raises:
        PithError: An input is another; the message names it.
    """
    settings, data = content["settings"], content["data"]
    names = {"weights": settings.get("weights"), "teacher": _file(settings.get("teacher") or "")}
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
        raise PithError(
            f"the checkpoint {names.get(what)} is not the one this run began with; put that one back, or "
            "start a new run with --out"
        )


def _file(teacher: str) -> str:
    return teacher.partition(":")[2]


def _of_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _of_images(images: Images) -> str:
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
