"""The questions of `lab fixed-point`, answered by what was measured; general knowledge is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pithnet.labs.fixed_point_repairs import CHOSEN
from pithnet.labs.fixed_point_schemes import OURS, SOURCE
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import SETTINGS, Answer, difference, percent, rivalry, score

SOURCE_UNTUNED = {6: 0.9145, 5: 0.9112, 4: 0.8972, 3: 0.7662, 2: 0.0899}  # the source's table, by bits


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page; those whose items have been measured."""
    asked = [
        ("1", "How do precision and accuracy trade?", _precision),
        ("2", "What does training recover?", _recovered),
        ("3", "What does pruning do to it?", _pruned),
        ("4", "Symmetric or asymmetric levels?", _symmetric),
        ("5", "Which mixed scheme, and why?", _mixed),
        ("6", "Does a search beat the schemes by hand?", _searched),
        ("7", "What is possible without labels and without training?", _repaired),
    ]
    found = [Answer(item, question, answer(book)) for item, question, answer in asked if book.of(item)]
    return [*found, Answer(SETTINGS, "Which settings?", _settings(book))]


def _precision(book: Notebook) -> str:
    parts = []
    for levels in (SOURCE, OURS):
        rows = [r for r in book.of("1") if r["levels"] == levels]
        blocks = [r for r in rows if r["where"] == "blocks"]
        listed = ", ".join(f"{r['bits']} bits {percent(r['accuracy'])}" for r in blocks)
        kept = [r["bits"] for r in blocks if r["difference"] > -1]
        verdict = f"less than a point is lost at {_bits(kept)}" if kept else "every width loses more"
        parts.append(f"{levels.capitalize()} levels in the blocks: {listed}; {verdict}{_ends(rows)}")
    return (
        f"{'. '.join(parts)}. Known beside this run: each bit less doubles the step and quadruples the "
        "noise, until the levels no longer tell weights apart."
    )


def _bits(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths)) + " bits"


def _ends(rows: Sequence[Row]) -> str:
    """What the first and the last layer cost besides, in points at each width."""
    blocks = {r["bits"]: r["accuracy"] for r in rows if r["where"] == "blocks"}
    costs = [f"{100 * (r['accuracy'] - blocks[r['bits']]):+.2f}" for r in rows if r["where"] == "all"]
    return f"; the first and last layer quantized too change that by {' / '.join(costs)} points"


def _recovered(book: Notebook) -> str:
    reference, parts = book.of("0")[0]["accuracy"], []
    for row in book.of("2"):
        lost, gained = reference - row["accuracy_before"], row["accuracy"] - row["accuracy_before"]
        share = f", {100 * gained / lost:.0f} % of what was lost" if lost > 0 else ""
        parts.append(
            f"{row['what']}: from {percent(row['accuracy_before'])} to {percent(row['accuracy'])}{share}, "
            f"{difference(row)} against float"
        )
    return ". ".join(parts) + "."


def _pruned(book: Notebook) -> str:
    base, *rows = book.of("3")
    parts = [f"{r['what']}: {percent(r['accuracy'])}, {rivalry(r)} against unpruned" for r in rows]
    held = sum(r["masks_exact"] for r in rows)
    zeros = (
        "Every pruned weight was exactly zero after every epoch"
        if held == len(rows)
        else f"The zeros held in only {held} of {len(rows)} trainings"
    )
    return (
        f"With {base['zeros']:,} zeros the float network has {percent(base['accuracy'])}, {difference(base)} "
        f"against before. Quantized and trained: {'; '.join(parts)}. {zeros}. Known beside this run: the "
        "smallest weights are pruned, so the range and with it the step stay, and no level is spent on zero."
    )


def _symmetric(book: Notebook) -> str:
    kinds: dict[str, list[Row]] = {"Without training": [], "Trained": []}
    for row in book.of("4"):
        kinds["Trained" if "epochs" in row else "Without training"].append(row)
    parts = []
    for kind, rows in kinds.items():
        listed = "; ".join(f"{r['bits']} bits {percent(r['accuracy'])}, {rivalry(r)}" for r in rows)
        parts.append(f"{kind}, symmetric levels against the source's: {listed}. {score(rows)}")
    fewest = min(kinds["Without training"], key=lambda r: int(r["bits"]))
    parts.append(f"At {fewest['bits']} bits the symmetric levels make {fewest['zeros']:,} weights zero.")
    return (
        f"{' '.join(parts)} One scale per tensor in both. Known beside this run: symmetric levels keep zero "
        "and need no offset, so that integer kernels are simpler; one of the 2^b is left unused, and where "
        "weights lie to one side more are wasted."
    )


