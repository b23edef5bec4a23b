"""Training, distillation and evaluation."""

from pithnet.learn.evaluation import Evaluation, evaluate, paired_difference, wilson
from pithnet.learn.losses import Objective, distillation
from pithnet.learn.precision import PRECISIONS, autocast, resolve_precision
from pithnet.learn.teacher import cached_teacher_logits, teacher_logits
from pithnet.learn.trainer import EpochRecord, StepSchedule, Trainer, Training, parameter_groups

__all__ = [
    "PRECISIONS",
    "EpochRecord",
    "Evaluation",
    "Objective",
    "StepSchedule",
    "Trainer",
    "Training",
    "autocast",
    "cached_teacher_logits",
    "distillation",
    "evaluate",
    "paired_difference",
    "parameter_groups",
    "resolve_precision",
    "teacher_logits",
    "wilson",
]
