"""A matplotlib figure as SVG in a page: text stays text, marks say their value, colours are the page's."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.report.figures import COLOURS, GRID, INK, STYLE

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TIPS: WeakKeyDictionary[Artist, tuple[str, ...]] = WeakKeyDictionary()
_MARKS = ("use", "path", "image")
# What the page's style sheet names, so that a figure follows the light and the dark theme.
_THEME = {INK: "var(--text)", GRID: "var(--line)", **{c: f"var(--c{i})" for i, c in enumerate(COLOURS)}}
_TAG = re.compile(r"<[^>]+>")
_ID = re.compile(r' id="([^"]+)"')
_USED = re.compile(r'(?:url\(|href=")#([^")]+)')
_NAME = re.compile(r'( id="|href="#|url\(#)([^")]+)')
_FAMILY = re.compile(r" font-family: [^;\"]+;")
_UNTURNED = re.compile(r' transform="rotate\(-0 [^)]*\)"')
_PATH = re.compile(r'(?<= d=")[^"]+')
_LONG = re.compile(r"(\d\.\d)\d+")
_BARE = re.compile(r"<g>((?:(?!</?g\b).)*)</g>", re.S)


def describe(artist: Artist, tips: Sequence[str]) -> None:
    """Remembers what a page says when a mark of the artist is pointed at.

    Args:
        artist: what `plot`, `bar`, `scatter`, `pcolormesh` or `imshow` made; of a bar chart, one bar.
        tips: a text for each of the artist's marks in the order of its data, or one for all of them.
    """
    _TIPS[artist] = tuple(tips)


def inline_svg(fig: Figure, title: str) -> Markup:
    """The figure as an `<svg>` element that is complete without scripts, fonts or files.

    The same figure gives the same text. Coordinates are rounded to a tenth of a point.

    Args:
        fig: a figure of `pithnet.report.figures`.
        title: what the picture shows, for who cannot see it.

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
    return _markup(root, title)


def _drawn(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context(
        {**STYLE, "svg.fonttype": "none", "svg.hashsalt": "pithnet", "path.simplify_threshold": 0.4}
    ):
        fig.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    return buffer.getvalue()


def _tell(group: ElementTree.Element, tips: tuple[str, ...]) -> None:
    """Gives every mark of a group its title, which browsers show when it is pointed at."""
    marks = next((found for kind in _MARKS if (found := list(_outside_definitions(group, kind)))), [])
    if len(tips) == 1:
        marks = [group]
    if len(marks) != len(tips):
        raise PithError(f"an artist of {len(marks)} marks was described by {len(tips)} texts")
    for mark, tip in zip(marks, tips, strict=True):
        said = ElementTree.Element(f"{{{_SVG}}}title")
        said.text = tip
        mark.insert(0, said)


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
    root.attrib |= {"role": "img", "style": f"max-width:{float(width):.0f}pt"}
    root.attrib |= {
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "font-family": "system-ui, sans-serif",
    }
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    text = ElementTree.tostring(root, encoding="unicode")
    named = set(_USED.findall(text))
    text = _TAG.sub(lambda tag: _shortened(tag[0], named), re.sub(r">\s+<", "><", text))
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    own = hashlib.sha256(text.encode()).hexdigest()[:6]
    text = _NAME.sub(lambda name: f"{name[1]}{own}-{name[2]}", _without_bare_groups(text))
    return Markup(text.replace("<svg ", Markup('<svg aria-label="{}" ').format(title), 1))


def _shortened(tag: str, named: set[str]) -> str:
    """The same tag in half of the bytes, for a page holds dozens of figures; texts between tags stay."""
    tag = _ID.sub(lambda found: found[0] if found[1] in named else "", tag)
    tag = _LONG.sub(r"\1", _FAMILY.sub("", _UNTURNED.sub("", tag)))
    tag = _PATH.sub(lambda path: re.sub(r" *([MLQCz]) *", r"\1", " ".join(path[0].split())), tag)
    return re.sub(r"(?<=[:;]) ", "", tag)


def _without_bare_groups(text: str) -> str:
    """Without groups that say nothing about what is in them."""
    shorter = _BARE.sub(r"\1", text)
    return text if shorter == text else _without_bare_groups(shorter)
