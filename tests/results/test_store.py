"""A run folder survives what may happen to it, and says what cannot be done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from pithnet.atomic import write_atomic
from pithnet.errors import PithError
from pithnet.results import Store
from pithnet.run.states import load_state, save_state


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "runs" / "one", {"seed": 1}) as made:
        yield made


def again(folder: Store) -> Store:
    """As another process opens it when this one has died."""
    folder.close()
    return Store.open(folder.path)


def test_a_new_folder_keeps_its_settings_and_is_not_overwritten(folder: Store) -> None:
    assert again(folder).read_json("settings.json") == {"seed": 1}
    with pytest.raises(PithError, match="holds a run already; continue it with --resume"):
        Store.create(folder.path, {})
    assert folder.read_json("settings.json") == {"seed": 1}


def test_there_must_be_a_run_to_continue(tmp_path: Path) -> None:
    with pytest.raises(PithError, match="holds no run to continue"):
        Store.open(tmp_path)


HOLD = """\
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
time.sleep(99)
"""


def test_another_process_is_kept_out_until_it_is_killed(folder: Store) -> None:
    pytest.importorskip("fcntl")
    in_flight = folder.path / ".state.pt-abc.part"
    in_flight.mkdir()
    folder.close()
    command = [sys.executable, "-c", HOLD, str(folder.path / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(PithError, match=f"{folder.path} is in use by another process"):
            Store.open(folder.path)
        assert in_flight.exists(), "what the other process was writing"
        (folder.path / "settings.json").rename(folder.path / "hidden")
        with pytest.raises(PithError, match="is in use by another process"):
            Store.create(folder.path, {})
        (folder.path / "hidden").rename(folder.path / "settings.json")
        other.kill()
    with Store.open(folder.path):
        assert not in_flight.exists()


def test_a_folder_is_left_at_the_end_of_its_block_and_of_its_object(folder: Store) -> None:
    pytest.importorskip("fcntl")
    with pytest.raises(PithError, match="in use"):
        Store.open(folder.path)
    folder.close()
    with Store.open(folder.path), pytest.raises(PithError, match="in use"):
        Store.open(folder.path)
    Store.open(folder.path)  # nobody keeps it
    Store.open(folder.path)


def test_a_system_without_locks_keeps_nobody_out(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("pithnet.results.store.FileLock.acquire", refuse)
    assert Store.open(folder.path).read_json("settings.json") == {"seed": 1}


def test_settings_come_last_because_they_make_the_folder_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "run", os.replace

    def stop_at_settings(part: Path, to: Path) -> None:
        if to.name == "settings.json":
            raise KeyboardInterrupt
        real(part, to)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", stop_at_settings)
        with pytest.raises(KeyboardInterrupt):
            Store.create(path, {"seed": 1}, {"recipe.yaml": b"first"})
    assert {p.name for p in path.iterdir()} == {".lock", "recipe.yaml"}
    with pytest.raises(PithError, match=r"holds no run to continue.*; start one with --out"):
        Store.open(path)
    Store.create(path, {"seed": 1}, {"recipe.yaml": b"second"})
    assert (path / "recipe.yaml").read_bytes() == b"second"


def test_opening_removes_what_a_killed_process_was_writing(folder: Store) -> None:
    for left in (folder.path / ".state.pt-abc.part", folder.path / "cache" / ".teacher.pt-xyz.part"):
        left.mkdir(parents=True)
        (left / "half").write_text("")
    again(folder)
    assert sorted(str(p.relative_to(folder.path)) for p in folder.path.rglob("*")) == [
        ".lock",
        "cache",
        "settings.json",
    ]


def test_starting_anew_removes_what_a_killed_start_was_writing_and_nothing_else(tmp_path: Path) -> None:
    for left in (".settings.json-ab.part", ".other.json-ab.part"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half").write_bytes(b"x")
    Store.create(tmp_path, {"seed": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".other.json-ab.part", "settings.json"]


def test_what_cannot_be_written_says_how_to_go_on(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    folder.event("seen", n=1)
    monkeypatch.setattr("os.fsync", closed)
    monkeypatch.setattr("os.truncate", closed)
    advice = rf"Read-only file system; make the folder writable and continue with --resume {folder.path}"
    for write in (
        lambda: folder.event("seen", n=2),
        lambda: save_state(folder, {"step": 0}),
        lambda: folder.write("model.pith", b"x"),
        lambda: load_state(folder),
    ):
        with pytest.raises(PithError, match=rf" cannot be written: {advice}$"):
            write()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PithError, match=r"file/run cannot be created: Not a directory; choose another --out"):
        Store.create(tmp_path / "file" / "run", {})
    with pytest.raises(PithError, match="cannot be created: File exists"):
        Store.create(tmp_path / "file", {})
    for path in (tmp_path / "none" / "a.json", tmp_path / "file" / "a.json"):
        with pytest.raises(PithError, match=r"a\.json cannot be written: "):
            write_atomic(path, b"x")


def test_a_write_that_fails_leaves_what_was_there(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_json("results.json", [1])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(PithError, match=r"results\.json cannot be written: No space left on device"):
        folder.write_json("results.json", [2])
    assert folder.read_json("results.json") == [1]
    assert not [p for p in folder.path.iterdir() if "part" in p.name or "tmp" in p.name]


def test_json_that_is_missing_or_damaged_is_named(folder: Store) -> None:
    (folder.path / "bad.json").write_text("{")
    for name in ("none.json", "bad.json"):
        with pytest.raises(PithError, match=f"{name} cannot be read"):
            folder.read_json(name)


def test_events_are_lines_in_order(folder: Store) -> None:
    folder.event("seen", loss=0.5)
    folder.event("done", what="prune")
    folder.event("seen", loss=0.25)
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["seen", "done", "seen"]
    assert [e["loss"] for e in folder.events("seen")] == [0.5, 0.25]
    assert folder.events("nothing") == []


def test_a_state_comes_back_to_the_bit(folder: Store) -> None:
    assert load_state(folder) is None
    content = {
        "step": 2,
        "trainer": {"epoch": 1},
        "model": {"w": torch.randn(3, 2), "m": torch.tensor([True])},
    }
    save_state(folder, content)
    state = load_state(again(folder))
    assert state is not None
    assert (state["step"], state["trainer"]) == (2, {"epoch": 1})
    assert torch.equal(state["model"]["w"], content["model"]["w"])
    assert torch.equal(state["model"]["m"], content["model"]["m"])


def test_loading_a_state_forgets_the_events_after_it_and_half_a_line(folder: Store) -> None:
    folder.event("seen", n=1)
    save_state(folder, {"step": 0})
    folder.event("seen", n=2)
    with open(folder.path / "events.jsonl", "a") as log:
        log.write('{"event": "ep')
    opened = again(folder)
    load_state(opened)
    opened.event("seen", n=2)
    assert [e["n"] for e in opened.events("seen")] == [1, 2]


def test_a_damaged_state_is_named(folder: Store) -> None:
    save_state(folder, {"step": 0, "model": {"w": torch.zeros(500)}})
    path = folder.path / "state.pt"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PithError, match=r"state\.pt"):
        load_state(folder)


def test_what_is_read_in_a_form_is_written_in_it(folder: Store) -> None:
    folder.event("epoch", epoch=1, loss=0.5)
    with pytest.raises(ValidationError, match="loss"):
        folder.event("epoch", epoch=2)
    folder.write_record("plan.json", {"bytes": 3, "layers": [{"name": "conv", "bytes": 1}], "rest": 2})
    assert folder.read_json("plan.json")["rest"] == 2
    with pytest.raises(ValidationError, match="bytes"):
        folder.write_record("plan.json", {"bytes": -1, "layers": []})
    assert folder.read_json("plan.json")["bytes"] == 3
