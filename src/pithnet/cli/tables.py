"""Tables for the terminal, from what plan, results.json and `inspect` hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from pithnet.results.run_record import Accuracy, Difference, Removed

if TYPE_CHECKING:
    from pithnet.artifact import Inspection
    from pithnet.run.plan import Plan, StepPlan

_MANY_MACS = 10_000_000  # a table of a network with as many counts millions


@dataclass(frozen=True)
class Fitting:
    """A table whose last columns are left out, and named below it, where the terminal is too narrow for them.

    Attributes:
        table: The table with all of its columns.
        spare: How many of the last columns can be left out.
    """

    table: Table
    spare: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left_out: list[str] = []
        while len(left_out) < self.spare and _width(console, options, self.table) > options.max_width:
            left_out.insert(0, str(self.table.columns.pop().header))
        yield self.table
        if left_out:
            yield f"a wider terminal shows {', '.join(left_out)} too, and --json everything"


def _width(console: Console, options: ConsoleOptions, table: Table) -> int:
    """How wide the table would like to be."""
    return Measurement.get(console, options.update_width(1 << 16), table).maximum


def _table(title: str, columns: str) -> Table:
    """Columns by name; those that end in > are numbers, and a terminal too narrow folds only the others."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns.split():
        name, right = column.removesuffix(">").replace("_", " "), column.endswith(">")
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def plan_table(plan: Plan, recipe: str) -> Table:
    """Returns a table of what will happen to each layer, with its MACs where they are known."""
    passes = {layer.passes for layer in plan.layers}
    alike = len(passes) == 1
    millions = plan.macs is not None and plan.macs >= _MANY_MACS
    macs_column = "" if plan.macs is None else "M_MACs>" if millions else "MACs>"
    table = _table(
        f"Plan: {recipe}" + (f" ({passes.pop()} in every layer)" if alike else ""),
        f"layer shape> weights> {'' if alike else 'passes'} zeros> levels> bytes> {macs_column}",
    )
    for layer in plan.layers:
        share = f"{100 * layer.zeros / layer.weights:.1f} %" if layer.weights else ""
        levels = "" if layer.levels is None else str(layer.levels)
        changed = (*([] if alike else [layer.passes]), share, levels, f"{layer.bytes:,}")
        cells = (layer.name, _shape(layer.shape), f"{layer.weights:,}", *changed)
        table.add_row(*cells, *([_macs(layer.macs, millions)] if macs_column else []))
    none = [""] * (4 if alike else 5)
    table.add_row("everything else", *none, f"{plan.rest:,}")
    total = [_macs(plan.macs, millions)] if macs_column else []
    table.add_row("expected", *none, f"{plan.bytes:,}", *total, style="bold")
    table.caption, table.caption_justify = _coverage(plan.to_json()), "left"
    return table


def _macs(macs: int | None, millions: bool) -> str:
    if macs is None:
        return ""
    return f"{macs / 1e6:,.2f}" if millions else f"{macs:,}"


def plan_lines(plan: Plan) -> list[str]:
    """Returns the plan's steps, and what they come to."""
    steps = [f"{step.number + 1}. {_step(step)}" for step in plan.steps]
    whole = f"about {plan.bytes:,} bytes, {plan.ratio:.1f}x smaller than float32 ({plan.float_bytes:,} bytes)"
    if plan.full_macs is not None:
        whole += plan.macs_said
    if plan.macs is None:
        whole += "; for multiply-accumulates give --example, such as --example 1x3x32x32, or --data"
    return [*steps, whole]


def _step(step: StepPlan) -> str:
    epochs = "1 epoch" if step.epochs == 1 else f"{step.epochs} epochs"
    if step.title == "train":
        return f"train for {epochs}"
    return f"{step.title}, and train for {epochs}" if step.epochs else step.title


def _coverage(results: Mapping[str, Any]) -> str:
    from pithnet.run.result import coverage_line

    return coverage_line(results["coverage"], [(p["name"], p["why"]) for p in results["left_out"]])


def result_table(results: Mapping[str, Any]) -> Table:
    """Returns a table of the float model, its trivial rivals, and the file."""
    metric = (results["after"] or {}).get("metric", "accuracy").replace(" ", "_")
    table = _table("", f"what bytes> ratio> {metric}> 95_%_interval>")
    table.add_row("float32", f"{results['float_bytes']:,}", "1.0x", *_accuracy(results["before"]))
    for name, size in results["rivals"].items():
        about = "~" if size.get("estimated") else ""
        table.add_row(name, f"{about}{size['bytes']:,}", f"{about}{size['ratio']:.1f}x", "", "")
    mine = (f"{results['bytes']:,}", f"{results['ratio']:.1f}x", *_accuracy(results["after"]))
    table.add_row("model.pith", *mine, style="bold")
    return table


def result_lines(results: Mapping[str, Any]) -> list[str]:
    """Returns what the table does not say."""
    lines = [_coverage(results)]
    if results["removed"]:
        lines.append(str(Removed(**results["removed"])))
    smallest = min(results["rivals"], key=lambda name: results["rivals"][name]["bytes"], default=None)
    if smallest is not None and results["rivals"][smallest]["bytes"] < results["bytes"]:
        lines.append(f"a trivial way is smaller than this file: {smallest}")
    if results["difference"]:
        d, n = Difference(**results["difference"]), results["after"]["n"]
        lines.append(f"{d.gain} on the same {n:,} {d.things} (95 % interval {d.span})")
    if results["formula_ratio"]:
        lines.append(
            "Deep Compression's formula, which counts neither positions nor codebooks: "
            f"{results['formula_ratio']:.1f}x"
        )
    return lines


def inspection_table(found: Inspection) -> Fitting:
    """Returns a table with a row for each tensor; a narrow terminal shows less of each."""
    table = _table("", "tensor shape> coding bytes> bits> zeros> levels> positions> symbols> codebook>")
    for t in found.tensors:
        parts = (f"{t.bytes[p]:,}" for p in ("positions", "symbols", "codebook"))
        row = (f"{sum(t.bytes.values()):,}", f"{t.bits:.2f}", f"{t.zeros:,}", f"{t.levels:,}", *parts)
        table.add_row(t.name, _shape(t.shape), t.coding, *row)
    return Fitting(table, spare=5)


def inspection_lines(found: Inspection) -> list[str]:
    """Returns what there is to say of the file as a whole."""
    parts = ", ".join(f"{name} {size:,}" for name, size in found.parts.items() if size)
    lines = [f"{found.bytes:,} bytes, {found.ratio:.1f}x smaller than float32: {parts}"]
    facts = {
        "architecture": found.architecture,
        "data": found.dataset,
        "recipe": found.recipe,
        "BatchNorm": found.norm,
        "source": found.source,
    }
    lines.append(", ".join(f"{k} {v}" for k, v in facts.items() if v is not None))
    if found.normalization:
        mean, std = (",".join(f"{v:g}" for v in part) for part in found.normalization)
        lines.append(f"normalisation {mean}/{std}")
    if found.claimed:
        n, right = found.claimed
        lines.append(f"claims {right:,} right of {n:,} images ({100 * right / max(n, 1):.2f} %)")
    return [line for line in lines if line]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _accuracy(evaluation: Mapping[str, Any] | None) -> tuple[str, str]:
    if evaluation is None:
        return "", ""
    found = Accuracy(**evaluation)
    return found.score, found.span
