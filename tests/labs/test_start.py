from __future__ import annotations

import hashlib
import importlib
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pithnet import zoo
from pithnet.cli.runs import lab as lab_command
from pithnet.commands import inputs
from pithnet.commands.settings import DataSettings
from pithnet.errors import DataError, ModelError, PithError, RecipeError
from pithnet.labs import LABS, LabOptions
from pithnet.labs.notebook import Notebook
from pithnet.labs.pruning import experiment as pruning
from pithnet.labs.start import open_bench, open_book, open_lab
from pithnet.labs.teachers import FILE, NONE, SELF, LabTeacher
from pithnet.labs.workbench import Workbench
from pithnet.learn import Training
from pithnet.run.progress import Quiet

TAKES = {
    "linear": (),
    "fixed-point": ("model", "precision", "items", "epochs", "teacher", "device", "levels", "pruned"),
    "pruning": ("precision", "items", "epochs", "teacher", "device"),
    "deep-compression": ("precision", "items", "teacher", "device", "pruned"),
    "ptq": ("model", "precision", "items", "epochs", "device"),
    "claims": ("items",),
}
ASKED: dict[str, Any] = {
    "model": "vgg16",
    "precision": "bf16",
    "items": "2",
    "epochs": 3,
    "teacher": "none",
    "device": "cuda",
    "levels": "ours",
    "pruned": Path("pruned.pt"),
}
TRAINING = asdict(Training(epochs=1, lr=0.1))


