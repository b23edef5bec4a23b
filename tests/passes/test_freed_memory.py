"""Freed memory goes back to the system, and where it cannot nothing happens."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import torch

from pithnet.passes import freed_memory
from pithnet.passes.freed_memory import give_back_freed


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@pytest.mark.skipif(freed_memory._trim() is None, reason="the allocator has no call for it")
def test_what_threads_have_freed_is_given_back() -> None:
    def work() -> None:
        parts = [torch.ones(25_000) for _ in range(1600)]  # 100 kB each: too small to be mapped on their own
        held.append(torch.ones(1))  # after them, so that they are not at the end of the thread's memory
        del parts

    held: list[torch.Tensor] = []
    give_back_freed()
    before = resident()
    for _ in range(4):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    give_back_freed()
    assert resident() - before < 80e6  # half of what each of the threads has freed


def test_without_such_a_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    assert freed_memory._trim.__wrapped__() is None
    monkeypatch.setattr(freed_memory, "_trim", lambda: None)
    give_back_freed()
