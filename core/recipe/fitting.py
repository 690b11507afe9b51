"""A treatment as it can be carried out on one layer."""

from __future__ import annotations

from dataclasses import replace

from benchvise.core.checkpoint.records import Layer
from benchvise.core.recipe.recipe import Treatment


def fitted(treatment: Treatment, layer: Layer, *, runs: bool = True) -> tuple[Treatment, tuple[str, ...]]:
    """The treatment as it fits `layer`, and every departure from what was asked, as phrases.

    runs: whether the checkpoint names an architecture, so that its layers can be seen at work. Raises RecipeError when
    the scheme cannot be carried out, naming the layer and a remedy.
    """
    scheme, plan_warnings = treatment.scheme.fitted(layer)
    found = treatment if scheme is treatment.scheme else replace(treatment, scheme=scheme)
    if found.activations is None:
        return found, plan_warnings
    obstacle = _inputs_stay(found, layer, runs=runs)
    if not obstacle:
        return found, plan_warnings
    return replace(found, activations=None), (*plan_warnings, f"inputs are not quantised: {obstacle}")


def _inputs_stay(treatment: Treatment, layer: Layer, *, runs: bool) -> str:
    """Why the inputs of the layer cannot be quantised, "" when they can."""
    if treatment.keeps:
        return "layers that are kept compute with inputs as they are"
    if layer.kind == "embedding":
        return "an embedding is looked up, not multiplied"
    if layer.kind != "linear" or len(layer.shape) != 2:
        return "it is no linear layer"
    if ".experts." in layer.name:
        return "models compute all experts of a block in one piece, with no layer for each"
    if layer.role == "mlp.router":
        return "routers choose experts by them"
    if treatment.activations is not None and treatment.activations.needs_calibration and not runs:
        return "fixed scales come from calibration text, and no config.json says how the network computes"
    return ""
