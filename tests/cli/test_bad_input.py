"""What the user can get wrong: one clear line on stderr, exit code 2, no traceback, no folder left behind."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from pithnet import zoo
from pithnet.cli.app import main

from .conftest import Run

DIGITS = ("--model", "digits-cnn", "--data", "digits")


def fails(run: Run, *arguments: str | Path) -> str:
    """The line on stderr of a command that must fail."""
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("pithnet: ")
    assert len(err.splitlines()) <= 2
    assert "Traceback" not in err
    return err


@pytest.fixture
def weights(trained: Path) -> Path:
    return trained / "model.pt"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epocs", "3"], "Did you mean --epochs?"),
        (["train", "--epochs", "many"], "--epochs"),
        (["unpack", "x.pith"], "--to"),
        (["train", *DIGITS], "Give --out DIR, or --resume RUN"),
        (["train", "--data", "digits", "--out", "OUT"], "Give --model NAME"),
        (
            ["train", "--model", "resnet21", "--data", "digits", "--out", "OUT"],
            "Did you mean resnet32 or resnet20?",
        ),
        (["train", "--model", "resnet20", "--data", "cifra10", "--out", "OUT"], "Did you mean cifar10?"),
        (["train", "--model", "resnet20", "--data", "digits", "--out", "OUT"], "1 x 8 x 8"),
        (["train", *DIGITS, "--out", "OUT", "--normalize", "cifar"], "Did you mean cifar10?"),
        (["train", *DIGITS, "--out", "OUT", "--normalize", "0.5/zero"], "is not M,M,M/S,S,S"),
        (["train", *DIGITS, "--out", "OUT", "--normalize", "cifar10"], "normalisation has 3 channels"),
        (["train", *DIGITS, "--out", "OUT", "--normalize", "0.5/0"], "stds must be positive"),
        (["train", *DIGITS, "--out", "OUT", "--schedule", "two-cycle"], '"two-cycle" for --schedule'),
        (["train", *DIGITS, "--out", "OUT", "--epochs", "0"], "--epochs 0"),
        (["train", *DIGITS, "--out", "OUT", "--lr", "-1"], "--lr -1.0"),
        (["train", *DIGITS, "--out", "OUT", "--batch-size", "0"], "--batch-size 0"),
        (["train", *DIGITS, "--out", "OUT", "--distill", "2"], "--distill 2.0"),
        (["train", *DIGITS, "--out", "OUT", "--precision", "bf61"], "Did you mean bf16?"),
        (["train", *DIGITS, "--out", "OUT", "--val", "1297"], "cannot hold out 1297 of 1297"),
        (["train", *DIGITS, "--out", "OUT", "--data-root", "."], "leave out --data-root"),
        (["train", *DIGITS, "--out", "OUT", "--download"], "--download fetches cifar10, not digits"),
        (["train", *DIGITS, "--out", "OUT", "--teacher", "resnet44"], "is not ARCH:FILE"),
        (["train", *DIGITS, "--out", "OUT", "--teacher", "digits-cnn:gone.pt"], "no such checkpoint"),
        (["train", "--model", "resnet20", "--out", "OUT"], "needs --data-root DIR"),
        (["train", "--model", "resnet20", "--out", "OUT", "--download"], "--download needs --data-root DIR"),
        (["train", "--resume", "OUT"], "holds no run to continue"),
        (["train", *DIGITS, "--out", "OUT", "--epochs", "1.5"], "--epochs: '1.5' is no whole number. See"),
        (["train", *DIGITS, "--out", "OUT", "--val", "0.3"], "--val: '0.3' is no whole number."),
        (["train", *DIGITS, "--out", "OUT", "--seed", "9" * 20], "has more than 64 bits."),
        (["compress", *DIGITS, "--out", "OUT", "--calibrate", "0.4"], "'0.4' is no whole number."),
        (["train", *DIGITS, "--out", "OUT", "--lr", "abc"], '--lr: unable to convert "abc" into float'),
        (["compress", *DIGITS, "--out", "OUT"], "give --weights FILE"),
        (["compress", *DIGITS, "--weights", "gone.pt", "--out", "OUT"], "gone.pt: no such checkpoint"),
        (["compress", *DIGITS, "--weights", "x.pt", "--recipe", "smalest", "--out", "OUT"], "mean smallest?"),
        (["evaluate", "gone.pith", "--data", "digits"], "gone.pith: cannot be read"),
        (["evaluate", "gone.pt", "--data", "digits", "--model", "digits-cnn"], "gone.pt cannot be read"),
        (["inspect", "gone.pith"], "gone.pith: cannot be read"),
        (["export", "gone.pith", "--to", "."], ". is a folder; give the file to write, such as model.onnx"),
        (["report", "OUT"], "OUT"),
        (["lab", "prunning", "--out", "OUT"], "Did you mean pruning?"),
        (["lab", "linear", "--out", "OUT", "--items", "1"], "lab linear has no --items; leave it out"),
        (["lab", "linear", "--out", "OUT", "--precision", "bf16"], "lab linear has no --precision"),
        (["lab", "deep-compression", "--quick", "--out", "OUT", "--items", "9"], "has no item '9'"),
        (["lab", "pruning", "--out", "OUT", "--model", "vgg16"], "lab pruning has no --model; leave it out"),
        (["lab", "ptq", "--out", "OUT", "--levels", "ours"], "lab ptq has no --levels; leave it out"),
        (["lab", "ptq", "--out", "OUT", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["lab", "fixed-point", "--out", "OUT", "--levels", "our"], "levels 'our'. Did you mean ours"),
        (["lab", "fixed-point", "--quick", "--out", "OUT", "--teacher", "non"], "Did you mean none?"),
        (
            ["lab", "fixed-point", "--quick", "--out", "OUT", "--levels", "source", "--items", "4"],
            "item 4 has rows of --levels symmetric only",
        ),
        (
            ["lab", "fixed-point", "--quick", "--out", "OUT", "--pruned", "gone.pt"],
            "--pruned FILE needs --weights FILE",
        ),
        (["lab", "pruning", "--quick", "--out", "OUT", "--items", "1,9"], "this lab has no item '9'"),
        (
            ["lab", "fixed-point", "--quick", "--out", "OUT", "--items", "0"],
            "its items are 1, 2, 3, 4, 5, 6, 7",
        ),
        (["lab", "fixed-point", "--quick", "--out", "OUT", "--precision", "bf61"], "Did you mean bf16?"),
        (["frobnicate"], "unknown command 'frobnicate'. Known: bench, compress, demo"),
        (["compres"], "Did you mean compress?"),
        (["compress", "--bits", "9"], "Unknown option: --bits."),
        (["compress", "--bits", "9"], "See pithnet compress --help."),
        (["evaluate"], "FILE is missing. See pithnet evaluate --help."),
        (["unpack", "m.pith"], "--to is missing. See pithnet unpack --help."),
        (["inspect", "a.pith", "b.pith"], "unexpected: b.pith. See pithnet inspect --help."),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value[:1] + value[-2:]),
)
def test_arguments(
    arguments: list[str], message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(run, *arguments)
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("prune: {sparsity: 1.2}", "less than or equal to 1 (got 1.2)"),
        ("prune: {sparsity: -0.1}", "greater than or equal to 0 (got -0.1)"),
        ("share: {bits: 0}", "greater than or equal to 1 (got 0)"),
        ("share: {bits: 17}", "less than or equal to 16 (got 17)"),
        ("prune: {sparsty: 0.5}", "Did you mean sparsity?"),
        ("prun: {sparsity: 0.5}", "Did you mean prune?"),
        ("prune: {sparsity: 0.5, criterion: magnitud}", "Did you mean magnitude?"),
        ("prune: {sparsity: 0.5, skip: [conv9]}", "matches no layer"),
        ("prune: [", "is not YAML"),
    ],
)
def test_recipes(step: str, message: str, run: Run, weights: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: wrong\nsteps:\n  - {step}\n")
    out = tmp_path / "OUT"
    assert message in fails(run, "compress", *DIGITS, "--weights", weights, "--recipe", recipe, "--out", out)
    assert not out.exists()


def test_checkpoint_of_another_architecture(run: Run, weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["conv2.weight"] = state["conv2.weight"][:, :16]
    torch.save(state, tmp_path / "narrow.pt")
    line = fails(run, "evaluate", tmp_path / "narrow.pt", *DIGITS)
    assert "conv2.weight is (64, 16, 3, 3), the architecture has (64, 32, 3, 3)" in line


def test_checkpoint_of_other_classes(run: Run, tmp_path: Path) -> None:
    torch.save(zoo.build("digits-cnn", classes=3).state_dict(), tmp_path / "three.pt")
    line = fails(run, "compress", *DIGITS, "--weights", tmp_path / "three.pt", "--out", tmp_path / "OUT")
    assert "three.pt has 3 outputs, digits has 10 classes" in line


def test_what_is_no_pith_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.pith").write_text("hello")
    for command in (["inspect"], ["unpack", "--to", tmp_path / "x.pt"], ["evaluate", "--data", "digits"]):
        assert "text.pith: not a .pith file" in fails(run, command[0], tmp_path / "text.pith", *command[1:])


def test_a_folder_that_is_not_there_is_named(run: Run, compressed: Path, tmp_path: Path) -> None:
    line = fails(run, "unpack", compressed / "model.pith", "--to", tmp_path / "gone" / "x.pt")
    assert f"there is no folder {tmp_path / 'gone'}; make it first" in line


def test_a_lab_is_no_run_to_report(run: Run, tmp_path: Path) -> None:
    for name in ("results.json", "index.html"):
        (tmp_path / name).write_text("{}")
    assert f"is a lab; its page is {tmp_path / 'index.html'}" in fails(run, "report", tmp_path)


def test_checkpoint_without_its_architecture(run: Run, weights: Path) -> None:
    assert "add --model NAME" in fails(run, "evaluate", weights, "--data", "digits")


def test_weights_that_are_not_numbers(run: Run, weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    line = fails(run, "compress", *DIGITS, "--weights", tmp_path / "nan.pt", "--out", tmp_path / "OUT")
    assert "conv1.weight holds NaN or inf" in line


class _Writes:
    """Unpickling an instance writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "executed")


