"""A full disk, a folder that turns read-only: one line, exit code 2, and the run can be continued."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pithnet.cli.app import main
from pithnet.results import Store

TRAIN = ["train", "--model", "digits-cnn", "--data", "digits", "--epochs", "2", "--batch-size", "512"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main([*TRAIN, "--out", str(out)]) == 0
    return out


def _fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    return _complaint(capsys.readouterr().err)


def _complaint(stderr: str) -> str:
    """The one line that is not about progress."""
    lines = [line for line in stderr.splitlines() if not line.startswith("train: ")]
    assert len(lines) == 1
    assert lines[0].startswith("pithnet: ")
    return lines[0]


# Replaced are settings.json, state.pt twice, model.pt, results.json; each synced, and so are the log's lines.
@pytest.mark.parametrize(
    ("call", "good", "number", "file"),
    [
        ("fsync", 0, errno.ENOSPC, "settings.json"),
        ("fsync", 2, errno.ENOSPC, "events.jsonl"),
        ("fsync", 6, errno.EDQUOT, "state.pt"),
        ("replace", 1, errno.EROFS, "state.pt"),
        ("replace", 3, errno.ENOSPC, "model.pt"),
        ("replace", 4, errno.EACCES, "results.json"),
    ],
)
def test_whichever_write_fails_the_run_can_be_continued(
    call: str,
    good: int,
    number: int,
    file: str,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, done, real = tmp_path / "run", [0], getattr(os, call)

    def limited(*arguments: object) -> object:
        done[0] += 1
        if done[0] > good:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, limited)
        line = _fails(capsys, *TRAIN, "--out", str(run))
    advice = "free some space" if number in (errno.ENOSPC, errno.EDQUOT) else "make the folder writable"
    begun = (run / "settings.json").exists()
    then = f"and continue with --resume {run}" if begun else "or choose another folder"
    assert line == f"pithnet: {run / file} cannot be written: {os.strerror(number)}; {advice} {then}"
    assert not list(run.glob("**/.*.part"))
    assert main(["train", "--resume", str(run)] if begun else [*TRAIN, "--out", str(run)]) == 0
    assert (run / "model.pt").read_bytes() == (whole / "model.pt").read_bytes()
    assert Store(run).events("epoch")[-1]["loss"] == Store(whole).events("epoch")[-1]["loss"]


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path: Path, whole: Path) -> None:
    # As `ulimit -f` sets it: the system itself refuses the bytes, here those of state.pt.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from pithnet.cli.app import main; sys.exit(main())"
    )
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", code, *TRAIN, "--out", str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert _complaint(done.stderr) == (
        f"pithnet: {run / 'state.pt'} cannot be written: File too large; free some space and continue with "
        f"--resume {run}"
    )
    assert not (run / "state.pt").exists()
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "model.pt").read_bytes() == (whole / "model.pt").read_bytes()


def _mount(*arguments: str) -> None:
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("file systems can be mounted by root only")


def test_a_real_disk_that_is_full_and_then_read_only(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, run = tmp_path / "disk", tmp_path / "disk" / "run"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=700k", "none", str(disk))
    try:
        assert "No space left on device; free some space" in _fails(capsys, *TRAIN, "--out", str(run))
        state = torch.load(run / "state.pt", weights_only=True)
        assert state["trainer"]["epoch"] == len(Store(run).events("epoch")[:1]) == 1
        _mount("-o", "remount,ro,size=700k", str(disk))
        line = _fails(capsys, "train", "--resume", str(run))
        assert "Read-only file system; make the folder writable and continue with --resume" in line
        _mount("-o", "remount,rw,size=9m", str(disk))
        assert main(["train", "--resume", str(run)]) == 0
        assert (run / "model.pt").read_bytes() == (whole / "model.pt").read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
