"""The questions of `lab deep-compression`, answered by what was measured; general knowledge is marked."""

from __future__ import annotations

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import SETTINGS, Answer, difference, percent, taught_by


def answers(book: Notebook) -> list[Answer]:
    """In the order of the page; those whose items have been measured."""
    asked = [
        ("1", "Which bit width is the best trade-off?", _bits),
        ("2", "Which initialisation, and what does fine-tuning the codebooks add?", _inits),
        ("3", "How good are the Huffman codes?", _huffman),
        ("3", "What do empty clusters change?", _empty),
        ("3", "How should the positions be coded?", _positions),
        ("4", "How much smaller is it?", _pipeline),
    ]
    said = [Answer(item, question, answer(book)) for item, question, answer in asked if book.of(item)]
    return [*said, Answer(SETTINGS, "Which settings?", _settings(book))]


def _bits(book: Notebook) -> str:
    rows = [r for r in book.of("1") if "accuracy" in r]
    best = book.find("1", "best trade-off")
    assert best is not None
    listed = "; ".join(
        f"{r['bits']} bits {percent(r['accuracy'])}, {r['file_bytes']:,} bytes, {percent(r['agreement'])} "
        "same answers"
        for r in rows
    )
    chosen = next(r for r in rows if r["bits"] == best["bits"])
    met = "" if best["met"] else " (no width reached that share)"
    kept = "all" if all(r["zeros_kept"] for r in rows) else "not all"
    return (
        f"{best['bits']} bits, by a rule that looks at no test image: {best['rule']}{met}. On the test "
        f"images that is {difference(chosen)} against the pruned network. {listed}. Zeros stayed zero in "
        f"{kept} of them."
    )


def _inits(book: Notebook) -> str:
    rows = book.of("2")
    parts = []
    for bits in dict.fromkeys(r["bits"] for r in rows):
        group = [r for r in rows if r["bits"] == bits]
        least = min(group, key=lambda r: r["inertia"])
        most = max(group, key=lambda r: r["inertia"])
        slowest = max(group, key=lambda r: r["iterations"])
        parts.append(
            f"At {bits} bits `{least['init']}` ends at the least inertia and `{most['init']}` at "
            f"{most['inertia'] / least['inertia'] - 1:+.1%} of it; `{slowest['init']}` takes the most "
            f"iterations ({slowest['iterations']:,} over all layers). Before fine-tuning accuracies run from "
            f"{percent(min(r['accuracy_before'] for r in group))} to "
            f"{percent(max(r['accuracy_before'] for r in group))}, after it from "
            f"{percent(min(r['accuracy'] for r in group))} to {percent(max(r['accuracy'] for r in group))}"
        )
    exact = all(r["masks_exact"] for r in rows)
    return (
        f"{'. '.join(parts)}. While codebooks train every zero stays zero: "
        f"{'exact after every epoch' if exact else 'NOT exact after every epoch'}. One seed: differences of "
        "less than a point would need more. Known beside this run: linear initialisation keeps the few large "
        "weights represented (Han et al. 2016), density follows the bulk and loses them."
    )


def _huffman(book: Notebook) -> str:
    total = book.find("3", "all layers")
    assert total is not None
    excess = total["huffman_bits"] - total["entropy_bits"]
    values = total["huffman_bits"] * total["nonzeros"] / 8
    dense = total["dense_huffman_bits"] * total["weights"] / 8
    sparse = values + total["positions_chosen_bytes"]
    better = "positions coded apart" if sparse < dense else "zero as a symbol"
    return (
        f"Over the non-zero weights, with empty clusters of k-means refilled, {total['huffman_bits']:.3f} "
        f"bits a weight, {excess:.3f} above the "
        f"entropy of {total['entropy_bits']:.3f} and below the fixed width of {total['fixed_bits']:g}. With "
        f"zero as a symbol {total['dense_huffman_bits']:.3f} bits a weight against an entropy of "
        f"{total['dense_entropy_bits']:.3f} and a fixed width of {total['dense_fixed_bits']:g}. In bytes, "
        f"without codebooks: {sparse:,.0f} with positions coded apart, {dense:,.0f} with zero as a symbol; "
        f"{better} is smaller here. Known beside this run: a Huffman code spends at least one bit on a "
        "symbol, so it is far above the entropy where one symbol, here zero, has most of the weights. The "
        "codes are canonical: their lengths are all a file has to store."
    )


