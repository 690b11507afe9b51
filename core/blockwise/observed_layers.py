"""Which layers of a block can be observed at work, and what is to be learned about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from benchvise.core.activations.observers import Observer, observer_of
from benchvise.core.blockwise.experts import expert_hooks, refusal
from benchvise.core.blockwise.input_hooks import InputHook, unobservable
from benchvise.core.blockwise.statistics import Wanted
from benchvise.core.errors import RecipeError
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.runtime.experts import ExpertPlace, expert_place
from benchvise.core.runtime.replace import parameter_name

_KEPT_TOGETHER = "the architecture keeps its weight fused with others"


@dataclass(frozen=True)
class ObservedLayers:
    """The rows of a block (or of the ends) as calibration sees them.

    hooks:   where the inputs of the layers that have something to learn can be seen, in no order yet.
    wanted: what is to be learned there.
    unobservable: by a layer's name, why its inputs cannot be seen although its treatment asks for them.
    """

    hooks: tuple[InputHook, ...]
    wanted: Wanted
    unobservable: dict[str, str]


def observed_layers(
    model: nn.Module, rows: Sequence[PlanRow], *, compared: bool = False, inside: Callable[[str], str] = str
) -> ObservedLayers:
    """For the rows of a block of the model, or of the whole.

    inside: from a name in the model to the name within what will be run.
    compared: whether the original's inputs can be laid beside the compressed ones.
    Raises RecipeError for a layer whose inputs are to get a fixed scale but cannot be seen.
    """
    hooks: dict[str, InputHook] = {}
    experts: dict[str, dict[str, ExpertPlace]] = {}
    reasons: dict[str, str] = {}
    for row in (row for row in rows if row.treatment.needs_calibration):
        name = row.layer.name
        place = expert_place(model, row.layer)
        path, reason = _module(model, row)
        if place is not None:
            reason = refusal(model.get_submodule(place.module))
            if not reason:
                experts.setdefault(place.module, {})[name] = place
                continue
        if reason and _observer(row) is not None:
            raise RecipeError(
                f"The inputs of '{name}' cannot get a fixed scale: {reason}",
                where=name,
                remedy="Add it to the rule's 'ignore', or choose dynamic scales.",
            )
        if reason:
            reasons[name] = reason
        else:
            path = inside(path)
            known = hooks.get(path)
            hooks[path] = InputHook(path, (*known.names, name) if known is not None else (name,))
    mixtures = [
        hook
        for path, places in experts.items()
        for hook in expert_hooks(model.get_submodule(path), inside(path), places)
    ]
    return ObservedLayers((*hooks.values(), *mixtures), _wanted(rows, reasons, compared=compared), reasons)


def _module(model: nn.Module, row: PlanRow) -> tuple[str, str]:
    """The path of the module that the layer's inputs enter; or why they cannot be seen."""
    name = parameter_name(model, row.layer)
    if name is None or not name.endswith(".weight"):
        return "", _KEPT_TOGETHER
    path = name.removesuffix(".weight")
    return path, unobservable(model.get_submodule(path), row.layer.matrix_shape[1])


def _wanted(rows: Sequence[PlanRow], reasons: dict[str, str], *, compared: bool) -> Wanted:
    seen = [row for row in rows if row.layer.name not in reasons]
    needs = {row.layer.name: row.treatment.solver.needs(row.treatment.scheme) for row in seen}
    cross = (row.layer.name for row in seen if compared and row.treatment.solver.compares)
    observers = {row.layer.name: observer for row in seen if (observer := _observer(row)) is not None}
    return Wanted(frozenset(name for name, need in needs.items() if need != "weights"), frozenset(cross), observers)


def _observer(row: PlanRow) -> Observer | None:
    settings = row.treatment.activations
    return observer_of(settings) if settings is not None and settings.needs_calibration else None
