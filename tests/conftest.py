"""Which tests run in one process: those of a file, and those of the files that share a lab's quick run."""

from __future__ import annotations

import pytest

# Beginnings of the names of files in tests/labs that judge the same session-wide run.
_TOGETHER = ("test_linear", "test_pruning", "test_deep_compression", "test_fixed_point", "test_ptq")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test a group; `make test` keeps a group in one process, which sets fixtures up once."""
    for item in items:
        lab = item.callspec.params.get("lab") if hasattr(item, "callspec") else None
        stem = f"test_{lab.replace('-', '_')}" if isinstance(lab, str) else item.path.stem
        name = next((start for start in _TOGETHER if stem.startswith(start)), None)
        item.add_marker(pytest.mark.xdist_group(name or str(item.path)))
