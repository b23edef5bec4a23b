from __future__ import annotations

import re
from pathlib import Path

import pytest

from pithnet.errors import PithError
from pithnet.report import Page, plots
from pithnet.report.templating import rich_text

from .reader import Reader


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** `c`", "a <strong>b</strong> <code>c</code>"),
        ("`a ** b ** c`", "<code>a ** b ** c</code>"),
        ("**`x` is <1>**", "<strong><code>x</code> is &lt;1&gt;</strong>"),
        ("2 ** 3 ** 4", "2 ** 3 ** 4"),
        (
            "<script>alert(1)</script> & `<i>`",
            "&lt;script&gt;alert(1)&lt;/script&gt; &amp; <code>&lt;i&gt;</code>",
        ),
        ("95 % of 5 %", "95\N{NO-BREAK SPACE}% of 5\N{NO-BREAK SPACE}%"),
        ("one ` and one **", "one ` and one **"),
    ],
)
def test_texts_are_escaped_but_for_bold_and_code(text: str, html: str) -> None:
    assert str(rich_text(text)) == html


def test_page_holds_its_blocks_in_order_and_fetches_nothing(tmp_path: Path) -> None:
    page = Page("Lab <pruning>", "with `--quick`")
    page.section("One-shot")
    page.text("Zeros stay **zero**.")
    page.table([{"what": "<q>", "accuracy": 0.9153}, {"what": "std", "accuracy": 0.9}], caption="Rows")
    page.facts([("36,061 bytes", "File", "")])
    page.code("steps:\n  - <x>", "Recipe")
    page.figure(plots.bars({"a": 1.0}), "A pattern")
    html = page.write(tmp_path / "page.html").read_text("utf-8")
    read = Reader(html)
    assert read.all_of("h1") == ["Lab <pruning>"]
    assert read.all_of("h2") == ["One-shot"]
    assert read.tables == [[["what", "accuracy"], ["<q>", "0.9153"], ["std", "0.9000"]]]
    assert read.all_of("pre") == ["steps:\n  - <x>"]
    order = [
        read.text.index(t) for t in ("One-shot", "Zeros stay", "Rows", "36,061 bytes", "<x>", "A pattern")
    ]
    assert order == sorted(order)
    assert all(address.startswith("#") for address in read.addresses)
    assert "default-src 'none'" in html, "the browser itself is told to fetch nothing"
    assert len(html) < 20_000


def test_a_table_scrolls_in_its_own_box_and_may_be_folded() -> None:
    page = Page("p")
    page.table([{"a": 1}], folded="20 vectors")
    read = Reader(page.render())
    assert read.all_of("summary") == ["20 vectors"]
    assert "scroll" in read.classes


def test_a_table_can_be_sorted_but_its_total_stays_below() -> None:
    page = Page("p")
    page.table([{"a": 1.5}, {"a": 2.25}, {"a": 3.0}], total={"a": 6.75})
    page.table([{"a": 1}])
    html = page.render()
    body, foot = html.split("<tfoot>")
    assert [c for row in Reader(html).tables[0][1:] for c in row] == ["1.50", "2.25", "3.00", "6.75"]
    assert "6.75" not in body
    assert "6.75" in foot
    assert html.count('class="sortable"') == 1, "two rows need no sorting"


def test_the_lead_stands_above_the_sections() -> None:
    page = Page("p")
    for heading in "abcd":
        page.section(heading)
    page.lead("**30x** smaller")
    html = page.render()
    assert '<p class="lead"><strong>30x</strong> smaller</p>' in html
    assert html.index('class="lead"') < html.index("<nav")


def test_figures_may_be_folded_and_stand_side_by_side() -> None:
    page = Page("p")
    page.figure(plots.bars({"a": 1.0}), "What it is", "One bar", folded="1 drawing")
    page.figures({"Left": plots.bars({"b": 1.0}), "Right": plots.bars({"c": 1.0})}, "Both")
    html = page.render()
    read = Reader(html)
    assert read.all_of("summary") == ["1 drawing"]
    assert read.all_of("figcaption") == ["What it is", "Both"]
    assert re.findall(r'<svg aria-label="([^"]*)"', html) == ["One bar", "Left", "Right"]


def test_sections_of_the_same_name_have_their_own_anchors() -> None:
    page = Page("p")
    for heading in ("Zeros", "Zeros", "§", "Rows & columns"):
        page.section(heading)
    read = Reader(page.render())
    assert read.addresses == ["#zeros", "#zeros-1", "#section", "#rows-columns"]


def test_a_figure_is_drawn_without_javascript_and_its_texts_are_no_markup() -> None:
    page = Page("p")
    hostile = "</svg><script>alert(1)</script>"
    page.figure(plots.lines({hostile: ([1, 2], [2.5, 3])}, "Zeros <per> layer"), "first")
    page.figure(plots.bars({"a": 1.0}), "second")
    html = page.render()
    assert hostile not in html
    assert html.count("<svg ") == 2
    assert html.count("<script>") == 1, "only the page's own"
    assert Reader(html).all_of("figcaption") == ["first", "second"]


def test_prose_is_markdown_in_which_html_is_text() -> None:
    page = Page("p")
    page.prose("**Why?** Because `w` shrinks by 5 %.\n\n- one <b>\n- two")
    html = page.render()
    assert "<p><strong>Why?</strong> Because <code>w</code> shrinks by 5\N{NO-BREAK SPACE}%.</p>" in html
    assert "<li>one &lt;b&gt;</li>" in html


def test_unwritable_page_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PithError, match=r"page.html cannot be written: there is no folder .*none; make"):
        Page("p").write(tmp_path / "none" / "page.html")
    assert list(tmp_path.iterdir()) == []
