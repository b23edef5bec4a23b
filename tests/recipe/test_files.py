"""Presets and files: read, written, read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pithnet.errors import RecipeError
from pithnet.recipe import Distill, Keep, Prune, Recipe, Share, Step, Train, load_recipe, presets, to_yaml


def test_the_shipped_presets_are_there() -> None:
    assert {"deep-compression", "smallest"} <= set(presets())
    assert presets() == sorted(presets())


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid_named_as_its_file_and_survives_yaml(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert (recipe.epochs == 0) == (name == "post-training")
    path = tmp_path / "copy.yaml"
    path.write_text(to_yaml(recipe))
    assert load_recipe(path) == recipe == load_recipe(str(path))


def test_a_recipe_with_nothing_at_its_default_survives_yaml(tmp_path: Path) -> None:
    recipe = Recipe(
        name="full",
        description="Ünïcode: and, {braces}",
        steps=(
            Step(
                prune=Prune(
                    sparsity=0.7,
                    scope="erk",
                    criterion="lamp",
                    schedule="linear",
                    ramp=0.25,
                    updates=7,
                    skip=("conv1", "layer?.*"),
                ),
                train=Train(
                    epochs=3,
                    lr=1e-7,
                    schedule="constant",
                    warmup=0.125,
                    momentum=0.0,
                    weight_decay=0.0,
                ),
            ),
            Step(prune=Prune(std=1.5)),
            Step(
                share=Share(levels=6, init="kmeans++", rate_weight=0.5, trained=True), train=Train(epochs=1)
            ),
        ),
        batch_size=7,
        augment=False,
        label_smoothing=0.1,
        distill=Distill(weight=0.5, temperature=2.5, views=3),
        storage=Keep(codebook="fixed10", norm="fixed8", other="float32", fold=False),
        seed=11,
    )
    path = tmp_path / "full.yml"
    path.write_text(to_yaml(recipe), "utf-8")
    assert load_recipe(path) == recipe


def test_an_unknown_name_gets_its_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'deep-compresion'\. Did you mean deep-compression.* YAML file"):
        load_recipe("deep-compresion")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.yaml cannot be read: No such file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    "content", [b"name: [", b"a: b: c", b"\xff\xfe\x00", b"!!python/object/apply:os.system [ls]"]
)
def test_what_is_not_yaml_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"bad\.yaml is not YAML: ") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(RecipeError, match=r"empty\.yaml: recipe: "):
        load_recipe(tmp_path / "empty.yaml")


def test_a_key_that_comes_twice_and_a_file_nested_too_deep_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\nsteps:\n  - prune: {sparsity: 0.5, sparsity: 0.6}\n")
    with pytest.raises(RecipeError, match="key 'sparsity' comes twice"):
        load_recipe(file)
    file.write_text("[" * 3000)
    with pytest.raises(RecipeError, match="is nested too deep"):
        load_recipe(file)
