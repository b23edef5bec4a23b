"""Tables of widths in JSON files, which anyone may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pithnet.errors import ModelError
from pithnet.zoo.widths import LARGEST

_LARGEST_FILE = 1 << 24


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Returns the object that a JSON file holds.

    Args:
        path: The file.

    Raises:
        ModelError: The file is missing, too large, or holds no JSON object; the message names it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as e:
        raise ModelError(f"{path} cannot be read: {e.strerror or e}") from None
    if len(data) > _LARGEST_FILE:
        raise ModelError(f"{path} is no table of widths: it has more than {_LARGEST_FILE} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise ModelError(f"{path} is no JSON: {str(e).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise ModelError(f'{path} holds no JSON object such as {{"widths": {{"conv1": 8}}}}')
    return found


def read_widths(path: str | Path) -> dict[str, int]:
    """Returns the widths of a file that `save_state` wrote, or of a plan's `to_json`.

    Args:
        path: The file: {"widths": {layer: outputs}}; other entries are not looked at.

    Raises:
        ModelError: The file cannot be read, or has no such table; the message names it.
    """
    return widths_in(read_json_object(path), path)


def widths_in(content: dict[str, Any], path: str | Path) -> dict[str, int]:
    """Returns the widths of what a file holds.

    Args:
        content: The JSON object.
        path: The file, for messages.

    Raises:
        ModelError: The object has no table of widths, or one with other values than whole numbers.
    """
    widths = content.get("widths")
    if not isinstance(widths, dict):
        raise ModelError(f'{path} has no "widths": pn.save_state and a plan\'s to_json() write them')
    for layer, number in widths.items():
        if type(number) is not int or not 0 <= number <= LARGEST:
            raise ModelError(
                f"{path}: the width of {layer} is {number!r}, and no whole number up to {LARGEST}"
            )
    return widths