def test_a_pickle_is_not_executed(run: Run, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"conv1.weight": _Writes(proof)}))
    torch.save({"conv1.weight": _Writes(proof)}, tmp_path / "zipped.pt")
    (tmp_path / "named.pith").write_bytes(pickle.dumps(_Writes(proof)))
    for name in ("plain.pt", "zipped.pt", "named.pith"):
        line = fails(run, "evaluate", tmp_path / name, *DIGITS)
        assert name in line
        assert not proof.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    assert proof.read_text() == "executed"  # the pickle is armed


def test_truncated_pith(run: Run, compressed: Path, tmp_path: Path) -> None:
    data = (compressed / "model.pith").read_bytes()
    for size in (0, 3, 20, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.pith").write_bytes(data[:size])
        for command in (
            ("evaluate", "--data", "digits"),
            ("inspect",),
            ("unpack", "--to", tmp_path / "x.pt"),
        ):
            fails(run, command[0], tmp_path / "cut.pith", *command[1:])


def test_data_root_is_missing_or_partial(run: Run, tmp_path: Path) -> None:
    missing = fails(
        run, "train", "--model", "resnet20", "--data-root", tmp_path / "no", "--out", tmp_path / "OUT"
    )
    assert "is not a folder. Add --download" in missing
    folder = tmp_path / "part" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(bytes(3073))
    partial = fails(
        run, "train", "--model", "resnet20", "--data-root", tmp_path / "part", "--out", tmp_path / "OUT"
    )
    assert "data_batch_" in partial
    assert not (tmp_path / "OUT").exists()


def test_out_cannot_be_written(run: Run, weights: Path, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    options = (*DIGITS, "--weights", weights, "--recipe", recipe, "--out", tmp_path / "file" / "run")
    assert "cannot be created" in fails(run, "compress", *options)
    assert "cannot be created" in fails(run, "train", *DIGITS, "--out", tmp_path / "file" / "run")
    assert "cannot be created" in fails(run, "demo", "--out", tmp_path / "file" / "run")


def test_out_holds_a_run(run: Run, trained: Path, weights: Path, compressed: Path, recipe: Path) -> None:
    options = (*DIGITS, "--weights", weights, "--recipe", recipe, "--out", compressed)
    assert "holds a run already" in fails(run, "compress", *options)
    assert "holds a run already" in fails(run, "train", *DIGITS, "--out", trained)
    assert "holds a run already" in fails(run, "demo", "--out", trained)


def test_resume_is_of_its_kind_and_takes_no_other_options(run: Run, trained: Path, compressed: Path) -> None:
    assert "pithnet train --resume" in fails(run, "compress", "--resume", trained)
    assert "pithnet compress --resume" in fails(run, "train", "--resume", compressed)
    assert "leave out the other options" in fails(run, "train", "--resume", trained, "--epochs", "9")


def test_a_damaged_run_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"kind": "train", "command": ""}')
    assert "settings.json" in fails(run, "train", "--resume", tmp_path)
    (tmp_path / "settings.json").write_text("{")
    assert "settings.json" in fails(run, "train", "--resume", tmp_path)


def test_stopping_anywhere_is_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pithnet.artifact.inspect_file", stop)
    assert main(["inspect", "x.pith"]) == 130
    assert capsys.readouterr().err == "stopped\n"
