from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pithnet.errors import PithError
from pithnet.report import write_csv
from pithnet.report.tables import table_columns

ROWS = [
    {"q": 0.1 + 0.2, "name": 'a "b", c'},
    {"q": np.float64(0.7), "zeros": [1, 2], "exact": True, "seed": None},
]


def test_csv_keeps_every_digit_and_every_key(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ROWS)
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as f:
        header, first, second = csv.reader(f)
    assert header == ["q", "name", "zeros", "exact", "seed"]
    assert float(first[0]) == 0.1 + 0.2
    assert first[1:] == ['a "b", c', "", "", ""]
    assert json.loads(second[2]) == [1, 2]
    assert second[3:] == ["True", ""]


def test_csv_takes_the_columns_asked_for(tmp_path: Path) -> None:
    write_csv(str(tmp_path / "t.csv"), ROWS, ["exact", "q"])
    assert (tmp_path / "t.csv").read_text() == "exact,q\n,0.30000000000000004\nTrue,0.7\n"


def test_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(PithError, match=r"no row has a column 'nmae'\. Did you mean name\?"):
        write_csv(tmp_path / "t.csv", ROWS, ["nmae"])
    assert not (tmp_path / "t.csv").exists()


def test_unwritable_csv_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PithError, match="cannot be written: Not a directory; free some space"):
        write_csv(tmp_path / "file" / "t.csv", ROWS)


def test_columns_are_shown_with_spaces_and_numbers_to_the_right() -> None:
    rows = [{"masks_exact": True, "q": 0.5, "interval": [0.1, 0.2]}, {"masks_exact": False}]
    flags, q, interval = table_columns(rows)
    assert (flags.heading, flags.cells, flags.numeric) == ("masks exact", ("yes", "no"), False)
    assert (q.cells, q.numeric) == (("0.5", "–"), True)
    assert (interval.cells, interval.numeric) == (("0.1 to 0.2", "–"), True)
