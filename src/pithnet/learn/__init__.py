"""Training, distillation and evaluation."""

from pithnet.learn.evaluation import Evaluation, evaluate, paired_difference, wilson
from pithnet.learn.losses import Objective, distillation
from pithnet.learn.teacher import cached_teacher_logits, teacher_logits
from pithnet.learn.trainer import EpochRecord, StepSchedule, Trainer, Training, autocast, parameter_groups

__all__ = [
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
    "teacher_logits",
    "wilson",
]
