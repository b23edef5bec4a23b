from __future__ import annotations

from pathlib import Path

import pytest

from pithnet.atomic import write_atomic
from pithnet.errors import PithError


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    for data in (b"first", b"", b"second"):
        write_atomic(tmp_path / "f", data)
        assert (tmp_path / "f").read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(PithError, match=r"f cannot be written: Is a directory; free some space"):
        write_atomic(tmp_path / "f", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_for_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("kept")
    with pytest.raises(PithError, match="cannot be written: Not a directory"):
        write_atomic(tmp_path / "f" / "g", b"x")
    assert (tmp_path / "f").read_text() == "kept"
