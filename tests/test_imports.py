"""What importing costs, which way imports go, and what each room offers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pithnet"
ROOMS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))
HEAVY = ("torch", "matplotlib", "scipy", "sklearn", "numba")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module", ["pithnet", "pithnet.cli.app", "pithnet.recipe", "pithnet.coding", "pithnet.errors"]
)
def test_a_light_module_imports_no_framework(module: str) -> None:
    found = python(f"import sys, {module}; print(*(m for m in {HEAVY} if m in sys.modules))")
    assert found.split() == []


def test_imports_go_one_way() -> None:
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_there_are_rooms() -> None:
    assert {
        "tensor",
        "coding",
        "recipe",
        "data",
        "zoo",
        "surgery",
        "learn",
        "passes",
        "artifact",
        "run",
    } <= set(ROOMS)


def imported(tree: ast.Module) -> list[str]:
    """The names an __init__ imports from its own package."""
    nodes = [n for n in tree.body if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("pithnet")]
    return [alias.asname or alias.name for node in nodes for alias in node.names]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_all_it_imports_and_does_nothing_else(room: str) -> None:
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree), "a room says what it is for"
    module = importlib.import_module(f"pithnet.{room}")
    offered = getattr(module, "__all__", [])
    assert sorted(imported(tree)) == sorted(offered)
    assert all(hasattr(module, name) for name in offered)
    kinds = ast.Expr | ast.ImportFrom | ast.Import | ast.Assign
    assert all(isinstance(node, kinds) for node in tree.body), "only re-exports belong in an __init__"


def test_the_top_level_offers_what_its_list_says() -> None:
    found = python(
        "import pithnet\n"
        "assert len(set(pithnet.__all__)) == len(pithnet.__all__) > 10\n"
        "assert set(pithnet.__all__) <= set(dir(pithnet))\n"
        "for name in pithnet.__all__: getattr(pithnet, name)\n"
        "try: pithnet.prun\n"
        "except AttributeError as e: print(e)"
    )
    assert "prun" in found