def _mixed(book: Notebook) -> str:
    rows, parts = book.of("5"), []
    for levels in dict.fromkeys(r["levels"] for r in rows):
        mine = [r for r in rows if r["levels"] == levels]
        listed = "; ".join(
            f"{r['what']}: {r['average_bits']:.4f} bits per weight, {percent(r['accuracy_before'])} -> "
            f"{percent(r['accuracy'])}"
            for r in mine
        )
        parts.append(f"{listed}. {_trade(mine, _uniform(book, levels))}")
    return (
        f"{' '.join(parts)} Known beside this run: three quarters of a ResNet-20's weights are in its last "
        "stage, so only its bits move the average much, while the first stages are narrow and feel the "
        "rounding of each weight more."
    )


def _uniform(book: Notebook, levels: str) -> list[Row]:
    return [r for r in book.of("2") if r["levels"] == levels and r["where"] == "blocks"]


def _trade(rows: Sequence[Row], uniform: Sequence[Row]) -> str:
    """Which schemes are the best for their bits, among themselves and beside the same bits everywhere."""
    best = [r for r in rows if not any(_dominates(other, r) for other in rows)]
    verdict = f"The best for their bits among these: {', '.join(_set(r) for r in best)}"
    beaten = [
        f"{_set(r)} by {u['bits']} bits everywhere ({u['average_bits']:.4f}, {percent(u['accuracy'])})"
        for r in best
        for u in uniform
        if _dominates(u, r)
    ]
    return f"{verdict}{'; of these beaten: ' + ', '.join(beaten) if beaten else ''}."


def _set(row: Row) -> str:
    return "{" + ",".join(map(str, row["bits"])) + "}"


def _dominates(one: Row, other: Row) -> bool:
    """Whether `one` is at least as accurate with no more bits, and better in one of the two."""
    no_worse = one["accuracy"] >= other["accuracy"] and one["average_bits"] <= other["average_bits"]
    differs = (one["accuracy"], one["average_bits"]) != (other["accuracy"], other["average_bits"])
    return bool(no_worse and differs)


def _searched(book: Notebook) -> str:
    rows, parts = book.of("6"), []
    for row in rows:
        bits = [layer["bits"] for layer in row["layers"]]
        parts.append(
            f"{row['what']}: {row['average_bits']:.4f} bits per weight, {min(bits)} to {max(bits)} bits a "
            f"layer, {percent(row['accuracy'])}, {rivalry(row)} against {row['rival']}"
        )
    return (
        f"{'. '.join(parts)}. {score(rows)} The search has the first and last layer too, which are float "
        "in the schemes by hand and cost 32 bits a weight there. It looks at the answers on training images, "
        "not at labels."
    )


def _repaired(book: Notebook) -> str:
    rows, parts = book.of("7"), []
    for where, title in (("all", "All layers"), ("blocks", "Blocks only")):
        for bits in sorted({r["bits"] for r in rows}, reverse=True):
            mine = {r["levels"]: r for r in rows if (r["where"], r["bits"]) == (where, bits)}
            listed = "; ".join(f"{way} {percent(r['accuracy'])}" for way, r in mine.items())
            chosen = mine[CHOSEN]
            parts.append(f"{title}, {bits} bits: {listed}. {_rank(mine)}, {difference(chosen)} against float")
    known = {r["bits"]: SOURCE_UNTUNED[r["bits"]] for r in rows if r["bits"] in SOURCE_UNTUNED}
    theirs = ", ".join(f"{percent(share)} at {bits} bits" for bits, share in known.items())
    images, most = rows[0]["calibration"], max(r["most_levels"] for r in rows)
    return (
        f"{'. '.join(parts)}. Repairs see {images:,} training images and no labels; the distance is "
        f"measured on other training images. No channel has more than 2^bits levels in any row ({most} at "
        f"most). Known beside this run: on its ResNet-20 the source has, blocks only and without repairs, "
        f"{theirs}; rounding shrinks and shifts what BN expects, and with few levels that costs more than "
        "the noise."
    )


def _rank(mine: Mapping[str, Row]) -> str:
    """Whether the repair that is recommended is also the one nearest to the float network."""
    best = min(mine.values(), key=lambda r: float(r["divergence"]))
    near = f"Nearest to float: {best['levels']} ({best['divergence']:.4f} nats)"
    chosen = mine[CHOSEN]
    if best is chosen:
        return f"{near}, {percent(chosen['accuracy'])}"
    return f"{near}; {CHOSEN} ({chosen['divergence']:.4f} nats) has {percent(chosen['accuracy'])}"


def _settings(book: Notebook) -> str:
    s = book.facts["settings"]
    t = s["tuning"]
    epochs = "1 epoch" if t["epochs"] == 1 else f"{t['epochs']} epochs"
    return (
        f"Quantized networks train for {epochs} by SGD in {t['precision']}, {t['schedule']} learning rate up "
        f"to {t['lr']}, momentum {t['momentum']}, weight decay {t['weight_decay']}, batches of "
        f"{s['batch_size']}; {percent(t['objective']['distill'])} of the loss are the float network's own "
        f"answers on {s['views']} views of every image. Source: one scale per tensor, from the least to the "
        "greatest non-zero weight, followed while training. Ours: one learned step per channel."
    )
