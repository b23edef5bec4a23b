"""Whose answers the trainings of a lab learn from beside the labels: `--teacher self|none|ARCH:FILE`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pithnet.commands.inputs import Images, Teacher, load_teacher
from pithnet.commands.settings import DataSettings
from pithnet.data import Normalization
from pithnet.errors import PithError, require_known
from pithnet.labs.notebook import Row
from pithnet.learn import Objective, Training
from pithnet.run.resumption import file_digest

SELF, NONE, FILE = "self", "none", "file"
_TEACHERS = (
    "A teacher is self (the float network), none (labels alone) or ARCH:FILE, such as resnet44:resnet44.pt"
)
_DISTILLED = Objective(distill=0.9, temperature=4)


def untaught(training: Training) -> Training:
    """Returns the training from the labels alone, whoever the lab's teacher is."""
    return replace(training, objective=Objective())


@dataclass(frozen=True, eq=False)
class LabTeacher:
    """A lab's teacher: SELF, its float network; NONE, labels alone; or FILE, the network `trained`."""

    kind: str
    trained: Teacher | None = None
    architecture: str | None = None
    file: str | None = None
    sha256: str | None = None

    @classmethod
    def read(
        cls, text: str, images: Images, data: DataSettings, device: torch.device | None = None
    ) -> LabTeacher:
        """Reads the teacher that `--teacher` names, for the lab's images; a file's network is on `device`.

        Raises:
            PithError: The text is none of self, none and ARCH:FILE, or the network cannot be used
                (`load_teacher`).
        """
        name, separator, path = text.partition(":")
        if not separator:
            require_known("teacher", text, (SELF, NONE), PithError, _TEACHERS)
            return cls(text)
        trained = load_teacher(text, images, data, device)
        return cls(FILE, trained, name, Path(path).name, file_digest(path))

    def of(self, start: nn.Module, normalization: Normalization) -> Teacher | None:
        """Returns whom to ask, the float network `start` or the file's; None where nobody is to be asked."""
        return Teacher(start, normalization) if self.kind == SELF else self.trained

    def teach(self, training: Training) -> Training:
        """Returns the training with 0.9 of its loss from the teacher, at temperature 4; with NONE as is."""
        return training if self.kind == NONE else replace(training, objective=_DISTILLED)

    def facts(self) -> Row:
        """Returns what results.json says of it."""
        return {
            "kind": self.kind,
            "architecture": self.architecture,
            "file": self.file,
            "sha256": self.sha256,
        }
