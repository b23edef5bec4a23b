"""docs/zoo-layouts.md, the layouts of the zoo as a part of the format: written by this, and read again.

    PYTHONPATH=src python tests/artifact/zoo_layouts.py

writes the page anew. It may gain architectures; what it says of one never changes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from pithnet import zoo

PAGE = Path(__file__).parents[2] / "docs" / "zoo-layouts.md"
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_BLOCK = re.compile(r"((?:layer|stage|block|features)[a-z]*\d*\.\d+)\.(.+)")
_HEAD = """# The layouts of the zoo

A part of [format.md](format.md): a file that names an architecture and has no `l` holds these tensors, in
this order. A line is a name and a shape; `norm` and a number c is a BatchNorm: the entries `weight`,
`bias`, `running_mean`, `running_var` of shape c, and `num_batches_tracked`, int64 of no dimensions, each
behind the name and a dot. All others are float32. Lines below a line such as `layer1.0 to layer1.2:`
stand once for each of these names, with it and a dot in front.

The shapes are those of the arguments in parentheses, which a file that gives none means. `classes` is the
length of the last weight's first axis and of the last bias, `hidden` the outputs of the linear layers
before. With another `width`, all numbers of channels but those of the images are to the ones here as it
is to the `width` here, rounded down; in `mobilenetv2` those inside a block are 6 times those that come
into it, but in the first block as many. `widths` are described in format.md.
"""


def lines(name: str) -> Iterator[str]:
    """Yields a line for each tensor or BatchNorm of an architecture."""
    state = list(zoo.build(name).state_dict().items())
    while state:
        key, value = state[0]
        prefix = key.rpartition(".")[0]
        if [k for k, _ in state[: len(_NORM)]] == [f"{prefix}.{last}" for last in _NORM]:
            yield f"{prefix} norm {value.numel()}"
            del state[: len(_NORM)]
            continue
        yield " ".join([key, *map(str, value.shape)])
        del state[0]


def section(name: str) -> str:
    """The section of an architecture, with blocks that are alike told once."""
    parameters = inspect.signature(zoo.ARCHITECTURES[name]).parameters.values()
    given = ", ".join(f"{p.name} = {p.default}" for p in parameters if p.name != "widths")
    blocks: list[tuple[list[str], list[str]]] = []  # names, lines without them
    for line in lines(name):
        found = _BLOCK.fullmatch(line)
        block, rest = found.groups() if found and found[1].count("layer") else ("", line)
        if not blocks or blocks[-1][0] != [block]:
            blocks.append(([block], []))
        blocks[-1][1].append(rest)
    merged: list[tuple[list[str], list[str]]] = []
    for names, rest in blocks:
        if (
            merged
            and names[0]
            and merged[-1][0][0]
            and merged[-1][1] == rest
            and _same_row(merged[-1][0], names)
        ):
            merged[-1][0].extend(names)
        else:
            merged.append((list(names), rest))
    text = [f"\n## {name} ({given})\n", "```"]
    for names, rest in merged:
        if names[0]:
            text.append(f"{names[0]}:" if len(names) == 1 else f"{names[0]} to {names[-1]}:")
        text += [f"  {line}" if names[0] else line for line in rest]
    return "\n".join([*text, "```", ""])


def _same_row(before: list[str], names: list[str]) -> bool:
    return before[-1].rpartition(".")[0] == names[0].rpartition(".")[0]


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(map(section, zoo.ARCHITECTURES))


Layout = list[tuple[str, str, tuple[int, ...]]]


def read() -> dict[str, Layout]:
    """The layouts that the page tells, by architecture: names, dtypes, shapes."""
    found: dict[str, Layout] = {}
    for name, body in re.findall(r"^## (\S+) [^\n]*\n\n```\n(.*?)```", PAGE.read_text(), re.M | re.S):
        prefixes, block, whole = [""], [], list[str]()
        for line in [*body.splitlines(), ""]:
            if line.startswith("  "):
                block.append(line.strip())
                continue
            whole += [f"{prefix}.{rest}" for prefix in prefixes for rest in block]
            prefixes, block = _names(line), []
            if line and not line.endswith(":"):
                whole.append(line)
        found[name] = [entry for line in whole for entry in _entries(line)]
    return found


def _names(line: str) -> list[str]:
    first, _, last = line.removesuffix(":").partition(" to ")
    start, _, low = first.rpartition(".")
    high = last.rpartition(".")[2] or low
    return [f"{start}.{n}" for n in range(int(low), int(high) + 1)] if line.endswith(":") else []


def _entries(line: str) -> Layout:
    name, *rest = line.split()
    if rest[:1] == ["norm"]:
        vectors = [(f"{name}.{last}", "float32", (int(rest[1]),)) for last in _NORM[:-1]]
        return [*vectors, (f"{name}.{_NORM[-1]}", "int64", ())]
    return [(name, "float32", tuple(map(int, rest)))]


if __name__ == "__main__":
    PAGE.write_text(page())
