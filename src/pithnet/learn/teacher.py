"""A teacher's logits, computed once for a fixed number of augmented views of every image."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from pithnet.atomic import make_folder, write_atomic
from pithnet.data.batches import Batches
from pithnet.learn.batch import logits_of
from pithnet.learn.precision import channels_last_
from pithnet.surgery.weights.ties import raw_bytes


def teacher_logits(
    teacher: nn.Module,
    batches: Batches,
    views: int,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Returns the teacher's logits for every image in each of its views, float16 (views, N, classes).

    A teacher larger than the student costs more than the student's own training step; looking its answers up
    makes every epoch after the first `views` free of it. The teacher is left in eval mode.

    Args:
        teacher: A network that gives class logits.
        batches: The images.
        views: How many views of each.
        on_batch: Called with (batches done, batches) for progress bars.
    """
    channels_last_(teacher.eval())
    device = next(teacher.parameters()).device
    total, done, out = views * -(-len(batches.data) // batches.batch_size), 0, []
    with torch.inference_mode():
        for view in range(views):
            logits = []
            for x in batches.view(view):
                logits.append(logits_of(teacher(x.to(device))).cpu().half())
                done += 1
                if on_batch:
                    on_batch(done, total)
            out.append(torch.cat(logits))
    return torch.stack(out).clone()


def cached_teacher_logits(
    teacher: nn.Module,
    batches: Batches,
    views: int,
    folder: Path | None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Does what `teacher_logits` does, and keeps the result under a name of everything it depends on.

    Args:
        teacher: A network that gives class logits.
        batches: The images.
        views: How many views of each.
        folder: Where to keep it, or None for nowhere.
        on_batch: Called with (batches done, batches) for progress bars.
    """
    if folder is None:
        return teacher_logits(teacher, batches, views, on_batch=on_batch)
    path = folder / f"teacher-{_fingerprint(teacher, batches, views)}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    logits = teacher_logits(teacher, batches, views, on_batch=on_batch)
    buffer = io.BytesIO()
    torch.save(logits, buffer)
    make_folder(folder, "choose another cache folder")
    write_atomic(path, buffer.getvalue())
    return logits


def _fingerprint(teacher: nn.Module, batches: Batches, views: int) -> str:
    digest = hashlib.sha256(f"{views} {batches.seed} {batches.augmentation} {batches.normalization}".encode())
    digest.update(_bytes(batches.data.images))
    for name, value in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(value))
    return digest.hexdigest()[:16]


def _bytes(value: Tensor) -> bytes:
    # As uint8, because numpy has no bfloat16.
    return raw_bytes(value.detach().cpu()).numpy().tobytes()
