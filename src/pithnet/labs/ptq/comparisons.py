"""Which schemes item 3 of `lab ptq` compares, each differing from its rival in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pithnet.labs.ptq.schemes import BIASES, CODEBOOK, EQUALIZED, POWERS, Scheme
from pithnet.tensor.observers import OBSERVERS

PLAIN = "min-max"  # the observer that others are held against


class Entrant(NamedTuple):
    """A scheme in a comparison, and the one it is held against."""

    scheme: Scheme
    rival: Scheme | None = None


def comparisons() -> dict[str, list[Entrant]]:
    """Item 3, a list for each question; a scheme may stand in several."""
    both = (True, False)
    return {
        "granularity": _pairs(
            [Scheme(w, a, symmetric=s) for w, a in _BITS for s in both], granularity="tensor"
        ),
        "symmetry": _pairs(
            [Scheme(w, a, g) for w, a in _BITS for g in ("channel", "tensor")], symmetric=False
        ),
        "observers": [
            Entrant(
                Scheme(8, bits, observer=name), Scheme(8, bits, observer=PLAIN) if name != PLAIN else None
            )
            for bits in (8, 4)
            for name in OBSERVERS
        ],
        "levels": _levels(),
        "mixed": [e for b in (4, 3) for e in _pairs([Scheme(b, fit="mse")], mixed=True)],
        "activations": [
            Entrant(Scheme(w, a), Scheme(w) if w and a else None)
            for w, a in ((8, None), (None, 8), (8, 8), (8, 4), (4, None), (4, 8), (4, 4))
        ],
        "repairs": [
            *_pairs([Scheme(4, granularity="tensor")], repair=EQUALIZED),
            *_pairs([Scheme(4)], repair=BIASES),
        ],
    }


_BITS = ((8, 8), (4, None))  # of weights and activations


def _pairs(plain: Sequence[Scheme], **change: Any) -> list[Entrant]:
    """Each scheme, and the same with one thing changed against it."""
    return [e for s in plain for e in (Entrant(s), Entrant(replace(s, **change), s))]


def _levels() -> list[Entrant]:
    """Levels of 4 bits: each kind against linear ones of least error in the same granularity."""
    tensor, channel = (Scheme(4, granularity=g, fit="mse") for g in ("tensor", "channel"))
    return [
        Entrant(Scheme(4, granularity="tensor")),
        Entrant(tensor, Scheme(4, granularity="tensor")),
        Entrant(replace(tensor, levels=CODEBOOK, fit="range"), tensor),
        Entrant(replace(tensor, levels=POWERS), tensor),
        Entrant(Scheme(4)),
        Entrant(channel, Scheme(4)),
        Entrant(replace(channel, levels=POWERS), channel),
    ]


def schemes() -> list[Scheme]:
    """Returns all schemes, each once, in the order of the comparisons."""
    found = [s for entrants in comparisons().values() for e in entrants for s in (e.scheme, e.rival) if s]
    return list(dict.fromkeys(found))
