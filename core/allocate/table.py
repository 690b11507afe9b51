"""Layers × candidates: what each would weigh, and what is known of its damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.allocate.problem import Floats
from core.checkpoint.records import Layer
from core.errors import RecipeError
from core.recipe.fitting import fitted
from core.recipe.recipe import Treatment
from core.workspace.damages import FISHER, METHODS, Damages


@dataclass(frozen=True)
class Table:
    """fitted[i][j]: treatment j as it can be carried out on layer i, None where it cannot.

    nbytes: float64 [layers, treatments], infinite where there is none.
    """

    layers: tuple[Layer, ...]
    treatments: tuple[Treatment, ...]
    fitted: tuple[tuple[Treatment | None, ...], ...]
    nbytes: Floats


def candidates(layers: Sequence[Layer], treatments: Sequence[Treatment]) -> Table:
    """Every treatment tried on every layer; one that does not fit a layer is no candidate for it."""
    found = tuple(tuple(_fitted(treatment, layer) for treatment in treatments) for layer in layers)
    nbytes = np.array(
        [
            [np.inf if fit is None else _bytes(fit, layer) for fit in row]
            for layer, row in zip(layers, found, strict=True)
        ],
        np.float64,
    ).reshape(len(layers), len(treatments))
    return Table(tuple(layers), tuple(treatments), found, nbytes)


def known_damage(damages: Damages, table: Table) -> tuple[Floats, Floats]:
    """(KL, share that is foretold and not measured) [layers, treatments]; KL is NaN where nothing is known.

    What is kept does no damage. Foretold damages are brought to the level of the measured ones by the median of their
    ratio, where both are known.
    """
    known = {method: _by_method(damages, table, method) for method in METHODS}
    found, foretold = np.full(table.nbytes.shape, np.nan), np.zeros(table.nbytes.shape)
    for method, values in known.items():
        if method == FISHER:
            values = values * _level(values, found)  # noqa: PLW2901
            foretold = (np.isnan(found) & ~np.isnan(values)).astype(np.float64)
        found = np.where(np.isnan(found), values, found)
    kept = [[fit is not None and fit.keeps for fit in row] for row in table.fitted]
    return np.where(np.array(kept, bool).reshape(found.shape), 0.0, found), foretold


def _by_method(damages: Damages, table: Table, method: str) -> Floats:
    known = np.full(table.nbytes.shape, np.nan)
    for i, (layer, row) in enumerate(zip(table.layers, table.fitted, strict=True)):
        for j, fit in enumerate(row):
            damage = damages.latest(layer.name, fit, method) if fit is not None else None
            if damage is not None:
                known[i, j] = damage.kl
    return known


def _level(foretold: Floats, measured: Floats) -> float:
    both = (foretold > 0) & (measured > 0) & np.isfinite(foretold) & np.isfinite(measured)
    return float(np.exp(np.median(np.log(measured[both] / foretold[both])))) if both.any() else 1.0


def _fitted(treatment: Treatment, layer: Layer) -> Treatment | None:
    try:
        return fitted(treatment, layer)[0]
    except RecipeError:
        return None


def _bytes(treatment: Treatment, layer: Layer) -> int:
    return layer.nbytes if treatment.keeps else treatment.bytes_after(layer)
