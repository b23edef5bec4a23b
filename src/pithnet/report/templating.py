"""The package's templates. What is put into them is escaped, unless it is markup already."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pithnet.report.numbers import column_texts

# `code`, or **bold** that touches its stars (so that "2 ** 3 ** 4" stays as it is).
_MARKED = re.compile(r"`([^`]+)`|\*\*(?=\S)(.+?)(?<=\S)\*\*")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pithnet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rich"] = rich_text
    environment.filters["number"] = lambda value: column_texts([value])[0]
    return environment


def render(template: str, **context: Any) -> Markup:
    """Fills in a template."""
    return Markup(_environment().get_template(template).render(**context))


def rich_text(text: str) -> Markup:
    """Marks up **bold** and `code` in plain text, and escapes all else."""
    parts, end = [], 0
    for mark in _MARKED.finditer(text):
        parts.append(_escaped(text[end : mark.start()]))
        code, bold = mark.groups()
        parts.append(
            Markup("<code>{}</code>").format(code)
            if code
            else Markup("<strong>{}</strong>").format(rich_text(bold))
        )
        end = mark.end()
    return Markup("").join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> Markup:
    """Escaped, with a number and its % sign kept on one line."""
    return escape(re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text))
