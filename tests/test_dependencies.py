"""Releases that are known to be unsafe cannot be installed beside pithnet, wherever they are declared."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def declared() -> Iterator[Requirement]:
    """Every requirement of pyproject.toml: the package's own, its extras' and the groups'."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = content["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for items in [*lists, *content["dependency-groups"].values()]:
        yield from (Requirement(item) for item in items if isinstance(item, str))


@pytest.mark.parametrize(
    ("names", "unsafe", "safe"),
    [
        # Compromised releases.
        (("lightning-fabric", "lightning", "pytorch-lightning"), ("2.6.2", "2.6.3"), ("2.6.1", "2.6.4")),
        # Advisories against the parser.
        (("onnx",), ("1.17.0", "1.20.1"), ("1.21.0",)),
    ],
    ids=["lightning", "onnx"],
)
def test_unsafe_releases_are_excluded_everywhere(
    names: tuple[str, ...], unsafe: tuple[str, ...], safe: tuple[str, ...]
) -> None:
    found = [r for r in declared() if r.name in names]
    assert found
    for requirement in found:
        assert not [v for v in unsafe if requirement.specifier.contains(v)], str(requirement)
        assert all(requirement.specifier.contains(v) for v in safe), str(requirement)


def test_distributed_is_another_name_of_fabric() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert extras["distributed"] == ["pithnet[fabric]"]


def test_the_readme_leads_to_what_a_reader_promises() -> None:
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    for said in ("ArtifactError", "Checksums are not signatures", "weights_only=True", "vulnerability"):
        assert said in text
