"""What is to be allocated, before any budget: layers, options, locks, and the ladder of bargains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchvise.core.allocate.fused import fused_groups
from benchvise.core.allocate.hull import Ladder, ladder
from benchvise.core.allocate.prediction import Prediction, fit, joint_effects_of
from benchvise.core.allocate.problem import Choice, ChoiceProblem, Floats, joined
from benchvise.core.allocate.table import Table, candidates, known_kl_increase
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.protocol.budget import LATENCY
from benchvise.core.protocol.requests import Allocate
from benchvise.core.protocol.results import LayerCosts
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.surgery.derived import Operated
from benchvise.core.wording import about_layers
from benchvise.core.workspace.layer_costs import load_layer_costs
from benchvise.core.workspace.sensitivities import SensitivityFile, load_sensitivities
from benchvise.core.workspace.workspace import Workspace


@dataclass(frozen=True)
class Prepared:
    """layers × options: what is known, and what may be chosen.

    kl_increase, nbytes: float64 [layers, options], infinite where an option is not allowed. place: of each layer
    the item of the joined problem. costs: of all linear layers, when the budget is a time. notes: as sentences.
    """

    table: Table
    kl_increase: Floats
    nbytes: Floats
    place: NDArray[np.int64]
    prediction: Prediction
    locked: frozenset[str]
    fused: bool
    notes: tuple[str, ...]
    costs: LayerCosts | None = None

    @cached_property
    def milliseconds(self) -> Floats:
        """Of a decoding step, float64 [layers, options], infinite where an option is not allowed.

        Raises ValueError when the request asks for no times.
        """
        if self.costs is None:
            raise ValueError("The request asks for no times")
        found = _times(self.table, self.costs)
        return np.where(np.isfinite(self.kl_increase), found, np.inf)

    @cached_property
    def by_bytes(self) -> Ladder:
        return self._ladder(self.nbytes)

    @cached_property
    def by_time(self) -> Ladder:
        return self._ladder(self.milliseconds)

    def _ladder(self, cost: Floats) -> Ladder:
        return ladder(_joined_by(ChoiceProblem(self.kl_increase, cost), self.place))

    def spread_out(self, choice: Choice) -> Choice:
        """Options of layers from those of items."""
        return choice[self.place]


def prepare(request: Allocate, operated: Operated) -> Prepared:
    """Layers that surgery drops take no part: neither as measured nor as locked ones.

    Raises RecipeError for no candidates, locks that contradict each other or name no layer, and layers without any
    option; UserError when nothing was measured; CheckpointError for unknown layers.
    """
    kl_increases = load_sensitivities(Workspace(request.workspace).sensitivity_file(request.sensitivity))
    dropped, checkpoint = {layer.name for layer in operated.dropped}, operated.named_as_source
    names = [name for name in request.layers or kl_increases.layers if name not in dropped]
    layers = tuple(_layer(checkpoint, name) for name in names)
    locks = {name: treatment for name, treatment in request.locked if name not in dropped}
    _refuse_unknown_locks(locks, names, checkpoint)
    if not request.candidates and len(locks) < len(layers):
        raise RecipeError(
            "There is no candidate to choose from", where="candidates", remedy="Allow at least one treatment."
        )
    treatments = tuple(dict.fromkeys((KEEP, *request.candidates, *locks.values())))
    table = candidates(layers, treatments)
    kl_increase, estimated = known_kl_increase(kl_increases, table)
    notes = _notes(table, kl_increase, estimated, locks)
    allowed = _allowed(table, kl_increase, locks, request)
    kl_increase = np.where(allowed, np.nan_to_num(kl_increase, nan=0.0), np.inf)
    nbytes = np.where(allowed, table.nbytes, np.inf)
    groups = fused_groups(layers) if request.fused else ()
    _refuse_contradictions(layers, allowed, groups, locks, treatments)
    _, place = joined(ChoiceProblem(kl_increase, nbytes), groups)
    costs = load_layer_costs(request.workspace, request.costs) if request.budget.kind == LATENCY else None
    return Prepared(
        table,
        kl_increase,
        nbytes,
        place,
        _prediction(kl_increases),
        frozenset(locks),
        bool(groups),
        tuple(notes),
        costs,
    )


def _prediction(kl_increases: SensitivityFile) -> Prediction:
    return fit(joint_effects_of(kl_increases, kl_increases.joint_effects()))


def _layer(checkpoint: Checkpoint, name: str) -> Layer:
    try:
        return checkpoint.layer(name)
    except CheckpointError as error:
        raise CheckpointError(
            f"The measured layer '{name}' is not in the checkpoint",
            where=checkpoint.path,
            remedy="Measure the sensitivity of this checkpoint.",
        ) from error


def _allowed(table: Table, kl_increase: Floats, locks: Mapping[str, Treatment], request: Allocate) -> NDArray[np.bool_]:
    asked = {KEEP, *request.candidates}
    offered = np.array([treatment in asked for treatment in table.treatments])
    allowed: NDArray[np.bool_] = np.isfinite(kl_increase) & np.isfinite(table.nbytes) & offered
    for index, layer in enumerate(table.layers):
        if layer.name in locks:
            option = table.treatments.index(locks[layer.name])
            allowed[index] = False
            allowed[index, option] = np.isfinite(table.nbytes[index, option])
        if not allowed[index].any():
            raise RecipeError(
                f"'{locks[layer.name].tag}' cannot be carried out on the layer",
                where=layer.name,
                remedy="Unlock it, or lock it to a treatment that fits.",
            )
    return allowed


def _notes(table: Table, kl_increase: Floats, estimated: Floats, locks: Mapping[str, Treatment]) -> list[str]:
    findings: dict[str, list[str]] = {}
    for i, layer in enumerate(table.layers):
        for j, treatment in enumerate(table.treatments):
            if layer.name in locks:
                if treatment == locks[layer.name] and np.isnan(kl_increase[i, j]):
                    findings.setdefault(
                        f"locked to {treatment.tag}, whose KL increase is not known and not counted", []
                    ).append(layer.name)
            elif table.fitted[i][j] is None:
                findings.setdefault(f"{treatment.tag} does not fit", []).append(layer.name)
            elif np.isnan(kl_increase[i, j]):
                findings.setdefault(f"{treatment.tag} was not measured and is not chosen", []).append(layer.name)
            elif np.isinf(kl_increase[i, j]):
                findings.setdefault(f"{treatment.tag} breaks the model and is not chosen", []).append(layer.name)
    notes = [about_layers(finding, names) for finding, names in findings.items()]
    if estimated.any():
        notes.append(
            f"{int(estimated.sum())} of {kl_increase.size} KL increases are estimated from gradients, not measured"
        )
    return notes


def _refuse_unknown_locks(locks: Mapping[str, Treatment], names: Sequence[str], checkpoint: Checkpoint) -> None:
    unknown = [name for name in locks if name not in set(names)]
    for name in unknown:
        checkpoint.layer(name)  # raises with the nearest name
    if unknown:
        raise RecipeError(
            f"'{unknown[0]}' is locked, but it is not among the layers that are allocated",
            where=unknown[0],
            remedy="Unlock it: the recipe decides what it gets.",
        )


def _refuse_contradictions(
    layers: Sequence[Layer],
    allowed: NDArray[np.bool_],
    groups: Sequence[Sequence[int]],
    locks: Mapping[str, Treatment],
    treatments: Sequence[Treatment],
) -> None:
    for group in groups:
        if allowed[list(group)].all(axis=0).any():
            continue
        said = ", ".join(
            f"'{layers[index].name}' is locked to {locks[layers[index].name].tag}"
            if layers[index].name in locks
            else f"'{layers[index].name}' may have {_some(allowed[index], treatments)}"
            for index in group
        )
        raise RecipeError(
            f"Layers that are computed in one piece need the same treatment, and cannot have it: {said}",
            where=layers[group[0]].name,
            remedy="Lock them to the same treatment, unlock them, or do without the same treatment for fused layers.",
        )


def _some(allowed: NDArray[np.bool_], treatments: Sequence[Treatment]) -> str:
    tags = [treatment.tag for treatment, may in zip(treatments, allowed, strict=True) if may]
    return " or ".join(tags[:3]) + (" or others" if len(tags) > 3 else "")


def _times(table: Table, costs: LayerCosts) -> Floats:
    rows = {name: index for index, name in enumerate(costs.layers)}
    columns = {key: index for index, key in enumerate(costs.keys)}
    found = np.full(table.nbytes.shape, np.inf)
    for i, layer in enumerate(table.layers):
        for j, treatment in enumerate(table.treatments):
            if layer.name in rows and treatment.key in columns:
                found[i, j] = costs.milliseconds[rows[layer.name], columns[treatment.key]]
            elif layer.name not in rows:
                found[i, j] = 0.0
    return found


def _joined_by(problem: ChoiceProblem, place: NDArray[np.int64]) -> ChoiceProblem:
    groups = [np.flatnonzero(place == item).tolist() for item in range(int(place.max(initial=-1)) + 1)]
    return joined(problem, [group for group in groups if len(group) > 1])[0]
