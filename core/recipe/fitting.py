"""A treatment as it can be carried out on one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Treatment

InputObstacle = Literal["kept", "embedding", "not linear", "expert", "router", "no architecture"]
"""Why the inputs of a layer cannot be quantised."""


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


def treatment_name(asked: Treatment, found: Treatment) -> str:
    """What a treatment is called wherever it is planned: as it fits, and what was asked instead.

    "int4 g64 asym (g128 asked)".
    """
    if found.tag == asked.tag:
        return found.tag
    words = found.tag.split()
    changed = " ".join(word for word in asked.tag.split() if word not in words)
    return f"{found.tag} ({changed or asked.tag} asked)"


def name_on(asked: Treatment, layer: Layer, *, runs: bool = True) -> str:
    """The treatment's name on a layer; its own tag where it cannot be carried out there."""
    try:
        return treatment_name(asked, fitted(asked, layer, runs=runs)[0])
    except RecipeError:
        return asked.tag


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
    if layer.routed_expert:
        return "expert"
    if layer.role == "mlp.router":
        return "router"
    return "no architecture" if treatment.activations.needs_calibration and not runs else None
