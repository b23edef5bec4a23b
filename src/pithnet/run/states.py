"""Tensors in files: the state a run continues from, in its store, and the weights it leaves."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pithnet.atomic import staged
from pithnet.errors import PithError
from pithnet.results import Store

State = dict[str, Any]


def save_tensors(store: Store, name: str, content: State) -> None:
    """Writes a dict by torch.save, whole or not at all.

    Raises:
        PithError: The file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    store.write(name, buffer.getbuffer())


def load_tensors(store: Store, name: str) -> State | None:
    """Returns what `save_tensors` wrote, on the CPU; None where there is no such file.

    Raises:
        PithError: The file is damaged.
    """
    path = store.path / name
    try:
        if path.exists():
            found: State = torch.load(path, map_location="cpu", weights_only=True)
            return found
    except Exception as e:  # torch raises many kinds on a damaged file
        raise PithError(
            f"{path} cannot be read ({type(e).__name__}); start the run again in another folder"
        ) from None
    return None


def save_state(store: Store, state: State, name: str = "state.pt") -> None:
    """Writes what `load_state` gives back after a crash.

    Raises:
        PithError: The file cannot be written.
    """
    save_tensors(store, name, {**state, "log_bytes": store.log_bytes})


def load_state(store: Store, name: str = "state.pt") -> State | None:
    """Returns the last saved state, on the CPU; None where the work had not come to one.

    events.jsonl is cut back to that moment: what came later happens again.

    Raises:
        PithError: The state is damaged, or the folder cannot be written.
    """
    state = load_tensors(store, name)
    store.cut_log(0 if state is None else state.get("log_bytes", store.log_bytes))
    return state


def save_checkpoint(
    path: Path, state: Mapping[str, Tensor], advice: str = "or choose another folder"
) -> None:
    """Writes a plain dict of tensors, on the CPU, by torch.save, whole or not at all.

    Args:
        path: The file.
        state: The tensors by name.
        advice: How the message goes on after "free some space".

    Raises:
        PithError: The file cannot be written.
    """
    try:
        with staged(path, advice) as part:
            torch.save({name: value.cpu() for name, value in state.items()}, part)
    except RuntimeError as e:  # torch's own writer does not say what the system told it
        first = str(e).splitlines()[0]
        raise PithError(f"{path} cannot be written ({first}); free some space {advice}") from None
