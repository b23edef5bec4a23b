from __future__ import annotations

from pathlib import Path

import pytest

from pithnet.atomic import make_folder, staged, sweep, write_atomic
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


def _stopped_halfway(path: Path) -> None:
    with staged(path) as part:
        part.write_bytes(b"half")
        raise ValueError("stop")


def test_staging_keeps_the_name_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    with staged(tmp_path / "model.pt") as part:
        assert part.name == "model.pt"
        part.write_bytes(b"whole")
    assert (tmp_path / "model.pt").read_bytes() == b"whole"
    with pytest.raises(ValueError, match="stop"):
        _stopped_halfway(tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_two_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    with staged(tmp_path / "f") as first:
        first.write_bytes(b"first")
        with staged(tmp_path / "f") as second:
            second.write_bytes(b"second")
        assert (tmp_path / "f").read_bytes() == b"second"
    assert (tmp_path / "f").read_bytes() == b"first"


def test_sweeping_takes_unfinished_files_only(tmp_path: Path) -> None:
    (tmp_path / "archive.part").write_bytes(b"a download")
    with staged(tmp_path / "f") as part:
        part.write_bytes(b"half")
        sweep(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["archive.part"]
        part.parent.mkdir()
        part.write_bytes(b"whole")
    assert (tmp_path / "f").read_bytes() == b"whole"


def test_a_folder_is_made_with_those_it_lies_in(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(
        PithError, match=r"file/run cannot be created: Not a directory; choose another --out$"
    ):
        make_folder(tmp_path / "file" / "run")
    with pytest.raises(PithError, match=r"file cannot be created: File exists; take another$"):
        make_folder(tmp_path / "file", "take another")
