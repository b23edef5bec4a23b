"""Tables for the terminal, from what plan, results.json and `inspect` hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from pithnet.artifact import Inspection
    from pithnet.run.plan import Plan, StepPlan


def _table(title: str, columns: str) -> Table:
    """Columns by name; those that end in > are numbers."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns.split():
        right = column.endswith(">")
        table.add_column(column.removesuffix(">").replace("_", " "), justify="right" if right else "left")
    return table


def plan_table(plan: Plan, recipe: str) -> Table:
    """Returns a table of what will happen to each layer, with its MACs where they are known."""
    counted = plan.macs is not None
    table = _table(
        f"Plan: {recipe}",
        "layer shape> weights> passes zeros> levels> bytes>" + (" MACs>" if counted else ""),
    )
    for layer in plan.layers:
        share = f"{100 * layer.zeros / layer.weights:.1f} %" if layer.weights else ""
        levels = "" if layer.levels is None else str(layer.levels)
        changed = (f"{layer.weights:,}", layer.passes, share, levels, f"{layer.bytes:,}")
        macs = ["" if layer.macs is None else f"{layer.macs:,}"] if counted else []
        table.add_row(layer.name, _shape(layer.shape), *changed, *macs)
    none = [""] * 5
    table.add_row("everything else", *none, f"{plan.rest:,}")
    macs = [f"{plan.macs:,}"] if counted else []
    table.add_row("expected", *none, f"{plan.bytes:,}", *macs, style="bold")
    table.caption, table.caption_justify = _coverage(plan.to_json()), "left"
    return table


def plan_lines(plan: Plan) -> list[str]:
    """Returns the plan's steps, and what they come to."""
    steps = [f"{step.number + 1}. {_step(step)}" for step in plan.steps]
    whole = f"about {plan.bytes:,} bytes, {plan.ratio:.1f}x smaller than float32 ({plan.float_bytes:,} bytes)"
    if plan.macs is None:
        whole += "; for multiply-accumulates give --example, such as --example 1x3x32x32, or --data"
    return [*steps, whole]


def _step(step: StepPlan) -> str:
    epochs = "1 epoch" if step.epochs == 1 else f"{step.epochs} epochs"
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
    smallest = min(results["rivals"], key=lambda name: results["rivals"][name]["bytes"], default=None)
    if smallest is not None and results["rivals"][smallest]["bytes"] < results["bytes"]:
        lines.append(f"a trivial way is smaller than this file: {smallest}")
    if results["difference"]:
        d, n = results["difference"], results["after"]["n"]
        unit, digits = (" points", ".2f") if d["share"] else ("", ".3g")
        gain, low, high = (f"{d[key]:+{digits}}" for key in ("points", "low", "high"))
        things = "images" if d["metric"] == "accuracy" else "samples"
        lines.append(f"{gain}{unit} on the same {n:,} {things} (95 % interval {low} to {high})")
    if results["formula_ratio"]:
        lines.append(
            "Deep Compression's formula, which counts neither positions nor codebooks: "
            f"{results['formula_ratio']:.1f}x"
        )
    return lines


def inspection_table(found: Inspection) -> Table:
    """Returns a table with a row for each tensor."""
    table = _table("", "tensor shape> coding zeros> levels> bits> bytes> positions> symbols> codebook>")
    for t in found.tensors:
        parts = (f"{t.bytes[p]:,}" for p in ("positions", "symbols", "codebook"))
        row = (f"{t.zeros:,}", f"{t.levels:,}", f"{t.bits:.2f}", f"{sum(t.bytes.values()):,}", *parts)
        table.add_row(t.name, _shape(t.shape), t.coding, *row)
    return table


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
    low, high = evaluation["interval"]
    if not evaluation["share"]:
        return f"{evaluation['accuracy']:.4g}", f"{low:.4g} to {high:.4g}"
    return f"{100 * evaluation['accuracy']:.2f} %", f"{100 * low:.2f} to {100 * high:.2f}"
