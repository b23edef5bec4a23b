"""A matplotlib figure as SVG in a page: text stays text, marks say their value, colours are the page's."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.report.figures import COLOURS, GRID, INK, PALE, SOFT, STYLE, settle

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TIPS: WeakKeyDictionary[Artist, tuple[str, ...]] = WeakKeyDictionary()
_MARKS = ("use", "path", "image")
_STYLED = tuple(f"{{{_SVG}}}{kind}" for kind in ("use", "path", "text"))
# What the page's style sheet names, so that a figure follows the light and the dark theme.
_THEME = {
    INK: "var(--text)",
    SOFT: "var(--soft)",
    PALE: "var(--pale)",
    GRID: "var(--line)",
    **{c: f"var(--c{i})" for i, c in enumerate(COLOURS)},
}
_TAG = re.compile(r"<[^>]+>")
_USED = re.compile(r'(?:url\(|href=")#([^")]+)')
_NAME = re.compile(r'( id="|href="#|url\(#)([^")]+)')
_FAMILY = re.compile(r" font-family: [^;\"]+;")
_UNTURNED = re.compile(r' transform="rotate\(-0 [^)]*\)"')
_PATH = re.compile(r'(?<= d=")[^"]+')
_LONG = re.compile(r"(\d\.\d)\d+")
_STEP = re.compile(r"([MLz])(?:(-?[\d.]+) (-?[\d.]+))?")
_CURVED = re.compile("[QC]")
_INHERITED = re.compile(";?text-anchor:start")
_WHOLE = re.compile(r"(?<=\d)\.0(?!\d)")
_ALONE = re.compile(r"(?:^|;) *opacity:")  # this one a group does not hand down to its marks


def describe(artist: Artist, tips: Sequence[str]) -> None:
    """Remembers what a page says when a mark of the artist is pointed at.

    Args:
        artist: What `plot`, `bar`, `scatter`, `pcolormesh` or `imshow` made; of a bar chart, one bar.
        tips: A text for each of the artist's marks in the order of its data, or one for all of them.
    """
    _TIPS[artist] = tuple(tips)


def inline_svg(fig: Figure, title: str) -> Markup:
    """Draws the figure as an `<svg>` element that is complete without scripts, fonts or files.

    The same figure gives the same text. Coordinates are rounded to a tenth of a point. The figure keeps the
    layout that it is drawn with here, so that a PNG of it shows the same.

    Args:
        fig: A figure of `pithnet.report.figures`.
        title: What the picture shows, for who cannot see it.

    Raises:
        PithError: Where an artist has another number of marks than `describe` was given texts for.
    """
    described = {f"tips-{i}": artist for i, artist in enumerate(a for a in fig.findobj() if a in _TIPS)}
    for name, artist in described.items():
        artist.set_gid(name)
    root = ElementTree.fromstring(_drawn(fig))
    for part in [part for kind in ("metadata", "defs") for part in root.findall(f"{{{_SVG}}}{kind}")]:
        if part.find(f"{{{_SVG}}}clipPath") is None:
            root.remove(part)  # its style sheet would be the whole page's
    groups = {group.get("id"): group for group in root.iter(f"{{{_SVG}}}g")}
    for name, artist in described.items():
        if name in groups:  # what lies outside the axes is not drawn
            _tell(groups[name], _TIPS[artist])
    _flattened(root, set(_USED.findall(ElementTree.tostring(root, encoding="unicode"))))
    return _markup(root, title)


def _drawn(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # Several images of one axes would become one, of as many pixels as the page has points.
    own: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "pithnet", "image.composite_image": False}
    with rc_context({**STYLE, **own, "path.simplify_threshold": 0.4}):
        fig.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    settle(fig)
    return buffer.getvalue()


def _tell(group: ElementTree.Element, tips: tuple[str, ...]) -> None:
    """Gives every mark of a group its title, which browsers show when it is pointed at."""
    marks = next((found for kind in _MARKS if (found := list(_outside_definitions(group, kind)))), [])
    if len(tips) == 1 and len(marks) > 1:
        marks = [group]
    if len(marks) != len(tips):
        raise PithError(f"an artist of {len(marks)} marks was described by {len(tips)} texts")
    for mark, tip in zip(marks, tips, strict=True):
        said = ElementTree.Element(f"{{{_SVG}}}title")
        said.text = tip
        mark.insert(0, said)


def _flattened(element: ElementTree.Element, named: set[str]) -> list[ElementTree.Element]:
    """The element, or, of a group that says nothing about what is in it, what is in it."""
    element[:] = _with_shared_styles([part for child in element for part in _flattened(child, named)])
    if element.get("id") not in named:
        element.attrib.pop("id", None)
    speaks = element.attrib or (len(element) and element[0].tag == f"{{{_SVG}}}title")
    return [element] if element.tag != f"{{{_SVG}}}g" or speaks else list(element)


def _with_shared_styles(elements: Sequence[ElementTree.Element]) -> list[ElementTree.Element]:
    """With a style said once, by a group, where several marks in a row have it, as hundreds of bars do."""
    found: list[ElementTree.Element] = []
    for style, run in groupby(elements, lambda e: e.get("style") if e.tag in _STYLED else None):
        marks = list(run)
        if len(marks) > 1 and style and not _ALONE.search(style):
            for mark in marks:
                del mark.attrib["style"]
            group = ElementTree.Element(f"{{{_SVG}}}g", {"style": style})
            group[:] = marks
            marks = [group]
        found += marks
    return found


def _outside_definitions(element: ElementTree.Element, kind: str) -> Iterator[ElementTree.Element]:
    for child in element:
        if child.tag == f"{{{_SVG}}}{kind}":
            yield child
        elif child.tag != f"{{{_SVG}}}defs":
            yield from _outside_definitions(child, kind)


def _markup(root: ElementTree.Element, title: str) -> Markup:
    """The element as text, sized by the page, with names that no other figure of a page has."""
    width = root.attrib.pop("width").removesuffix("pt")
    for name in ("height", "version"):
        root.attrib.pop(name, None)
    # Made smaller than two thirds, its texts could not be read: on a phone it scrolls instead.
    limits = f"max-width:{float(width):.0f}pt;min-width:{0.65 * float(width):.0f}pt"
    # What has no colour of its own is black to matplotlib.
    root.attrib |= {"role": "img", "style": f"{limits};fill:var(--text)"}
    root.attrib |= {
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "font-family": "system-ui, sans-serif",
    }
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    text = ElementTree.tostring(root, encoding="unicode")
    text = _TAG.sub(lambda tag: _shortened(tag[0]), re.sub(r">\s+<", "><", text))
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    own = hashlib.sha256(text.encode()).hexdigest()[:6]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(_USED.findall(text)))}
    text = _NAME.sub(lambda name: f"{name[1]}{own}-{numbers[name[2]]}", text)
    return Markup(text.replace("<svg ", Markup('<svg aria-label="{}" ').format(title), 1))


def _shortened(tag: str) -> str:
    """The same tag in half of the bytes, for a page holds dozens of figures; texts between tags stay."""
    tag = _FAMILY.sub("", _UNTURNED.sub("", tag))
    if not tag.startswith("<image"):  # its matrix scales pixels, often to less than a tenth of a point
        tag = _WHOLE.sub("", _LONG.sub(r"\1", tag))
    tag = _PATH.sub(
        lambda path: _shorter_path(re.sub(r" *([MLQCz]) *", r"\1", " ".join(path[0].split()))), tag
    )
    tag = re.sub(r"(?<=[:;,]) ", "", tag)
    return _INHERITED.sub("", tag)


def _shorter_path(path: str) -> str:
    """The same lines with H and V for what is level or upright, as most of a figure's lines are."""
    if _CURVED.search(path):
        return path
    short, x, y = "", "", ""
    for command, to_x, to_y in _STEP.findall(path):
        if command == "L" and (to_x == x or to_y == y):
            short += (f"V{to_y}" if to_x == x else f"H{to_x}") if (to_x, to_y) != (x, y) else ""
        else:
            short += f"{command}{to_x} {to_y}" if to_x else command
        x, y = to_x, to_y
    return short
