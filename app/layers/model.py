"""The layer tree as a Qt item model: lazy rows, own filter and sorting, uniform and quick with 100,000 layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from benchvise.app.layers import columns
from benchvise.app.layers.columns import COLUMNS, NodeView
from benchvise.app.layers.facts import LayerFacts, bytes_after_of, kl_per_layer, results_per_layer, sizes_of
from benchvise.app.layers.tree import ROOT, LayerTree, Mask, Values, build_tree
from benchvise.app.state.layer_filter import LayerFilter
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import tr
from benchvise.core.protocol.results import LayerCompressed, Planned

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()
BAR_ROLE = int(Qt.ItemDataRole.UserRole) + 1
"""Length of the sensitivity bar, 0 to 1, or None."""
CHANGED_ROLE = BAR_ROLE + 1
"""True when the treatment differs from the last run's."""
FOLDER_ROLE = BAR_ROLE + 2
LOCKED_ROLE = BAR_ROLE + 3
"""True for a layer whose treatment no budget changes, and for a folder of nothing but such layers."""


@dataclass(frozen=True)
class PreparedLayers:
    """Everything about a checkpoint's layers that takes time to make; may be made on another thread."""

    layers: tuple[Layer, ...]
    tree: LayerTree
    filter: LayerFilter
    facts: LayerFacts


def prepare(layers: tuple[Layer, ...]) -> PreparedLayers:
    tree = build_tree(layers)
    parameters, stored = sizes_of(tree, layers)
    unknown = np.full(len(tree.labels), np.nan)
    facts = LayerFacts(parameters, stored, unknown, unknown, 0.0, np.zeros(len(tree.labels), bool), unknown, unknown)
    return PreparedLayers(layers, tree, LayerFilter(layers), facts)