def _empty(book: Notebook) -> str:
    refilled, left, *of_float = (r for r in book.of("3") if "empty" in r)
    before = (
        f"On the network before pruning it is {of_float[0]['huffman_bits']:.3f} against "
        f"{of_float[1]['huffman_bits']:.3f}. "
    )
    return (
        "A linear start puts centroids where few weights are, and some lose all their members in the first "
        "iterations. Here each such cluster is refilled, by halving the cluster with the largest error: the "
        f"average code length is {refilled['huffman_bits']:.3f} bits, with {refilled['levels']} of "
        f"{refilled['clusters']} clusters in use over all layers. Lloyd's own iterations leave them empty: "
        f"{left['huffman_bits']:.3f} bits, with {left['levels']} in use. {before}So a Huffman length can "
        "only be compared with another where the treatment of empty clusters is the same. The shorter code "
        f"has its price: with fewer values the squared distances sum to {left['inertia']:.4g} instead of "
        f"{refilled['inertia']:.4g}."
    )


def _positions(book: Notebook) -> str:
    total = book.find("3", "all layers")
    assert total is not None
    layers = [r for r in book.of("3") if "positions" in r and r["what"] != "all layers"]
    chosen = [r["positions_chosen"] for r in layers]
    counts = ", ".join(f"`{name}` in {chosen.count(name)}" for name in dict.fromkeys(chosen))
    fixed, gaps = total["positions"]["relative index, fixed width"], total["positions"]["gaps"]
    best = total["positions_chosen_bytes"]
    return (
        f"Deep Compression's relative index with bounded gaps takes {fixed:,} bytes at its best fixed width "
        f"and {gaps:,} Huffman coded; the smallest coding of each layer takes {best:,}, "
        f"{1 - best / gaps:.1%} less ({counts} of {len(layers)} layers). If each layer's zeros lay anywhere "
        f"independently, {total['positions_entropy_bytes']:,.0f} would be the least; `kernels` can go below, "
        "because it learns which channels and kernels are denser."
    )


def _pipeline(book: Notebook) -> str:
    whole = book.of("4")[0]
    goals = {
        "at least 20 times smaller on disk": whole["ratio"] >= 20,
        "less than one point lost": whole["difference"] > -1,
        "at least 90 % accuracy": whole["accuracy"] >= 0.9,
    }
    met = ", ".join(f"{goal}: {'yes' if ok else 'no'}" for goal, ok in goals.items())
    same = "the same bits" if whole["logits_identical_after_reload"] else "NOT the same bits"
    return (
        f"By the source's formula {whole['formula_ratio']:.1f} times ({percent(whole['nonzero_share'])} of "
        f"the weights are not zero, {whole['quant_bits']} bits, {whole['huffman_length']:.3f} bits after "
        f"Huffman); by the bytes of the file {whole['ratio']:.1f} times ({whole['float_bytes']:,} -> "
        f"{whole['bytes']:,}). The formula leaves out positions ({whole['parts']['positions']:,} bytes "
        f"here), codebooks, BN and headers. Accuracy {percent(whole['accuracy_before'])} -> "
        f"{percent(whole['accuracy'])}: {difference(whole)}. {met}. The file, loaded, gives {same} as the "
        "network it was made of."
    )


def _settings(book: Notebook) -> str:
    s: Row = book.facts["settings"]
    tune, recipe = s["tune"], s["recipe"]
    taught = taught_by(book.facts["teacher"])
    return (
        f"The recipe `{recipe['name']}` as results.json has it, {taught}. Codebooks (item 2), from "
        f"the labels alone: SGD for {tune['epochs']} epoch(s), learning rate {tune['lr']} falling by a "
        f"cosine, momentum {tune['momentum']}, no weight decay on codebooks, batches of "
        f"{recipe['batch_size']}."
    )
