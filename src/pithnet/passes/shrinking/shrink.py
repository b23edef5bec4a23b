"""`plan_shrink` and `shrink`: channels of any network removed until a budget is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pithnet.errors import RecipeError
from pithnet.learn import Loss
from pithnet.passes.file_size import Weigh, file_bytes
from pithnet.passes.shrinking.budgets import Asked
from pithnet.passes.shrinking.candidates import plan_within
from pithnet.passes.shrinking.choices import Rules
from pithnet.passes.shrinking.plan import ShrinkPlan
from pithnet.passes.shrinking.ranking import Ranking


def plan_shrink(
    model: nn.Module,
    example: Any,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    bytes: float | None = None,
    rates: Mapping[str, float] | None = None,
    criterion: str = "l1",
    aggregation: str = "mean",
    consumers: bool = False,
    scope: str = "global",
    round_to: int = 8,
    floor: float = 0.1,
    skip: Sequence[str] = (),
    seed: int = 0,
    batches: Any = None,
    loss: Loss | None = None,
    weigh: Weigh = file_bytes,
) -> ShrinkPlan:
    """Chooses channels of a network that go, so that it keeps a budget; the network is left alone.

    One of `macs`, `parameters`, `bytes` and `rates` is given. Channels that have to go together, as those
    that a shortcut adds up, are one: they are ranked by all their filters. What goes through an operation of
    which it is not known where channels go stays, and the plan says why. A group of channels no wider than
    `round_to` stays whole.

    Args:
        model: A network that torch.fx can follow.
        example: Inputs: a tensor (B, ...) for model(x), a tuple for model(*x), a dict for model(**x).
        macs: The multiply-accumulates that the network may have for the example: a share of those it has, up
            to 1, or a whole number above 1.
        parameters: The numbers that its parameters may have, in the same way.
        bytes: The bytes that its file may take, in the same way; `weigh` says which file.
        rates: The share of its outputs that a layer keeps, by name; all other layers keep theirs.
        criterion: The score that ranks channels, the lowest go: "l1" and "l2", norms of the filters over the
            number of their weights; "lamp", their squares over those in the group that are not smaller;
            "fpgm", the mean distance to the group's other filters; "slimming", |gamma| of the norms, where
            groups without one stay whole; "taylor", the change of the loss without the channel; "random".
        aggregation: How the filters that are one channel, in layers that are added up, make one score: the
            "mean" over all their weights, the "sum" over them, or the mean of the layer where it is largest
            ("max") or of the "first" one.
        consumers: Whether the weights that read a channel count beside its filters, as in DepGraph (Fang et
            al. 2023). Of "slimming" nothing changes.
        scope: "global" ranks all channels together; "uniform" keeps the same share of each group.
        round_to: A width is the original one or a multiple of this.
        floor: The least share of its outputs that a layer keeps. It keeps `round_to` at least.
        skip: Patterns (`pithnet.patterns`) of layers that keep all their outputs.
        seed: Of the criterion's random numbers.
        batches: A loader of (inputs, labels), or of whatever else `pithnet.learn.read_batch` reads, for the
            criterion "taylor"; no other reads it. A list of a few batches does.
        loss: `(outputs, targets) -> scalar`, whose gradient that criterion takes; the cross-entropy where
            None.
        weigh: Gives the bytes of a network; it is called about ten times where `bytes` is given. The default
            writes the file of `pn.save(pn.finalize(model))`.

    Returns:
        The plan. Its costs are never above the budget. With scope "global" no step from one width to the next
        that was taken could be left out; "uniform" keeps the largest share that the budget allows.

    Raises:
        RecipeError: The budget makes no sense or cannot be kept, a layer, criterion, aggregation or scope is
            unknown, or the criterion needs batches and there are none.
        DataError: The batches lack the labels that the criterion needs.
        ModelError: The forward cannot be followed, no layer can lose channels, or one holds NaN, or is under
            a parametrization that cannot lose channels.
    """
    asked = Asked(scope, {"macs": macs, "parameters": parameters, "bytes": bytes, "rates": rates})
    ranking = Ranking(criterion, aggregation, consumers, seed, batches, loss)
    if isinstance(skip, str):
        raise RecipeError(f"skip is a list of patterns; write skip=[{skip!r}]")
    rules = Rules(round_to, floor, tuple(skip))
    return plan_within(model, example, asked, ranking, rules, weigh)


def shrink(model: nn.Module, example: Any, **settings: Any) -> nn.Module:
    """Returns a copy of a network without the channels that `plan_shrink` chooses.

    Args:
        model: A network that torch.fx can follow; it is left alone.
        example: Inputs, as `plan_shrink` takes them.
        **settings: The budget and all else that `plan_shrink` takes.

    Raises:
        RecipeError: The budget makes no sense or cannot be kept, as `plan_shrink` says.
        ModelError: The network cannot be cut, as `plan_shrink` and `ShrinkPlan.cut` say.
    """
    return plan_shrink(model, example, **settings).cut()
