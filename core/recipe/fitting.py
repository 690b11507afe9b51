"""A treatment as it can be carried out on one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from benchvise.core.checkpoint.records import Layer
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Treatment

InputObstacle = Literal["kept", "embedding", "not linear", "expert", "router", "no architecture"]
"""Why the inputs of a layer cannot be quantised."""

_EXPERT = "mlp.expert."
"""How the roles of an expert's matrices begin; models compute those of a block in one piece."""


def fitted(treatment: Treatment, layer: Layer, *, runs: bool = True) -> tuple[Treatment, tuple[PlanWarning, ...]]:
    """The treatment as it fits `layer`, and every difference from what was asked, without the layer's name.

    runs: whether the checkpoint names an architecture, so that its layers can be observed. Raises RecipeError when
    the scheme cannot be carried out, naming the layer and a remedy.
    """
    scheme, notes = treatment.scheme.fitted(layer)
    cause = "groups" if treatment.scheme.regrouped(scheme) else ""
    plan_warnings = tuple(PlanWarning("fitted", cause=cause, got=note) for note in notes)
    found = treatment if scheme is treatment.scheme else replace(treatment, scheme=scheme)
    obstacle = _input_obstacle(found, layer, runs=runs)
    if obstacle is None:
        return found, plan_warnings
    return replace(found, activations=None), (*plan_warnings, PlanWarning("inputs", cause=obstacle))


def is_routed_expert(layer: Layer) -> bool:
    """Whether the layer belongs to one of the experts that a router chooses from."""
    return layer.role.startswith(_EXPERT)


def _input_obstacle(treatment: Treatment, layer: Layer, *, runs: bool) -> InputObstacle | None:
    """None when the inputs of the layer can be quantised, or nothing asks for that."""
    if treatment.activations is None:
        return None
    if treatment.keeps:
        return "kept"
    if layer.kind == "embedding":
        return "embedding"
    if layer.kind != "linear" or len(layer.shape) != 2:
        return "not linear"
    if is_routed_expert(layer):
        return "expert"
    if layer.role == "mlp.router":
        return "router"
    return "no architecture" if treatment.activations.needs_calibration and not runs else None
