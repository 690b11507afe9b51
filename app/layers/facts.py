"""What the layer tree shows beside the names, in one value per node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchvise.app.layers.tree import LayerTree, Mask, Values
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import tr
from benchvise.core.protocol.results import LayerCompressed, Planned, SensitivityCell
from benchvise.core.recipe.recipe import KEEP

EXACT_DB = 1e6
"""Stands for no error at all: a number that sorts above all others."""


@dataclass(frozen=True)
class LayerFacts:
    """[nodes] each; folders hold sums, and the greatest sensitivity of what is below them, or the worst result.

    bytes_after: NaN before there is a plan; kl, sqnr_db, output_error: NaN where nothing is measured.
    """

    parameters: Values
    bytes_before: Values
    bytes_after: Values
    kl: Values
    kl_greatest: float
    changed: Mask
    sqnr_db: Values
    output_error: Values

    def bits(self, node: int) -> float:
        """Bits per weight after, or as it is when there is no plan; NaN for empty tensors."""
        stored = self.bytes_after[node]
        if np.isnan(stored):
            stored = self.bytes_before[node]
        return float(8 * stored / self.parameters[node]) if self.parameters[node] else float("nan")

    def all_bits(self) -> Values:
        stored = np.where(np.isnan(self.bytes_after), self.bytes_before, self.bytes_after)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.parameters > 0, 8 * stored / self.parameters, np.nan)


def sizes_of(tree: LayerTree, layers: Sequence[Layer]) -> tuple[Values, Values]:
    """(parameters, bytes before) per node."""
    parameters = np.array([layer.parameters for layer in layers], np.float64)
    stored = np.array([layer.nbytes for layer in layers], np.float64)
    return tree.sums(parameters), tree.sums(stored)


def bytes_after_of(tree: LayerTree, plan: Planned | None) -> Values:
    if plan is None:
        return np.full(len(tree.labels), np.nan)
    return tree.sums(plan.bytes_after.astype(np.float64))


def kl_increases_by_layer(cells: Iterable[SensitivityCell]) -> dict[str, dict[str, float]]:
    """Layer → key of the treatment → KL."""
    known: dict[str, dict[str, float]] = {}
    for cell in cells:
        known.setdefault(cell.layer, {})[cell.key] = cell.kl
    return known


def kl_per_layer(
    layers: Sequence[Layer], known: Mapping[str, Mapping[str, float]], key_of: Callable[[int], str]
) -> Values:
    """[layers]: the KL increase of the treatment that a layer has where that is known, else the greatest known.

    A layer that is kept among others that are treated takes none; while nothing is treated, the greatest shows which
    layers are fragile. key_of: the key of a layer's treatment as the recipe names it, which is what was measured.
    """
    values = np.full(len(layers), np.nan)
    measured = [(index, known[layer.name]) for index, layer in enumerate(layers) if known.get(layer.name)]
    keys = [key_of(index) for index, _ in measured]
    decided = any(key not in ("", KEEP.key) for key in keys)
    for (index, by_key), key in zip(measured, keys, strict=True):
        spared = decided and key == KEEP.key
        values[index] = 0.0 if spared else by_key[key] if key in by_key else max(by_key.values())
    return values


def results_per_layer(layers: Sequence[Layer], results: Mapping[str, LayerCompressed]) -> tuple[Values, Values]:
    """(SQNR in dB, error at the output) per layer, NaN where a layer was not treated."""
    sqnr, error = np.full(len(layers), np.nan), np.full(len(layers), np.nan)
    for index, layer in enumerate(layers) if results else ():
        result = results.get(layer.name)
        if result is None or result.treatment == KEEP.tag:
            continue
        sqnr[index] = EXACT_DB if result.sqnr_db is None else result.sqnr_db
        if result.output_error is not None:
            error[index] = result.output_error
    return sqnr, error


def sqnr_text(sqnr_db: float) -> str:
    """ "23.1", "exact", "" where nothing is known."""
    if np.isnan(sqnr_db):
        return ""
    return tr("exact") if sqnr_db >= EXACT_DB else f"{sqnr_db:.1f}"
