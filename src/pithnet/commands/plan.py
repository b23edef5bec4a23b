"""What a recipe would do to a network, from settings; nothing is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pithnet import zoo
from pithnet.artifact import own_architecture
from pithnet.commands.examples import parse_example
from pithnet.commands.inputs import load_images, load_network
from pithnet.commands.loaders import own_loaders
from pithnet.commands.models import check_architecture, load_checkpoint
from pithnet.commands.recipes import asked_recipe
from pithnet.commands.settings import DataSettings, PlanSettings
from pithnet.passes import Given
from pithnet.run.plan import Plan, make_plan
from pithnet.run.progress import Quiet
from pithnet.surgery import costs


def plan(data: DataSettings, settings: PlanSettings, *, report: Quiet | None = None) -> Plan:
    """Plans a recipe for a network.

    The multiply-accumulates are those of one input: of --example, else of the data where some is named, else
    of an image of the size that a zoo architecture is made for.

    Args:
        data: The data set, read only where one is named.
        settings: Which network and recipe.
        report: Shows a download; nothing where None.

    Returns:
        The plan; without multiply-accumulates for a network of the user's own of which no input is known.

    Raises:
        PithError: The network, the recipe or the data cannot be used, or the network does not take --example.
    """
    recipe = asked_recipe(settings)
    name = check_architecture(settings.model)
    torch.manual_seed(recipe.seed)
    model, example = _network(name, data, settings, report or Quiet())
    if settings.example is not None:
        example = parse_example(settings.example)
    found = make_plan(model, recipe, Given(seed=recipe.seed, example=example))
    if settings.example is not None and found.macs is None:
        costs(model, example)  # says why they could not be counted
    return found


def _network(name: str, data: DataSettings, settings: PlanSettings, report: Quiet) -> tuple[nn.Module, Any]:
    """The network, and an input of it where one is known."""
    if data.own:
        return load_checkpoint(name, settings.weights), own_loaders(data).example()
    if data.data is not None:
        images = load_images(data, train=False, progress=report.download)
        shape = images.test.images.shape[1:]
        return load_network(name, images, settings.weights), torch.zeros(1, *shape)
    model = load_checkpoint(name, settings.weights)
    known = own_architecture(model)
    return model, None if known is None else torch.zeros(1, *zoo.input_shape(known[0]))
