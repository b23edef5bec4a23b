"""A run folder's settings.json: written for a run that is begun, and read for one that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from pithnet.commands.settings import CompressSettings, DataSettings, TrainSettings, split_teacher
from pithnet.errors import PithError

Settings = TypeVar("Settings", bound="DataSettings | TrainSettings | CompressSettings")


def absolute(settings: Settings) -> Settings:
    """Returns the same settings with absolute paths, so that a run can be continued from another folder."""
    changes: dict[str, str] = {}
    for name in ("data_root", "weights", "cache", "widths"):
        value = getattr(settings, name, None)
        if value is not None:
            changes[name] = str(Path(value).absolute())
    teacher = getattr(settings, "teacher", None)
    if teacher is not None and ":" in teacher:
        architecture, file = split_teacher(teacher)
        changes["teacher"] = f"{architecture}:{Path(file).absolute()}" if file else teacher
    return replace(settings, **changes)  # type: ignore[arg-type]


def to_json(
    kind: str,
    command: str,
    data: DataSettings,
    settings: TrainSettings | CompressSettings,
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """Returns what settings.json holds.

    Args:
        kind: The command, "train" or "compress".
        command: What the run was started by.
        data: Which images.
        settings: What the command was told.
        inputs: Digests of what the run learns from.
    """
    return {
        "kind": kind,
        "command": command,
        "data": asdict(absolute(data)),
        "settings": asdict(absolute(settings)),
        "inputs": dict(inputs),
    }


def from_json(
    content: Any, kind: str, cls: type[Settings], where: Path
) -> tuple[DataSettings, Settings, str]:
    """Reads what a run was told from its settings.json.

    Args:
        content: What the file holds.
        kind: The command that continues the run.
        cls: The class of that command's settings.
        where: The run's folder, for messages.

    Returns:
        The images, the settings, and what the run was started by.

    Raises:
        PithError: The run is of another kind, or the file is damaged.
    """
    found = content.get("kind") if isinstance(content, dict) else None
    if found in ("train", "compress") and found != kind:
        raise PithError(f"{where} holds a {found} run; continue it with: pithnet {found} --resume {where}")
    try:
        if found != kind:
            raise ValueError(f"its kind is {found!r}, not {kind!r}")
        if not isinstance(content.get("inputs", {}), dict):
            raise ValueError("its inputs are no digests by name")
        return DataSettings(**content["data"]), cls(**content["settings"]), str(content["command"])
    except (KeyError, TypeError, ValueError) as e:
        raise PithError(f"{where / 'settings.json'} is not what pithnet {kind} writes: {e}") from None
