"""What `lab deep-compression` shows: CSV tables, plots and the page with its answers, from results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from pithnet.labs.columns import ACCURACY, percent_rows
from pithnet.labs.deep_compression.answers import answers
from pithnet.labs.deep_compression.settings import BY_RECIPE, FROM_FILE
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.page import open_page, write_answers, write_facts, write_tables, write_unmeasured
from pithnet.labs.phrases import percent
from pithnet.labs.pictures import Album
from pithnet.report import Page, write_csv
from pithnet.surgery import weighted_layers

_TITLES = {
    "1": "weight sharing",
    "2": "centroid initialisation and codebook fine-tuning",
    "3": "Huffman codes and positions",
    "4": "the whole pipeline",
}


def write_results(
    book: Notebook,
    pruned: nn.Module,
    shared: Mapping[str, nn.Module],
    planned: Mapping[str, Sequence[str]],
) -> None:
    """Writes tables, plots and index.html beside results.json.

    shared: models whose weights are drawn, with item 1; planned: rows that a complete item has.
    """
    page = open_page(book, "Deep Compression")
    album = Album(page, book.out)
    said = answers(book)
    write_unmeasured(book, page, _TITLES, planned)
    _start(book, page)
    if book.of("1"):
        _sharing(book, page, album, pruned, shared)
        write_answers(page, said, "1")
    if book.of("2"):
        _initialisations(book, page, album)
        write_answers(page, said, "2")
    if book.of("3"):
        _huffman(book, page, album)
        write_answers(page, said, "3")
    if book.of("4"):
        _pipeline(book, page, album)
        write_answers(page, said, "4")
    write_facts(book, page, said)
    page.write(book.out / "index.html")


def _start(book: Notebook, page: Page) -> None:
    page.section("0. The start")
    page.text(_started_from(book))
    columns = {"what": "network", **ACCURACY, "difference": "points vs float", "zeros": "zeros"}
    write_tables(book, "0", columns, page, "95 % Wilson intervals.")


def _started_from(book: Notebook) -> str:
    s = book.facts["settings"]
    if book.facts["start"] == BY_RECIPE:
        return (
            f"The network is pruned by the first step of the recipe `{s['recipe']['name']}`, which also "
            "trains it; items 1 to 3 start from it, and item 4 is the recipe as a whole."
        )
    if book.facts["start"] == FROM_FILE:
        given = book.facts["pruned"]
        return (
            f"Items 1 to 3 start from the pruned network in the file `{given['file']}` (SHA-256 "
            f"`{given['sha256'][:16]}`); item 4, where it is measured, is the recipe as a whole, from the "
            "float network."
        )
    return (
        f"Items 1 to 3 start from a network that is pruned in one shot: the {percent(s['one_shot'])} of all "
        "weights that are smallest, in one ranking over all layers, are set to zero, and nothing is trained "
        "afterwards. It has fewer zeros than one that is trained while it is pruned, and nothing has made up "
        "for the accuracy it lost, so the numbers below are not those of Deep Compression as a whole. A lab "
        "that is begun with item 4 starts all items from the network that its recipe prunes and trains."
    )


_CHANGE = {"difference": "points vs pruned", "difference_low": "from", "difference_high": "to"}


def _sharing(
    book: Notebook, page: Page, album: Album, pruned: nn.Module, shared: Mapping[str, nn.Module]
) -> None:
    page.section("1. Weight sharing")
    columns = {
        "what": "sharing",
        **ACCURACY,
        **_CHANGE,
        "agreement": "same answers %",
        "kl": "KL, nats",
        "index_bytes": "index bytes",
        "codebook_bytes": "codebook bytes",
        "file_bytes": "file bytes",
        "file_ratio": "file ratio",
        "zeros_kept": "zeros kept",
    }
    page.text(
        "k-means in each layer on the non-zero weights, linear initialisation, no fine-tuning. Same answers "
        "and KL are against the pruned network on a tenth of the training images. Index and codebook bytes "
        "count fixed-width indices and float32 values only; the file is the whole `.pith`."
    )
    rows = [r for r in book.of("1") if "accuracy" in r]
    write_tables(book, "1", columns, page, "95 % Wilson and paired intervals.", rows)
    names = [name for name, _ in weighted_layers(pruned)]
    largest = max(names, key=lambda n: dict(weighted_layers(pruned))[n].weight.numel())
    samples = {}
    for what, model in {"before": pruned, **shared}.items():
        weight = dict(weighted_layers(model))[largest].weight.detach()
        samples[what] = weight[weight != 0].cpu().numpy()
    album.histograms("weights", samples, f"Non-zero weights of {largest} before and after sharing.")
    curve = {"test accuracy": ([r["file_bytes"] for r in rows], [100 * r["accuracy"] for r in rows])}
    album.lines(
        "accuracy-by-bytes", curve, "bytes of the file", "test accuracy, %", "Accuracy against bytes."
    )


def _initialisations(book: Notebook, page: Page, album: Album) -> None:
    page.section("2. Centroid initialisation and codebook fine-tuning")
    columns = {
        "what": "initialisation",
        "inertia": "inertia",
        "iterations": "iterations",
        "most_iterations": "in the slowest layer",
        "accuracy_before": "before tuning %",
        **ACCURACY,
        **_CHANGE,
        "best_over_test_epochs": "best test epoch %",
        "most_levels": "most values in a layer",
        "masks_exact": "zeros exact after every epoch",
    }
    caption = (
        "Accuracy after the last epoch. A centroid's gradient is the sum over the weights that share it."
    )
    write_tables(book, "2", columns, page, caption)
    rows = book.of("2")
    bars = {
        "before fine-tuning": [100 * r["accuracy_before"] for r in rows],
        "after": [100 * r["accuracy"] for r in rows],
    }
    album.bars(
        "codebook-tuning", [r["what"] for r in rows], bars, "test accuracy, %", "Codebook fine-tuning."
    )


def _flat_positions(row: Row) -> Row:
    return {**{k: v for k, v in row.items() if k not in ("positions", "codes")}, **row.get("positions", {})}


def _huffman(book: Notebook, page: Page, album: Album) -> None:
    page.section("3. Huffman codes and positions")
    rows = [r for r in book.of("3") if "positions" in r]
    columns = {
        "what": "layer",
        "weights": "weights",
        "nonzeros": "non-zeros",
        "fixed_bits": "fixed width",
        "huffman_bits": "Huffman",
        "entropy_bits": "entropy",
        "dense_fixed_bits": "fixed, zero a symbol",
        "dense_huffman_bits": "Huffman, zero a symbol",
        "dense_entropy_bits": "entropy, zero a symbol",
    }
    caption = "Bits per non-zero weight; with zero as a symbol, bits per weight, and no positions are needed."
    write_tables(book, "3", columns, page, caption, [_flat_positions(r) for r in rows])
    coders = list(dict.fromkeys(name for r in rows for name in r["positions"]))
    names = {n: n for n in coders}
    table = [{"layer": r["what"], **{names[n]: r["positions"].get(n) for n in coders}} for r in rows]
    for line, r in zip(table, rows, strict=True):
        line |= {"entropy of the mask": r["positions_entropy_bytes"], "chosen": r.get("positions_chosen")}
    write_csv(book.out / "item3-positions.csv", table)
    page.table(
        table, caption="Bytes of the positions. `gaps` is Deep Compression's relative index, Huffman coded."
    )
    layers = [r for r in rows if r["what"] != "all layers"]
    kinds = {"huffman_bits": "Huffman", "entropy_bits": "entropy", "fixed_bits": "fixed width"}
    bars = {title: [r[key] for r in layers] for key, title in kinds.items()}
    album.bars(
        "code-length", [r["what"] for r in layers], bars, "bits per non-zero weight", "Average code length."
    )
    _empty_clusters(book, page)
    for row in book.of("3"):
        if "codes" in row:
            write_csv(book.out / "item3-codes.csv", row["codes"])
            page.table(row["codes"], caption=f"Canonical {row['what']}.")


def _empty_clusters(book: Notebook, page: Page) -> None:
    rows = [r for r in book.of("3") if "empty" in r]
    columns = {
        "what": "k-means from a linear start",
        "levels": "clusters with members",
        "clusters": "of",
        "huffman_bits": "Huffman",
        "entropy_bits": "entropy",
        "fixed_bits": "fixed width",
        "inertia": "inertia",
    }
    write_csv(book.out / "item3-empty-clusters.csv", rows)
    caption = "All layers together: bits per non-zero weight, with empty clusters refilled and left empty."
    page.table(percent_rows(rows, columns), caption=caption)


def _pipeline(book: Notebook, page: Page, album: Album) -> None:
    page.section("4. The whole pipeline")
    rows = book.of("4")
    whole = rows[0]
    page.table(
        [
            {"counted": "the source's formula", "times smaller": whole["formula_ratio"]},
            {
                "counted": f"bytes of model.pith against {whole['float_bytes']:,} of the float32 state_dict",
                "times smaller": whole["ratio"],
            },
        ],
        caption="nonzero/total x quant_bits/32 x huffman_length/quant_bits, inverted, beside the real file.",
    )
    columns = {"accuracy_before": "float %", **ACCURACY, "difference": "points", "bytes": "bytes"}
    write_tables(book, "4", columns, page, "model.pith, loaded from disk.", [whole])
    page.table([{"part": k, "bytes": v} for k, v in whole["parts"].items()], caption="Where its bytes went.")
    others = [{"file": r["what"], "bytes": r["bytes"], "times smaller": r.get("ratio")} for r in rows[1:]]
    page.table(others, caption="The trivial ways for the same networks, and the source's six files.")
    write_csv(book.out / "item4-files.csv", others)
    sizes = {"model.pith": whole["bytes"]} | {r["what"]: r["bytes"] for r in rows[1:] if "ratio" in r}
    album.bars("file-bytes", list(sizes), {"bytes": list(sizes.values())}, "bytes", "Bytes on disk.")