class LayerModel(QAbstractItemModel):
    """Rows are nodes of the layer tree; a node's children are found, filtered and sorted when they are first asked.

    repainted: the cells of all rows, at every depth, may have changed. `dataChanged` names the top rows only, because
    a view looks every index up that it is given, and there may be thousands of open folders.
    """

    repainted = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.compact = False
        self._show(prepare(()))

    def set_layers(self, prepared: PreparedLayers) -> None:
        """Show other layers, without a filter."""
        self.beginResetModel()
        self._show(prepared)
        self.endResetModel()

    def _show(self, prepared: PreparedLayers) -> None:
        self.layers, self.tree, self._filter = prepared.layers, prepared.tree, prepared.filter
        self.facts = prepared.facts
        self._plan: Planned | None = None
        self._kl_increases: Mapping[str, Mapping[str, float]] = {}
        self._asked_key: Callable[[int], str] = self.key_of
        self._visible: Mask | None = None
        self._locked = np.zeros(len(prepared.tree.labels), bool)
        self.visible_layers = len(prepared.layers)
        self._sorted_by, self._descending = -1, False
        self._forget_rows()

    def set_plan(self, plan: Planned | None, changed: Mask | None) -> None:
        """Show what is planned, and which layers differ from the last run ([layers], None without a run)."""
        self._plan = plan if plan is not None and len(plan.choice) == len(self.layers) else None
        marked = changed if changed is not None and len(changed) == len(self.layers) else np.zeros(0, bool)
        marks = self.tree.any_below(marked) if marked.size else np.zeros(len(self.tree.labels), bool)
        self.facts = replace(self.facts, bytes_after=bytes_after_of(self.tree, self._plan), changed=marks)
        if self._kl_increases:
            self._look_up_kl_increases()
        self._repaint()

    def set_sensitivity(
        self, known: Mapping[str, Mapping[str, float]], key_of: Callable[[int], str] | None = None
    ) -> None:
        """known: layer → key → KL. key_of: names a layer's treatment as the recipe gives it, else as the plan does; it
        is asked again whenever there is another plan.
        """
        self._kl_increases, self._asked_key = known, key_of or self.key_of
        self._look_up_kl_increases()
        self._repaint()

    def _look_up_kl_increases(self) -> None:
        values = kl_per_layer(self.layers, self._kl_increases, self._asked_key)
        finite = values[np.isfinite(values)]
        greatest = float(finite.max()) if finite.size else float(np.nanmax(values, initial=0.0))
        self.facts = replace(self.facts, kl=self.tree.maxima(values), kl_greatest=greatest)

    def set_results(self, results: Mapping[str, LayerCompressed]) -> None:
        """Show what a run made of the layers, by name; those that are not there yet show nothing."""
        sqnr, error = results_per_layer(self.layers, results)
        self.facts = replace(self.facts, sqnr_db=-self.tree.maxima(-sqnr), output_error=self.tree.maxima(error))
        self._repaint()

    def set_locked(self, names: Collection[str]) -> None:
        """Mark the layers that no budget changes."""
        free = np.fromiter((layer.compressible and layer.name not in names for layer in self.layers), bool)
        some = np.fromiter((layer.name in names for layer in self.layers), bool)
        if self.layers:
            self._locked = self.tree.any_below(some) & ~self.tree.any_below(free)
            self._repaint()

    def set_compact(self, compact: bool) -> None:
        """Show bytes after alone, where there is no room for before → after."""
        if compact != self.compact:
            self.compact = compact
            self._repaint()

    def set_filter(self, text: str) -> None:
        """Show only the layers that all words name, and what is above them. Raises ValueError with a sentence."""
        tags = (self._plan.tags, self._plan.choice) if self._plan is not None else None
        mask = self._filter.mask(text, tags) if text.strip() else None
        self.beginResetModel()
        self.visible_layers = len(self.layers) if mask is None else int(mask.sum())
        self._visible = None if mask is None else self.tree.any_below(mask)
        self._forget_rows()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort siblings by a column; column -1 is the checkpoint's own order."""
        descending = order == Qt.SortOrder.DescendingOrder
        if (column, descending) == (self._sorted_by, self._descending):
            return
        self.beginResetModel()
        self._sorted_by, self._descending = column, descending
        self._forget_rows()
        self.endResetModel()

    def node(self, index: Index) -> int:
        return int(index.internalId()) if index.isValid() else ROOT

    def layer_index(self, index: Index) -> int:
        """Index in the checkpoint of the layer in this row; -1 for folders."""
        return int(self.tree.layers[self.node(index)])

    def index_of_layer(self, layer: int) -> QModelIndex:
        """The row of a layer; invalid while it is filtered away."""
        return self.index_of_node(int(self.tree.node_of[layer]))

    def index_of_node(self, node: int) -> QModelIndex:
        if node == ROOT or (self._visible is not None and not self._visible[node]):
            return QModelIndex()
        return self.createIndex(self._row(node), 0, node)

    def layers_below(self, index: Index) -> list[int]:
        """All layers in and under a row, those that are filtered away left out."""
        below = self.tree.layers_below(self.node(index))
        if self._visible is None:
            return below
        return [layer for layer in below if self._visible[self.tree.node_of[layer]]]

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return len(self._shown(self.node(parent))) if parent.column() <= 0 else 0

    def hasChildren(self, parent: Index = _NOWHERE) -> bool:
        return parent.column() <= 0 and bool(self._shown(self.node(parent)))

    def columnCount(self, parent: Index = _NOWHERE) -> int:  # noqa: ARG002 - the same everywhere
        return len(COLUMNS)

    def index(self, row: int, column: int, parent: Index = _NOWHERE) -> QModelIndex:
        if parent.column() > 0 or not 0 <= column < len(COLUMNS):
            return QModelIndex()
        shown = self._shown(self.node(parent))
        return self.createIndex(row, column, shown[row]) if 0 <= row < len(shown) else QModelIndex()

    def parent(self, index: Index = _NOWHERE) -> QModelIndex:  # type: ignore[override]
        if not index.isValid():
            return QModelIndex()
        above = int(self.tree.parents[index.internalId()])
        return QModelIndex() if above <= ROOT else self.createIndex(self._row(above), 0, above)

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(COLUMNS):
            return None
        column = COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return tr(column.title)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tr(column.help)
        return column.alignment if role == Qt.ItemDataRole.TextAlignmentRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[index.column()].text(self._view(int(index.internalId())))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return COLUMNS[index.column()].alignment
        node = int(index.internalId())
        if role == BAR_ROLE:
            return self._bar(node) if index.column() == columns.SENSITIVITY else None
        if role == CHANGED_ROLE:
            return bool(self.facts.changed[node])
        if role == LOCKED_ROLE:
            return bool(self._locked[node])
        if role == FOLDER_ROLE:
            return bool(self.tree.layers[node] < 0)
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return self._tool_tip(node, index.column())
        return None

    def key_of(self, layer: int) -> str:
        """Names the treatment that the plan has for a layer; "" without a plan."""
        return self._plan.keys[self._plan.choice[layer]] if self._plan is not None else ""

    def tag_of(self, layer: int) -> str:
        """The planned treatment's tag; "" before there is a plan."""
        return self._plan.tags[self._plan.choice[layer]] if self._plan is not None else ""

    def _view(self, node: int) -> NodeView:
        layer = int(self.tree.layers[node])
        if layer < 0:
            return NodeView(self.tree, self.facts, node, None, "", self.compact)
        return NodeView(self.tree, self.facts, node, self.layers[layer], self.tag_of(layer), self.compact)

    def _tool_tip(self, node: int, column: int) -> str:
        view = self._view(node)
        name = view.layer.name if view.layer else view.tree.labels[node]
        lines = [name] if column == columns.NAME else [f"{name}: {COLUMNS[column].text(view)}"]
        if view.layer is not None and view.layer.tied:
            lines.append(tr("shared with {names}", names=", ".join(view.layer.tied)))
        if self.facts.changed[node]:
            lines.append(tr("changed since the last run"))
        if self._locked[node]:
            lines.append(tr("excluded from budgets"))
        return "\n".join(lines)

    def _bar(self, node: int) -> float | None:
        """Linear: a layer against the greatest of its block, a block against the greatest of all."""
        kl, most = self.facts.kl[node], self.facts.kl[self._block_above(node)]
        if np.isnan(kl) or self.facts.kl_greatest <= 0:
            return None
        if kl <= 0:
            return 0.0
        if np.isinf(kl):
            return 1.0
        return float(np.clip(kl / most, 0.02, 1))

    def _block_above(self, node: int) -> int:
        """The numbered folder that a node lies in; the root when it lies in none."""
        above = int(self.tree.parents[node])
        while above > ROOT and not self.tree.labels[above].isdigit():
            above = int(self.tree.parents[above])
        return max(above, ROOT)

    def _forget_rows(self) -> None:
        self._shown_of: dict[int, list[int]] = {}
        self._row_of: dict[int, int] = {}
        self._sort_values: Values | None = None

    def _row(self, node: int) -> int:
        row = self._row_of.get(node)
        if row is None:
            self._shown(int(self.tree.parents[node]))
            row = self._row_of[node]
        return row

    def _shown(self, node: int) -> list[int]:
        shown = self._shown_of.get(node)
        if shown is None:
            visible = self._visible
            children = self.tree.children[node]
            shown = children if visible is None else [child for child in children if visible[child]]
            shown = self._in_order(shown)
            self._shown_of[node] = shown
            self._row_of.update({child: row for row, child in enumerate(shown)})
        return shown

    def _in_order(self, nodes: list[int]) -> list[int]:
        if not 0 <= self._sorted_by < len(COLUMNS) or len(nodes) < 2:
            return nodes
        column = COLUMNS[self._sorted_by]
        if column.sort_by is None:
            texts = {node: _natural(column.text(self._view(node))) for node in nodes}
            return sorted(nodes, key=texts.__getitem__, reverse=self._descending)
        if self._sort_values is None:
            values = column.sort_by(self.facts)
            self._sort_values = np.where(np.isnan(values), -np.inf, values)
        values = self._sort_values[nodes]
        order: Sequence[int] = np.argsort(-values if self._descending else values, kind="stable").tolist()
        return [nodes[place] for place in order]

    def _repaint(self) -> None:
        top = self._shown(ROOT)
        if top:
            last = self.index(len(top) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)
            self.repainted.emit()


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers in a text compare as numbers."""
    words = text.replace(".", " ").split()
    return tuple((0, int(word), "") if word.isdigit() else (1, 0, word.lower()) for word in words)
