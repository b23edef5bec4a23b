"""`lab claims`: the statements, what settles each, and the run; their words stand in page.md, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from pithnet.labs.claims import codes, exits, figures, latency, levels, sparse, trained
from pithnet.labs.claims.verdicts import Found
from pithnet.labs.experiment import Experiment, Item, Table
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.start import open_lab
from pithnet.labs.training import float_network
from pithnet.labs.workbench import Workbench
from pithnet.labs.writing import paragraph, write_page
from pithnet.learn import from_scratch
from pithnet.run.progress import Quiet

TAKES = ("items",)
_DEFAULT = LabOptions()
_TRAINING = from_scratch(10)
_BATCH = 64


@dataclass(frozen=True, eq=False)
class ClaimsLab:
    """The lab's notebook, and the network that most statements are settled on."""

    book: Notebook
    bench: Workbench
    model: nn.Module


@dataclass(frozen=True)
class Statement:
    """A statement of the field: where it is asked, its words, and what settles it."""

    source: str
    words: str
    settle: Callable[[ClaimsLab], Found]
    draw: figures.Draw


STATEMENTS = (
    Statement(
        "A1 (1), B1 (1)",
        "Pruning and quantization are orthogonal and never interfere.",
        lambda lab: levels.pruning_and_quantization(lab.model, lab.bench),
        figures.interference,
    ),
    Statement(
        "A1 (2)",
        "How the remaining weights are distributed does not affect latency.",
        lambda lab: latency.distribution_and_latency(),
        figures.milliseconds,
    ),
    Statement(
        "A1 (3)",
        "Without quantization, Huffman coding still compresses a pruned model well.",
        lambda lab: codes.huffman_without_quantization(lab.model),
        figures.bits_per_weight,
    ),
    Statement(
        "A1 (4)",
        "SGD on an L1 or DeepHoyer term reaches exact zeros.",
        lambda lab: trained.zeros_by_sgd(lab.model, lab.bench),
        figures.exact_zeros,
    ),
    Statement(
        "A1 (5), C1 (3)",
        "Soft thresholding removes the bias of L1.",
        lambda lab: sparse.bias_of_soft_thresholding(),
        figures.shrinkage,
    ),
    Statement(
        "A1 (6), C1 (4)",
        "Group lasso is an L2 norm of L1 norms.",
        lambda lab: sparse.group_lasso(),
        figures.rows_after_the_prox,
    ),
    Statement(
        "A1 (7), C1 (6)",
        "The proximal term smooths convergence.",
        lambda lab: sparse.smooth_convergence(),
        figures.paths,
    ),
    Statement(
        "A1 (8)",
        "Early exits help against overthinking.",
        lambda lab: exits.early_exits(lab.bench),
        figures.exits,
    ),
    Statement(
        "A1 (9), C1 (9)",
        "The straight-through estimator quantizes gradients.",
        lambda lab: levels.straight_through_gradient(lab.model, lab.bench),
        figures.distinct_values,
    ),
    Statement(
        "A1 (10), C1 (10)",
        "Mixed precision beats uniform precision at equal size.",
        lambda lab: levels.mixed_precision(lab.model, lab.bench),
        figures.mixed_and_uniform,
    ),
    Statement(
        "B1 (2)",
        "Saving products in a look-up table means that pruning helps Huffman coding.",
        lambda lab: codes.look_up_table(lab.model),
        figures.table_and_bits,
    ),
    Statement(
        "B1 (3)",
        "A pruned (masked) model trains much faster on a GPU.",
        lambda lab: latency.speed_of_a_masked_training(lab.model, lab.bench),
        figures.milliseconds,
    ),
    Statement(
        "B1 (4)",
        "Huffman coding of N equally likely symbols averages O(log N) bits.",
        lambda lab: codes.equal_symbols(),
        figures.lengths,
    ),
    Statement(
        "B1 (5)",
        "k-bit k-means of N weights needs exactly N * k bits.",
        lambda lab: codes.bits_of_k_means(lab.model),
        figures.stored_bits,
    ),
    Statement(
        "C1 (1)",
        "An L1 model needs no iterative pruning: one final small threshold reaches similar sparsity.",
        lambda lab: trained.one_final_threshold(lab.model, lab.bench),
        figures.magnitudes,
    ),
    Statement(
        "C1 (2)",
        "Hard thresholding keeps the level of sparsity, soft thresholding raises it step by step.",
        lambda lab: sparse.hard_and_soft(),
        figures.zeros_by_step,
    ),
    Statement(
        "C1 (5)",
        "Hoyer-square behaves like L0 near its minima.",
        lambda lab: sparse.hoyer_square(),
        figures.hoyer_and_counts,
    ),
    Statement(
        "C1 (7)",
        "Trimmed L1 is equivalent to the sparse problem.",
        lambda lab: sparse.trimmed_l1(),
        figures.distances,
    ),
    Statement(
        "C1 (8)",
        "ADMM's subproblems are free, and it needs no extra variables.",
        lambda lab: sparse.admm(),
        figures.microseconds,
    ),
)
ITEMS = tuple(str(number) for number in range(1, len(STATEMENTS) + 1))


_VERDICTS = Table(
    {"id": "number", "statement": "statement", "verdict": "verdict", "source": "asked in"},
    rows=lambda book: book.rows,
    file="statements",
)


def _measure(number: str, statement: Statement, lab: ClaimsLab) -> None:
    def row() -> Row:
        found = statement.settle(lab)
        said = {"id": int(number), "statement": statement.words, "source": statement.source}
        settled = {"verdict": found.verdict, "numbers": found.numbers}
        return said | settled | {"reason": paragraph(EXPERIMENT, number, {"the": settled})}

    lab.book.row(number, "statement", row)


EXPERIMENT: Experiment[ClaimsLab] = Experiment(
    "claims",
    "Statements of the field, tested",
    "pithnet.labs.claims",
    tuple(
        Item(
            number,
            statement.words,
            partial(_measure, number, statement),
            {"verdicts": _VERDICTS} if number == "1" else {},
            {number: partial(statement.draw, number)},
        )
        for number, statement in zip(ITEMS, STATEMENTS, strict=True)
    ),
)


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Settles the statements and writes results.json (returned), PNGs and index.html into `out`.

    It runs on the bundled digits, with and without `--quick`. Its rows hold id, statement, source, verdict
    ("true", "false" or "depends"), reason and numbers.

    Raises:
        PithError: `out` cannot be written or holds another lab, or the lab does not take an option.
    """
    options.check("claims", TAKES)
    wanted = options.chosen(ITEMS)
    training = asdict(_TRAINING)
    facts = {
        "epochs": {"baseline": _TRAINING.epochs},
        "settings": {"baseline": training, "batch_size": _BATCH},
    }
    book, bench = open_lab(
        "claims", out, replace(options, data="digits"), batch_size=_BATCH, facts=facts, progress=progress
    )
    with book:
        if (options.data, options.data_root) not in ((None, None), ("digits", None)):
            book.progress.note("lab claims runs on the bundled digits; --data and --data-root are not used")
        model = float_network(book, bench, _TRAINING).model
        EXPERIMENT.measure(ClaimsLab(book, bench, model), wanted)
        write_page(EXPERIMENT, book)
    return book.results
