"""A teacher's answers: those it would give, kept under what they depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pithnet.data import Augmentation, Batches, Normalization
from pithnet.errors import PithError
from pithnet.learn import cached_teacher_logits, teacher_logits

from .problems import NORMALIZATION, batches, images, network


def test_answers_are_those_to_the_very_views_the_student_sees() -> None:
    teacher, data = network().eval(), batches()
    soft = teacher_logits(teacher, data, 3)
    assert (soft.shape, soft.dtype) == ((3, 70, 10), torch.float16)
    student = data.with_soft(soft)
    for epoch in range(7):
        student.epoch = epoch
        for x, _, answer in student:
            with torch.no_grad():
                torch.testing.assert_close(teacher(x), answer, rtol=2e-3, atol=2e-3)


def test_progress_counts_all_batches_of_all_views() -> None:
    seen: list[tuple[int, int]] = []
    teacher_logits(network(), batches(), 2, on_batch=lambda *at: seen.append(at))
    assert seen == [(i + 1, 10) for i in range(10)]


def test_the_cache_gives_the_same_answers_without_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    first = cached_teacher_logits(network(), batches(), 2, folder)
    monkeypatch.setattr("pithnet.learn.teacher.teacher_logits", None)
    again = cached_teacher_logits(network(), batches(), 2, folder)
    assert torch.equal(first, again)
    assert [p.suffix for p in folder.iterdir()] == [".pt"]


def test_whatever_the_answers_depend_on_asks_again(tmp_path: Path) -> None:
    cached_teacher_logits(network(), batches(), 2, tmp_path)
    changed = images()
    changed.images[0, 0, 0, 0] ^= 1
    other = network()
    with torch.no_grad():
        other.bn1.running_mean[0] += 1e-3
    augmented = {"augmentation": Augmentation(pad=1), "shuffle": True, "seed": 3}
    for n, (teacher, data, views) in enumerate(
        [
            (other, batches(), 2),
            (network(), batches(seed=4), 2),
            (network(), batches(), 1),
            (network(), Batches(changed, 16, NORMALIZATION, **augmented), 2),
            (network(), Batches(images(), 16, Normalization((0.0,), (1.0,)), **augmented), 2),
            (network(), Batches(images(), 16, NORMALIZATION, shuffle=True, seed=3), 2),
        ],
        start=2,
    ):
        expected = teacher_logits(teacher, data, views)
        assert torch.equal(cached_teacher_logits(teacher, data, views, tmp_path), expected)
        assert len(list(tmp_path.iterdir())) == n


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert torch.equal(
        cached_teacher_logits(network(), batches(), 1, None), teacher_logits(network(), batches(), 1)
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PithError, match=r"file/cache cannot be created: Not a directory"):
        cached_teacher_logits(network(), batches(), 1, tmp_path / "file" / "cache")
