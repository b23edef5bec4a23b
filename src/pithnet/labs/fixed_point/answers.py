"""The questions of `lab fixed-point`, answered by what was measured; general knowledge is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pithnet.labs.fixed_point.repairs import CHOSEN
from pithnet.labs.fixed_point.symmetry import symmetric_trained, symmetric_untrained
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import SETTINGS, Answer, difference, percent, rivalry, score
from pithnet.labs.teachers import NONE, SELF

SOURCE_UNTUNED = {6: 0.9145, 5: 0.9112, 4: 0.8972, 3: 0.7662, 2: 0.0899}  # the source's table, by bits


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page; those whose items have been measured."""
    asked = [
        ("1", "How do precision and accuracy trade?", _precision),
        ("1", "Symmetric or asymmetric levels, without training?", symmetric_untrained),
        ("2", "What does training recover?", _recovered),
        ("3", "What does pruning do to it?", _pruned),
        ("4", "Symmetric or asymmetric levels, trained?", symmetric_trained),
        ("5", "Which mixed scheme, and why?", _mixed),
        ("6", "Does a search beat the schemes by hand?", _searched),
        ("7", "What is possible without labels and without training?", _repaired),
    ]
    given = [(item, question, answer(book)) for item, question, answer in asked if book.of(item)]
    found = [Answer(*said) for said in given if said[2]]
    return [*found, Answer(SETTINGS, "Which settings?", _settings(book))]


def _precision(book: Notebook) -> str:
    parts = []
    for levels in dict.fromkeys(r["levels"] for r in book.of("1")):
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
    return (
        f"; the first and last layer quantized too change that by {' / '.join(costs)} points" if costs else ""
    )


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
    bases = [r for r in book.of("3") if "levels" not in r]
    rows = [r for r in book.of("3") if "levels" in r]
    starts = "; ".join(
        f"{r['what']}: {r['zeros']:,} of {r['weights']:,} weights are zero, {percent(r['accuracy'])}, "
        f"{difference(r)} against before pruning"
        for r in bases
    )
    parts = [f"{r['what']}: {percent(r['accuracy'])}, {rivalry(r)} against unpruned" for r in rows]
    held = sum(r["masks_exact"] for r in rows)
    zeros = (
        "Every pruned weight was exactly zero after every epoch"
        if held == len(rows)
        else f"The zeros held in only {held} of {len(rows)} trainings"
    )
    left = 1 - bases[0]["zeros"] / bases[0]["weights"]
    return (
        f"Where it begins: {starts}.{_origin(book)} Quantized and trained: {'; '.join(parts)}. {zeros}. "
        "Known beside this run: a pruned weight is zero before and after and carries no rounding error, so "
        f"only the {percent(left)} that are left do. The smallest weights are pruned, so the range and with "
        "it the step stay, no level is spent on zero, and levels inside the gap that pruning leaves around "
        "zero are wasted."
    )


def _origin(book: Notebook) -> str:
    """Where a pruned network comes from that was not trained here."""
    given = book.facts.get("pruned")
    if given is None:
        return ""
    how = {
        "not recorded": "which network it was pruned from is recorded nowhere beside it",
    }.get(given["origin"], f"by the {given['origin']} it was pruned from this float network")
    return (
        f" It is {given['file']} (SHA-256 {given['sha256'][:16]}): {how}; the weights that are left "
        f"correlate with the float network's by {given['correlation']:.2f}, where networks of other seeds "
        "have 0.01."
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
        parts.append(f"{listed}. {_trade(mine, _uniform(book, levels))} {_collapsed(mine)}")
    return (
        f"{' '.join(parts)} Known beside this run: three quarters of a ResNet-20's weights are in its last "
        "stage, so only its bits move the average much, while the first stages are narrow and feel the "
        "rounding of each weight more."
    )


def _collapsed(rows: Sequence[Row]) -> str:
    """Which scheme rounding hurts most before training, and where that ends."""
    worst = min(rows, key=lambda r: float(r["accuracy_before"]))
    left = max(r["accuracy"] for r in rows) - worst["accuracy"]
    return (
        f"Untrained {_set(worst)} is the worst at {percent(worst['accuracy_before'])}; training brings it to "
        f"{percent(worst['accuracy'])}, {100 * left:.2f} points from the best of them."
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
        f"{s['batch_size']}. {_teacher(book)} The source's levels and their symmetric forms are trained from "
        "the labels alone, as the source trains. Source: one scale per tensor, 2^b levels from the least to "
        "the greatest non-zero weight, followed while training. Symmetric: the same 2^b levels from -max to "
        "max. Symmetric with zero: 2^b - 1 levels from -max to max. Ours: one learned step per channel."
    )


def _teacher(book: Notebook) -> str:
    """Whom rows of our levels learn from."""
    teacher, s = book.facts["teacher"], book.facts["settings"]
    if teacher["kind"] == NONE:
        return "Rows of our levels learn from the labels alone too."
    who = (
        "the float network's own answers"
        if teacher["kind"] == SELF
        else f"the answers of {teacher['architecture']} ({teacher['file']})"
    )
    share = percent(s["tuning"]["objective"]["distill"])
    return f"Of our levels' loss {share} are {who} on {s['views']} views of every image."