class Notes(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def opened(out: Path, **changed: Any) -> tuple[Notebook, Workbench]:
    """The quick pruning lab, with trainings among its settings."""
    facts = {"settings": {"tuning": TRAINING, "deep": {"training": TRAINING}}}
    progress = changed.pop("progress", Quiet())
    options = LabOptions(**{"quick": True, **changed})
    return open_lab("pruning", out, options, batch_size=64, facts=facts, progress=progress)


@pytest.mark.parametrize("name", LABS)
def test_a_lab_refuses_what_it_does_not_take(name: str, tmp_path: Path) -> None:
    lab = importlib.import_module(LABS[name])
    assert TAKES[name] == lab.TAKES
    for option in ASKED.keys() - set(lab.TAKES):
        with pytest.raises(PithError, match=f"lab {name} has no --{option}; leave it out"):
            lab.run(tmp_path / "out", LabOptions(quick=True, **{option: ASKED[option]}), progress=Quiet())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", LABS)
def test_a_lab_is_named_where_users_look(name: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (listed,) = re.findall(r"the labs are (.*)\.$", readme, re.M)
    assert f"`{name}`" in listed
    (helped,) = re.findall(r"name: Run the lab (.*)\.$", lab_command.__doc__ or "", re.M)
    assert name in re.split(", | or ", helped)


def test_the_list_of_labs_needs_no_torch() -> None:
    code = "import sys, pithnet.labs; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_data_the_labs_have_no_network_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the labs do not run on 'cifar'\. Did you mean cifar10"):
        pruning.run(tmp_path / "out", LabOptions(data="cifar"), progress=Quiet())
    with pytest.raises(DataError, match="needs --data-root"):
        pruning.run(tmp_path / "out", progress=Quiet())
    assert not (tmp_path / "out").exists()


def test_data_can_be_fetched_as_the_message_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(inputs, "download_cifar10", lambda root, progress=None: asked.append(root))
    with pytest.raises(DataError, match="Add --download to fetch it"):
        pruning.run(tmp_path / "out", LabOptions(data_root=tmp_path, download=True), progress=Quiet())
    assert asked == [tmp_path]


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(zoo.build("digits-cnn", width=8).state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(ModelError, match=r"narrow\.pt does not fit this architecture: conv1.weight"):
        pruning.run(
            tmp_path / "out", LabOptions(quick=True, weights=tmp_path / "narrow.pt"), progress=Quiet()
        )


def test_a_checkpoint_is_where_the_lab_starts(tmp_path: Path) -> None:
    torch.manual_seed(5)
    saved = zoo.build("digits-cnn").state_dict()
    torch.save(saved, tmp_path / "weights.pt")
    bench = Workbench.open(DataSettings(data="digits"), tmp_path / "weights.pt", 64, 0)
    assert torch.equal(bench.model().state_dict()["conv2.weight"], saved["conv2.weight"])
    assert bench.facts()["weights"]["file"] == "weights.pt"
    assert len(bench.facts()["weights"]["sha256"]) == 16


def test_choices_are_made_on_training_images(tmp_path: Path) -> None:
    bench = Workbench.open(DataSettings(data="digits"), None, 64, 0)
    chosen = bench.choice_batches().data
    assert len(chosen) == 129
    train = {image.numpy().tobytes() for image in bench.images.train.images}  # type: ignore[union-attr]
    assert all(image.numpy().tobytes() in train for image in chosen.images)


def test_quick_says_that_it_does_not_use_the_data_asked_for(tmp_path: Path) -> None:
    notes = Notes()
    book, bench = opened(tmp_path / "out", data="cifar10", data_root=tmp_path, progress=notes)
    assert notes.lines == ["--quick runs on the bundled digits; --data and --data-root are not used"]
    assert (bench.architecture, book.facts["dataset"]) == ("digits-cnn", "digits")
    assert book.facts["command"] == f"pithnet lab pruning --out {tmp_path}/out --quick"


def test_the_items_asked_for_are_those_of_the_lab() -> None:
    assert LabOptions().chosen(("1", "2", "3")) == ("1", "2", "3")
    assert LabOptions(items="3, 1").chosen(("1", "2", "3")) == ("3", "1")
    with pytest.raises(PithError, match=r"this lab has no item '4'; its items are 1, 2, 3"):
        LabOptions(items="2,4").chosen(("1", "2", "3"))
    with pytest.raises(PithError, match=r"this lab has no item ''"):
        LabOptions(items="2,").chosen(("1", "2", "3"))


def test_an_unknown_precision_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown precision 'bf61'\. Did you mean bf16"):
        opened(tmp_path / "out", precision="bf61")
    assert not (tmp_path / "out").exists()


def test_the_settings_say_the_precision_that_is_trained_in(tmp_path: Path) -> None:
    book, bench = opened(tmp_path / "out", precision="bf16", items="2,3", seed=4)
    assert bench.precision == book.facts["precision"] == "bf16"
    settings = book.facts["settings"]
    assert settings["tuning"] == settings["deep"]["training"] == {**TRAINING, "precision": "bf16"}
    assert book.facts["command"].endswith("out --quick --seed 4 --precision bf16 --items 2,3")


def test_a_lab_goes_on_in_its_precision_only(tmp_path: Path) -> None:
    opened(tmp_path / "out", precision="bf16", items="1")[0].row("1", "baseline", dict)
    with pytest.raises(PithError, match="was measured with precision bf16, not float32"):
        opened(tmp_path / "out", resume=True)
    for same in ("bf16", "auto"):  # what auto came to is not measured again
        book, bench = opened(tmp_path / "out", precision=same, items="2", resume=True)
        book.close()
        assert bench.precision == "bf16"
        assert [row["what"] for row in book.rows] == ["baseline"]


def test_a_teacher_hands_out_its_answers_with_the_images(small_bench: Workbench, tmp_path: Path) -> None:
    teacher = small_bench.model()
    seen: list[tuple[int, int]] = []
    taught = replace(small_bench, teacher=LabTeacher(SELF)).taught(
        teacher, 2, tmp_path, lambda done, of: seen.append((done, of))
    )
    assert taught.soft is not None
    assert taught.soft.shape == (2, 128, 10)
    assert seen
    x, _, soft = next(iter(taught.training_batches()))
    with torch.no_grad():
        assert torch.allclose(teacher(x), soft.float(), atol=0.02)  # kept in half precision
    assert len(next(iter(small_bench.training_batches()))) == 2


def taught(out: Path, own: str = SELF, **changed: Any) -> tuple[Notebook, Workbench]:
    """A quick lab whose teacher is `own` where the options name none."""
    options = LabOptions(quick=True, **changed)
    bench = open_bench(out, options, batch_size=64, teacher=own, progress=Quiet())
    return open_book("pruning", out, options, bench, {}, Quiet()), bench


@pytest.fixture
def teacher_file(tmp_path: Path) -> Path:
    torch.manual_seed(9)
    file = tmp_path / "teacher.pt"
    torch.save(zoo.build("digits-cnn").state_dict(), file)
    return file


def test_a_lab_has_its_own_teacher_unless_another_is_named(tmp_path: Path, teacher_file: Path) -> None:
    nobody = {"kind": NONE, "architecture": None, "file": None, "sha256": None}
    assert taught(tmp_path / "a")[0].facts["teacher"] == {**nobody, "kind": SELF}
    assert taught(tmp_path / "b", own=NONE)[0].facts["teacher"] == nobody
    assert taught(tmp_path / "c", teacher="none")[0].facts["teacher"] == nobody
    book, bench = taught(tmp_path / "d", own=NONE, teacher=f"digits-cnn:{teacher_file}")
    digest = hashlib.sha256(teacher_file.read_bytes()).hexdigest()
    assert book.facts["teacher"] == {
        "kind": FILE,
        "architecture": "digits-cnn",
        "file": "teacher.pt",
        "sha256": digest,
    }
    assert book.facts["command"].endswith(f"--quick --teacher digits-cnn:{teacher_file}")
    assert "teacher" not in opened(tmp_path / "e")[0].facts
    soft = bench.taught(bench.model(), 1, tmp_path, lambda done, of: None).soft
    assert soft is not None
    assert bench.teacher is not None
    assert bench.teacher.trained is not None
    x = next(bench.training_batches().view(0))
    with torch.no_grad():
        assert torch.allclose(bench.teacher.trained.model(x), soft[0, : len(x)].float(), atol=0.02)


def test_a_teacher_s_part_is_in_the_objective(small_bench: Workbench, tmp_path: Path) -> None:
    training = Training(epochs=1)
    assert LabTeacher(NONE).teach(training) == training
    assert LabTeacher(SELF).teach(training).objective.distill == 0.9
    alone = replace(small_bench, teacher=LabTeacher(NONE))
    assert alone.taught(small_bench.model(), 2, tmp_path, lambda done, of: None) is alone


def test_a_lab_goes_on_with_its_teacher_only(tmp_path: Path, teacher_file: Path) -> None:
    out = tmp_path / "out"
    taught(out)
    with pytest.raises(
        PithError, match=r"was measured with teacher\.kind self, not none; resume with the same"
    ):
        taught(out, teacher="none", resume=True)
    taught(out, teacher="self", resume=True)
    other = tmp_path / "other"
    taught(other, teacher=f"digits-cnn:{teacher_file}")
    torch.save(zoo.build("digits-cnn").state_dict(), teacher_file)
    with pytest.raises(PithError, match=r"was measured with teacher\.sha256 "):
        taught(other, teacher=f"digits-cnn:{teacher_file}", resume=True)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            "slef",
            r"unknown teacher 'slef'\. Did you mean self\? A teacher is self \(the float network\), none",
        ),
        ("resnet44", r"or ARCH:FILE, such as resnet44:resnet44\.pt"),
        ("digits-cnn:", "teacher 'digits-cnn:' is not ARCH:FILE"),
        ("digits-cnn:gone.pt", r"gone\.pt: no such checkpoint"),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_refused(tmp_path: Path, teacher: str, message: str) -> None:
    with pytest.raises(PithError, match=message):
        taught(tmp_path / "out", teacher=teacher)
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_does_not_take_the_images_is_refused(tmp_path: Path) -> None:
    torch.save(zoo.build("vgg16").state_dict(), tmp_path / "vgg16.pt")
    with pytest.raises(PithError, match="vgg16"):
        taught(tmp_path / "out", teacher=f"vgg16:{tmp_path / 'vgg16.pt'}")
    assert not (tmp_path / "out").exists()


def test_fewer_epochs_are_those_of_every_training_but_the_baselines() -> None:
    short = pruning.FULL.within(3)
    assert (short.retrain.epochs, short.penalties.training.epochs, short.prunings) == (3, 3, 1)
    assert short.baseline == pruning.FULL.baseline
    assert pruning.FULL.within(None) == pruning.FULL
    with pytest.raises(PithError, match="epochs must be at least 1, got 0"):
        pruning.run(Path("never"), LabOptions(quick=True, epochs=0), progress=Quiet())
