"""Which layer is to be measured under which treatment, and every plan warning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.layer_matcher import matching
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.sensitivity.treated import solved_alone
from benchvise.core.wording import about_layers, reason


@dataclass(frozen=True)
class Task:
    """One cell to measure: `fitted` is `treatment` as it can be carried out on the layer."""

    layer: Layer
    treatment: Treatment
    fitted: Treatment


def chosen_layers(checkpoint: Checkpoint, names: Sequence[str]) -> tuple[Layer, ...]:
    """The named layers, or what `linears` names. Raises CheckpointError for unknown names."""
    if names:
        return tuple(checkpoint.layer(name) for name in names)
    found, _ = matching(("linears",), checkpoint.layers)
    layers = tuple(checkpoint.layers[index] for index in sorted(found) if checkpoint.layers[index].compressible)
    if not layers:
        raise CheckpointError(
            "There is no linear layer whose sensitivity could be measured",
            where=checkpoint.path,
            remedy="Name the layers to measure; `benchvise inspect` lists them.",
        )
    return layers


def tasks_of(layers: Sequence[Layer], treatments: Sequence[Treatment]) -> tuple[list[Task], list[str]]:
    """The cells to measure, and every plan warning, as sentences.

    Raises RecipeError when no treatment fits any layer, or there is none.
    """
    tasks: list[Task] = []
    refusal: RecipeError | None = None
    findings = _Findings()
    if not treatments:
        raise RecipeError(
            "No treatment is given whose KL increase could be measured",
            where="candidates",
            remedy="Name at least one, for example 'int4 g128'.",
        )
    for layer in layers:
        for treatment in treatments:
            try:
                fit, plan_warnings = fitted(treatment, layer)
            except RecipeError as error:
                refusal = refusal or error
                findings.add("not measured with {}, which does not fit", treatment, layer)
                continue
            notes = tuple(map(reason, plan_warnings))
            if fit.scheme.shared:
                notes = (*notes, "counted over the layer alone")
            if fit.activations is not None and fit.activations.needs_calibration:
                notes = (*notes, "the fixed scale of its inputs was found on the text it is measured on")
            for note in (*notes, *solved_alone(fit)[1]):
                findings.add("measured with {}: " + note, treatment, layer)
            tasks.append(Task(layer, treatment, fit))
    if not tasks and refusal is not None:
        raise refusal
    return tasks, findings.sentences()


class _Findings:
    """What was found of which treatments on which layers; treatments of the same layers share a sentence."""

    def __init__(self) -> None:
        self._layers: dict[str, dict[str, list[str]]] = {}

    def add(self, finding: str, treatment: Treatment, layer: Layer) -> None:
        """finding: with {} for the treatments."""
        self._layers.setdefault(finding, {}).setdefault(treatment.tag, []).append(layer.name)

    def sentences(self) -> list[str]:
        found = []
        for finding, layers in self._layers.items():
            tags: dict[tuple[str, ...], list[str]] = {}
            for tag, names in layers.items():
                tags.setdefault(tuple(names), []).append(tag)
            for where, together in tags.items():
                words = together[0] if len(together) == 1 else f"{', '.join(together[:-1])} and {together[-1]}"
                found.append(about_layers(finding.format(words), list(where)))
        return found
