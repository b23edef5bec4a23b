"""pithnet makes trained neural networks small, and proves it. Names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pithnet.errors import ArtifactError, DataError, ModelError, PithError, PithWarning, RecipeError

if TYPE_CHECKING:
    from pithnet import (
        artifact,
        coding,
        data,
        deploy,
        learn,
        passes,
        policies,
        recipe,
        report,
        solvers,
        surgery,
        tensor,
        zoo,
    )
    from pithnet.api import CompressionResult, compress, inspect, plan, save
    from pithnet.artifact import Inspection, Metadata, decode, encode, load, save_state
    from pithnet.deploy import Int8Export, export_int8
    from pithnet.learn import evaluate
    from pithnet.passes import (
        ChannelSparsity,
        GradualPruning,
        LevelTraining,
        PricedLevels,
        Regularization,
        ShrinkPlan,
        freeze_levels,
        plan_shrink,
        prune,
        prune_by_std,
        quantize,
        quantize_without_labels,
        regularize,
        share,
        shrink,
    )
    from pithnet.recipe import Recipe, load_recipe
    from pithnet.surgery import Cost, Costs, Storage, costs, finalize, restore

_ROOMS = (
    "artifact",
    "coding",
    "data",
    "deploy",
    "learn",
    "passes",
    "policies",
    "recipe",
    "report",
    "solvers",
    "surgery",
    "tensor",
    "zoo",
)
_HOMES = {
    "api": ("CompressionResult", "compress", "inspect", "plan", "save"),
    "artifact": ("Inspection", "Metadata", "decode", "encode", "load", "save_state"),
    "deploy": ("Int8Export", "export_int8"),
    "learn": ("evaluate",),
    "passes": (
        "ChannelSparsity",
        "GradualPruning",
        "LevelTraining",
        "PricedLevels",
        "Regularization",
        "freeze_levels",
        "prune",
        "prune_by_std",
        "quantize",
        "quantize_without_labels",
        "ShrinkPlan",
        "plan_shrink",
        "regularize",
        "share",
        "shrink",
    ),
    "recipe": ("Recipe", "load_recipe"),
    "surgery": ("Cost", "Costs", "Storage", "costs", "finalize", "restore"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArtifactError",
    "ChannelSparsity",
    "CompressionResult",
    "Cost",
    "Costs",
    "DataError",
    "GradualPruning",
    "Inspection",
    "Int8Export",
    "LevelTraining",
    "Metadata",
    "ModelError",
    "PithError",
    "PithWarning",
    "PricedLevels",
    "Recipe",
    "RecipeError",
    "Regularization",
    "ShrinkPlan",
    "Storage",
    "artifact",
    "coding",
    "compress",
    "costs",
    "data",
    "decode",
    "deploy",
    "encode",
    "evaluate",
    "export_int8",
    "finalize",
    "freeze_levels",
    "inspect",
    "learn",
    "load",
    "load_recipe",
    "passes",
    "plan",
    "plan_shrink",
    "policies",
    "prune",
    "prune_by_std",
    "quantize",
    "quantize_without_labels",
    "recipe",
    "regularize",
    "report",
    "restore",
    "save",
    "save_state",
    "share",
    "shrink",
    "solvers",
    "surgery",
    "tensor",
    "zoo",
]


def __getattr__(name: str) -> Any:
    """Imports the name's room (PEP 562): `pithnet --help` must not wait for torch."""
    if name in _ROOMS:
        return import_module(f"pithnet.{name}")
    if name in _HOME_OF:
        value = getattr(import_module(f"pithnet.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"pithnet has no {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
