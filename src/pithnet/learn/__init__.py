"""Training, distillation and evaluation."""

from pithnet.learn.admm import ADMM, require_rho
from pithnet.learn.batch import Batch, call, has_class_labels, logits_of, read_batch
from pithnet.learn.evaluation import evaluate, evaluate_together
from pithnet.learn.intervals import mean_interval, paired_difference, wilson
from pithnet.learn.loaders import batches_per_epoch, first_batch
from pithnet.learn.losses import Loss, Objective, distillation
from pithnet.learn.optimizers import OPTIMIZERS, make_optimizer, parameter_groups
from pithnet.learn.precision import PRECISIONS, autocast, resolve_precision
from pithnet.learn.randomness import seeded
from pithnet.learn.regularization import LossTerm, ProximalStep, Regularized, Slot, Term, step_size
from pithnet.learn.scores import Evaluation, Metric, Scores
from pithnet.learn.teacher import cached_teacher_logits, teacher_logits
from pithnet.learn.trainer import EpochRecord, StepSchedule, Trainer, Training, from_scratch
from pithnet.learn.trial import try_measuring, try_training

__all__ = [
    "ADMM",
    "OPTIMIZERS",
    "PRECISIONS",
    "Batch",
    "EpochRecord",
    "Evaluation",
    "Loss",
    "LossTerm",
    "Metric",
    "Objective",
    "ProximalStep",
    "Regularized",
    "Scores",
    "Slot",
    "StepSchedule",
    "Term",
    "Trainer",
    "Training",
    "autocast",
    "batches_per_epoch",
    "cached_teacher_logits",
    "call",
    "distillation",
    "evaluate",
    "evaluate_together",
    "first_batch",
    "from_scratch",
    "has_class_labels",
    "logits_of",
    "make_optimizer",
    "mean_interval",
    "paired_difference",
    "parameter_groups",
    "read_batch",
    "require_rho",
    "resolve_precision",
    "seeded",
    "step_size",
    "teacher_logits",
    "try_measuring",
    "try_training",
    "wilson",
]
