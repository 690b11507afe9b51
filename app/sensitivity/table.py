"""Sensitivities as arrays, and how they are laid out in a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.app.state.sensitivity_results import ESTIMATED
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import Floats32, SensitivityCell
from benchvise.core.text import error_text, kl_text, number_text

MIN_KL = 1e-9
"""Below this a divergence is rounding; it is drawn as this so that its logarithm exists."""

METHOD_WORDS = {
    "enable_one": message("measured alone"),
    "disable_one": message("measured by sparing it"),
    ESTIMATED: "estimated",
}

Mask = NDArray[np.bool_]
Places = NDArray[np.int32]


@dataclass(frozen=True)
class SensitivityTable:
    """kl [treatments, layers], NaN where nothing is known yet; short labels for the axis beside the full names.

    treatments: tags for people; keys: what names the treatments.

    cells: the records behind it, in the same order; None where nothing is known.
    """

    layers: tuple[str, ...]
    labels: tuple[str, ...]
    treatments: tuple[str, ...]
    keys: tuple[str, ...]
    kl: Floats32
    cells: tuple[tuple[SensitivityCell | None, ...], ...]

    @property
    def known(self) -> int:
        return int((~np.isnan(self.kl)).sum())

    @property
    def estimated(self) -> Mask:
        """[treatments, layers]: what was not measured but estimated."""
        rows = [[cell is not None and cell.method == ESTIMATED for cell in row] for row in self.cells]
        return np.array(rows, bool).reshape(self.kl.shape)

    def logarithms(self) -> Floats32:
        """float32 [treatments, layers], decimal; NaN where nothing is known or the divergence is infinite."""
        finite = np.where(np.isfinite(self.kl), np.maximum(self.kl, MIN_KL), np.nan)
        logs: Floats32 = np.log10(finite).astype(np.float32)
        return logs


@dataclass(frozen=True)
class Board:
    """A map: which layer and which treatment of a table stand in each cell, int32 [rows, columns], -1 for none."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    layer: Places
    treatment: Places

    def numbers(self, values: Floats32) -> Floats32:
        """`values` [treatments, layers] as they stand in the map; NaN in empty cells."""
        found = np.full(self.layer.shape, np.nan, np.float32)
        there = self.layer >= 0
        found[there] = values[self.treatment[there], self.layer[there]]
        return found

    def mask(self, values: Mask) -> Mask:
        """The same of bool; empty cells are False."""
        found = np.zeros(self.layer.shape, bool)
        there = self.layer >= 0
        found[there] = values[self.treatment[there], self.layer[there]]
        return found


def table_of(
    cells: Mapping[tuple[str, str], SensitivityCell],
    layers: Sequence[tuple[str, str]],
    treatments: Sequence[tuple[str, str]],
) -> SensitivityTable:
    """The cells, by (layer, key), in the order of `layers` (name, label) and `treatments` (key, tag)."""
    found = tuple(tuple(cells.get((name, key)) for name, _ in layers) for key, _ in treatments)
    values = [[np.nan if cell is None else cell.kl for cell in row] for row in found]
    kl = np.array(values, np.float32).reshape(len(treatments), len(layers))
    return SensitivityTable(
        tuple(name for name, _ in layers),
        tuple(label for _, label in layers),
        tuple(tag for _, tag in treatments),
        tuple(key for key, _ in treatments),
        kl,
        found,
    )


def by_treatment(table: SensitivityTable) -> Board:
    """Treatments from top to bottom, layers from left to right."""
    places = np.indices(table.kl.shape).astype(np.int32)
    return Board(table.treatments, table.labels, places[1], places[0])


def by_role(table: SensitivityTable, treatment: str, place_of: Callable[[str], tuple[str, int | None]]) -> Board:
    """Roles from top to bottom, depths from left to right, for one treatment; layers outside of blocks stand last.

    treatment: its key.
    place_of: (role, depth) of a layer. Of several layers in one cell, as experts are, the most damaging is shown.
    """
    row_of_treatment = table.keys.index(treatment) if treatment in table.keys else 0
    places = [place_of(name) for name in table.layers]
    roles = tuple(dict.fromkeys(role for role, _ in places))
    depths = sorted({depth for _, depth in places if depth is not None})
    outside = any(depth is None for _, depth in places)
    columns = (*map(str, depths), *(("–",) if outside else ()))
    layer = np.full((len(roles), len(columns)), -1, np.int32)
    for index, (role, depth) in enumerate(places):
        row, column = roles.index(role), len(depths) if depth is None else depths.index(depth)
        present = layer[row, column]
        if present < 0 or _kl_increase(table, row_of_treatment, index) > _kl_increase(table, row_of_treatment, present):
            layer[row, column] = index
    return Board(roles, columns, layer, np.full_like(layer, row_of_treatment))


def cell_words(table: SensitivityTable, treatment: int, layer: int) -> str:
    """What is known of one cell: "int4 g128 KL 0.0031 measured alone, output error 0.012, SQNR 21.3 dB"."""
    cell, tag = table.cells[treatment][layer], table.treatments[treatment]
    if cell is None:
        return tr("{tag} not measured", tag=tag)
    estimated = "≈" if cell.method == ESTIMATED else ""
    said = [
        tr(
            "{tag} KL {estimated}{kl} {how}",
            tag=tag,
            estimated=estimated,
            kl=kl_text(cell.kl),
            how=tr(METHOD_WORDS.get(cell.method, cell.method)),
        )
    ]
    if cell.output_error is not None:
        said.append(tr("output error {output_error}", output_error=error_text(cell.output_error)))
    if cell.sqnr_db is not None:
        said.append(tr("SQNR {sqnr_db} dB", sqnr_db=number_text(cell.sqnr_db, 3)))
    return ", ".join(said)


def _kl_increase(table: SensitivityTable, treatment: int, layer: int) -> float:
    kl = float(table.kl[treatment, layer]) if table.kl.size else np.nan
    return -1.0 if np.isnan(kl) else kl
