"""What public networks return: a dictionary with attributes, as Hugging Face's do."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class ModelOutput(OrderedDict[str, Any]):
    """Named outputs; those that are None are left out. Read as out.logits, out["logits"] or out[0]."""

    def __init__(self, **named: Any) -> None:
        super().__init__((name, value) for name, value in named.items() if value is not None)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: Any) -> Any:
        return tuple(self.values())[key] if isinstance(key, int) else super().__getitem__(key)
