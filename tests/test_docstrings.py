"""Public docstrings: what ruff's pydocstyle rules cannot see, read from the source without importing it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
Function = ast.FunctionDef | ast.AsyncFunctionDef
# A function does something, so its summary begins with a verb ("Returns ..."); a property's is a noun.
_NO_VERB = re.compile(
    r"(A|An|All|As|Each|Every|False|For|How|Of|The|To|True|What|Where|Whether|Which|Yes|\W*\d\S*|\(.*)\b",
    re.S,
)
_PROSE = re.compile(r"\bRaises? [A-Z`]|\b[A-Z]\w+Error (above|for|if|naming|unless|when|where|with)\b")
# Methods of torch's, pickle's and threading's classes, which say what they are for.
_INHERITED = {"extra_repr", "forward", "find_class", "persistent_load", "run"}


class Entry(NamedTuple):
    """A public class, or a public function or method with the class it belongs to."""

    where: str
    node: Function | ast.ClassDef
    owner: ast.ClassDef | None


def _left_out() -> set[Path]:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    return {path for pattern in lint["per-file-ignores"] for path in ROOT.glob(pattern.replace("**", "**/*"))}


EVERYTHING = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "src").rglob("*.py"))}
TREES = {str(path.relative_to(ROOT)): EVERYTHING[path] for path in EVERYTHING.keys() - _left_out()}
CLASSES: dict[str, list[ast.ClassDef]] = {}
for _node in (node for tree in EVERYTHING.values() for node in ast.walk(tree)):
    if isinstance(_node, ast.ClassDef):
        CLASSES.setdefault(_node.name, []).append(_node)


def _bases(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """All classes of the names of its bases: two modules may each have one of a name."""
    for base in node.bases:
        for known in CLASSES.get(ast.unparse(base).split("[")[0].split(".")[-1], []):
            if known is not node:
                yield known
                yield from _bases(known)


ERRORS = {
    name
    for name, nodes in CLASSES.items()
    if any(base.name == "PithError" for node in nodes for base in _bases(node))
}


def _decorators(node: ast.AST) -> set[str]:
    return {ast.unparse(found).split(".")[-1] for found in getattr(node, "decorator_list", [])}


def _is_hidden(node: Function | ast.ClassDef) -> bool:
    return node.name.startswith("_") or "overload" in _decorators(node)


def _public(body: list[ast.stmt], where: str, owner: ast.ClassDef | None = None) -> Iterator[Entry]:
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and not _is_hidden(node):
            name = f"{where}:{node.lineno} {node.name}"
            yield Entry(name, node, owner)
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, where, node)


PUBLIC = [entry for where, tree in TREES.items() for entry in _public(tree.body, where)]
FUNCTIONS = [entry for entry in PUBLIC if isinstance(entry.node, Function)]


def _doc(node: Function | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _section(doc: str, name: str) -> str:
    found = re.search(rf"^{name}:\n((?:    .*\n?|\n)*)", doc, re.M)
    return found[1] if found else ""


def _methods(node: ast.ClassDef) -> dict[str, Function]:
    return {part.name: part for part in node.body if isinstance(part, Function)}


def _arguments(node: Function) -> set[str]:
    found = node.args
    every = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return {argument.arg for argument in every if argument is not None}


def _raised(node: ast.AST) -> set[str]:
    """The classes of our errors that the function itself raises, not those of functions inside it."""
    found = set()
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
            found |= {ast.unparse(part.exc.func)} & ERRORS
        elif not isinstance(part, Function | ast.ClassDef | ast.Lambda):
            found |= _raised(part)
    return found


def undocumented_methods() -> Iterator[str]:
    for where, node, owner in FUNCTIONS:
        if owner is None or _doc(node) or node.name in _INHERITED or "setter" in _decorators(node):
            continue
        if not any(_doc(_methods(base)[node.name]) for base in _bases(owner) if node.name in _methods(base)):
            yield where


def unnamed_errors() -> Iterator[str]:
    for where, node, _ in PUBLIC:
        parts = (
            [node]
            if isinstance(node, Function)
            else [part for name, part in _methods(node).items() if name in ("__init__", "__post_init__")]
        )
        named = _section(_doc(node), "Raises")
        for error in set().union(*map(_raised, parts)):
            if error not in named and _doc(node):
                yield f"{where}: {error}"


def errors_in_prose() -> Iterator[str]:
    for where, node, _ in PUBLIC:
        doc = _doc(node)
        if _PROSE.search(doc.replace(_section(doc, "Raises"), "")):
            yield where


def summaries_without_a_verb() -> Iterator[str]:
    for where, node, _ in FUNCTIONS:
        nouns = {"property", "cached_property"} & _decorators(node)
        if not nouns and _NO_VERB.match(_doc(node)):
            yield f"{where}: {_doc(node).splitlines()[0]}"


def arguments_that_are_none() -> Iterator[str]:
    for where, node, _ in PUBLIC:
        if isinstance(node, ast.ClassDef):
            kinds = [node, *_bases(node)]
            known = {
                part.target.id for kind in kinds for part in kind.body if isinstance(part, ast.AnnAssign)
            }
            made = next((_methods(kind)["__init__"] for kind in kinds if "__init__" in _methods(kind)), None)
            known |= _arguments(made) if made else set()
        else:
            known = _arguments(node)
        named = re.findall(r"^    \**(\w+):", _section(_doc(node), "Args"), re.M)
        yield from (f"{where}: {name}" for name in named if name not in known)


def exported_without_args() -> Iterator[str]:
    exported = {
        (f"src/{(node.module or '').replace('.', '/')}.py", alias.name)
        for where, tree in TREES.items()
        if where.endswith("__init__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for where, node, owner in FUNCTIONS:
        of_a_room = (where.split(":")[0], node.name) in exported
        count = len(node.args.args) + len(node.args.kwonlyargs)
        if owner is None and of_a_room and count > 1 and not _section(_doc(node), "Args"):
            yield where


# For each rule a source that breaks it.
RULES = {
    undocumented_methods: "class A:\n    def f(self): ...",
    unnamed_errors: 'def f():\n    """Fails."""\n    raise DataError("no")',
    errors_in_prose: 'def f():\n    """Returns one; DataError for none."""',
    summaries_without_a_verb: 'def f():\n    """The first one."""',
    exported_without_args: 'def f(a, b):\n    """Returns a."""',
    arguments_that_are_none: 'def f(a):\n    """Returns a.\n\n    Args:\n        b: a number.\n    """',
}


@pytest.mark.parametrize("rule", RULES)
def test_public_docstrings(rule):
    assert len(FUNCTIONS) > 50
    assert list(rule()) == []


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_sees_what_it_forbids(rule, monkeypatch):
    room, module = ast.parse("from pithnet.room.module import f"), ast.parse(RULES[rule])
    public = list(_public(module.body, "src/pithnet/room/module.py"))
    monkeypatch.setitem(globals(), "TREES", {"src/pithnet/room/__init__.py": room})
    monkeypatch.setitem(globals(), "PUBLIC", public)
    monkeypatch.setitem(globals(), "FUNCTIONS", [e for e in public if isinstance(e.node, Function)])
    found = list(rule())
    assert len(found) == 1
    assert found[0].startswith("src/pithnet/room/module.py:")


_SECTION = re.compile(r"^ *(?:Args|Attributes):\n((?: +\S.*\n|\n)+)", re.M)
_ENTRY = re.compile(r"^ *\*{0,2}[A-Za-z_]\w*(?:, \*{0,2}[A-Za-z_]\w*)*: (.*)$")
# Words that are written small wherever they stand: names of numbers in formulas, of types and of libraries.
_SMALL = {
    "alpha",
    "beta",
    "bool",
    "eps",
    "float",
    "gamma",
    "int",
    "lambda",
    "mu",
    "numpy",
    "rho",
    "sigma",
    "str",
    "torch",
}


def test_descriptions_of_arguments_and_attributes_begin_with_a_capital() -> None:
    found = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function | ast.ClassDef | ast.Module):
                for section in _SECTION.findall((ast.get_docstring(node) or "") + "\n"):
                    lines = section.splitlines()
                    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
                    entries = [_ENTRY.match(line) for line in lines if line[least : least + 1].strip()]
                    words = [re.split(r"[ ,;.:)]", entry[1])[0] for entry in entries if entry]
                    found += [
                        f"{path}: {word}"
                        for word in words
                        if (word == "a" or re.fullmatch("[a-z][a-z'-]+", word)) and word not in _SMALL
                    ]
    assert not found
