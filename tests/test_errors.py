"""Names that there are not: one message for all of them."""

from __future__ import annotations

import pytest

from pithnet.errors import DataError, ModelError, RecipeError, lookup, require_known

FRUIT = {"apple": 1, "pear": 2}


def test_lookup_returns_what_the_table_holds() -> None:
    assert lookup("fruit", "pear", FRUIT, RecipeError) == 2


@pytest.mark.parametrize(
    ("name", "advice", "says"),
    [
        ("appel", "", "unknown fruit 'appel'. Did you mean apple?"),
        ("plum", "", "unknown fruit 'plum'. Known: apple, pear."),
        ("peer", "Or grow one.", "unknown fruit 'peer'. Did you mean pear? Or grow one."),
    ],
)
def test_unknown_names_raise_the_error_asked_for(name: str, advice: str, says: str) -> None:
    with pytest.raises(DataError) as looked_up:
        lookup("fruit", name, FRUIT, DataError, advice)
    with pytest.raises(ModelError) as required:
        require_known("fruit", name, tuple(FRUIT), ModelError, advice)
    assert str(looked_up.value) == str(required.value) == says


def test_names_of_a_tuple_may_be_required() -> None:
    require_known("fruit", "apple", ("apple", "pear"), ModelError)
    with pytest.raises(ModelError, match=r"unknown fruit 'apple'\. Known: pear"):
        require_known("fruit", "apple", ("pear",), ModelError)


def test_what_is_no_name_is_unknown_too() -> None:
    for given in (None, 3, ["plum"]):
        with pytest.raises(RecipeError, match=r"^unknown fruit .*\. Known: apple, pear\.$"):
            lookup("fruit", given, FRUIT, RecipeError)  # type: ignore[arg-type]
