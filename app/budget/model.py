"""What an allocation gave each layer and why: a table that follows a dragged slider without being built anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from benchvise.app.plots.table import VALUE_ROLE
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import Allocated, Alternatives, Floats
from benchvise.core.text import MINUS, NOTHING, byte_text, kl_text, percent_text

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


@dataclass(frozen=True)
class Allocation:
    """An answer beside what the checkpoint knows of its layers, [layers] each.

    index: of each layer in the checkpoint. share: of the predicted KL, 0 to 1.
    """

    allocated: Allocated
    index: NDArray[np.int64]
    bits: Floats
    nbytes: NDArray[np.int64]
    share: Floats
    locked: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        return self.allocated.layers

    def tag(self, row: int) -> str:
        """What the layer's treatment is called in its plan."""
        planned = self.allocated.planned
        return planned.tags[int(planned.choice[self.index[row]])]

    def key(self, row: int) -> str:
        """Names the layer's treatment."""
        return self.allocated.keys[int(self.allocated.choice[row])]

    def tag_of(self, alternatives: Alternatives, row: int) -> str:
        """The other choice's tag; "" for none."""
        choice = int(alternatives.choice[row])
        return self.allocated.tags[choice] if choice >= 0 else ""


def allocation_of(
    allocated: Allocated, places: dict[str, int], parameters: NDArray[np.int64], locked: frozenset[str]
) -> Allocation:
    """places: index of each layer in the checkpoint; parameters: int64 [layers of the checkpoint]."""
    index = np.fromiter((places[name] for name in allocated.layers), np.int64, len(allocated.layers))
    nbytes = allocated.planned.bytes_after[index]
    total = float(allocated.kl_increase[np.isfinite(allocated.kl_increase)].sum())
    share = allocated.kl_increase / total if total > 0 else np.zeros(len(index))
    bits = 8.0 * nbytes / np.maximum(1, parameters[index])
    return Allocation(allocated, index, bits, nbytes, share, locked)


def cost_text(cost: float, unit: str) -> str:
    """A change of cost with its sign: "+12.3 kB", "−0.02 ms"."""
    size = byte_text(abs(cost)) if unit == "bytes" else f"{abs(cost):.3g} {unit}"
    return f"{MINUS if cost < 0 else '+'}{size}"


def change_text(kl: float) -> str:
    return f"{MINUS if kl < 0 else '+'}{kl_text(abs(kl))}"


@dataclass(frozen=True)
class AllocationColumn:
    """text: of one row; value: what sorting compares, for all rows."""

    title: str
    help: str
    text: Callable[[Allocation, int], str]
    value: Callable[[Allocation], Sequence[str] | NDArray[Any]]
    width: int
    numeric: bool = True


def _other(
    pick: Callable[[Allocated], Alternatives], title: str, help_text: str, cost_help: str, kl_help: str
) -> tuple[AllocationColumn, ...]:
    def tag(found: Allocation, row: int) -> str:
        return found.tag_of(pick(found.allocated), row) or NOTHING

    def cost(found: Allocation, row: int) -> str:
        others = pick(found.allocated)
        return cost_text(float(others.cost[row]), found.allocated.front.unit) if others.choice[row] >= 0 else NOTHING

    def change(found: Allocation, row: int) -> str:
        others = pick(found.allocated)
        return change_text(float(others.kl[row])) if others.choice[row] >= 0 else NOTHING

    def known(found: Allocation, values: Floats) -> Floats:
        return np.where(pick(found.allocated).choice >= 0, values, -np.inf)

    return (
        AllocationColumn(
            title,
            help_text,
            tag,
            lambda found: [tag(found, row) for row in range(len(found.names))],
            100,
            numeric=False,
        ),
        AllocationColumn(
            message("Cost"),
            cost_help,
            cost,
            lambda found: known(found, pick(found.allocated).cost),
            76,
        ),
        AllocationColumn(
            "ΔKL",
            kl_help,
            change,
            lambda found: known(found, pick(found.allocated).kl),
            72,
        ),
    )


ALLOCATION_COLUMNS: tuple[AllocationColumn, ...] = (
    AllocationColumn(
        message("Layer"),
        message("Allocated layers"),
        lambda f, row: f.names[row],
        lambda f: f.names,
        200,
        numeric=False,
    ),
    AllocationColumn(
        message("Treatment"),
        message("What the budget gives it"),
        lambda f, row: f.tag(row),
        lambda f: [f.tag(row) for row in range(len(f.names))],
        104,
        numeric=False,
    ),
    AllocationColumn(
        message("Bits"), message("Bits per weight"), lambda f, row: f"{f.bits[row]:.2f}", lambda f: f.bits, 52
    ),
    AllocationColumn(
        message("Size"), message("Bytes after"), lambda f, row: byte_text(int(f.nbytes[row])), lambda f: f.nbytes, 72
    ),
    AllocationColumn(
        message("≈ KL"),
        message("What the layer adds to the predicted KL, nats per token"),
        lambda f, row: kl_text(float(f.allocated.kl_increase[row])),
        lambda f: f.allocated.kl_increase,
        72,
    ),
    AllocationColumn(
        message("Share"),
        message("Of the predicted KL"),
        lambda f, row: percent_text(float(f.share[row])) if np.isfinite(f.share[row]) else NOTHING,
        lambda f: f.share,
        60,
    ),
    *_other(
        lambda allocated: allocated.better,
        message("Next better"),
        message("The better choice that pays best for this layer"),
        message("What the better choice costs"),
        message("What the better choice does to the predicted KL, nats per token"),
    ),
    *_other(
        lambda allocated: allocated.cheaper,
        message("Next cheaper"),
        message("The cheaper choice that pays best for this layer"),
        message("What the cheaper choice costs"),
        message("What the cheaper choice does to the predicted KL, nats per token"),
    ),
)
_READABLE_KL = 0.001
LOCKED_ROLE = VALUE_ROLE + 1
"""True for layers that the budget leaves alone."""


class AllocationModel(QAbstractTableModel):
    """Rows in the order that is sorted by, those that the filter leaves."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.allocation: Allocation | None = None
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._kept: frozenset[str] | None = None
        self._sort = (-1, False)

    def show(self, allocation: Allocation | None) -> None:
        """Show another answer; selected rows stay with their layers."""
        old = self.allocation
        if old is None or allocation is None or old.names != allocation.names:
            self.beginResetModel()
            self.allocation = allocation
            self._arrange()
            self.endResetModel()
            return
        self.layoutAboutToBeChanged.emit()
        self._rearrange(allocation)
        self.layoutChanged.emit()

    def keep_only(self, names: frozenset[str] | None) -> None:
        """Leave out all other layers; None shows every one."""
        if names != self._kept:
            self.beginResetModel()
            self._kept = names
            self._arrange()
            self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sort = (column, order == Qt.SortOrder.DescendingOrder)
        if self.allocation is not None:
            self.layoutAboutToBeChanged.emit()
            self._rearrange(self.allocation)
            self.layoutChanged.emit()

    def layer_at(self, row: int) -> int:
        """The layer's place among those that are allocated."""
        return int(self._order[row])

    def row_of(self, name: str) -> int:
        """The row of a layer; -1 while it is not shown."""
        if self.allocation is None or name not in self.allocation.names:
            return -1
        found = np.flatnonzero(self._order == self.allocation.names.index(name))
        return int(found[0]) if found.size else -1

    def _rearrange(self, allocation: Allocation) -> None:
        before, persistent = self._order, self.persistentIndexList()
        places = [int(before[index.row()]) for index in persistent]
        self.allocation = allocation
        self._arrange()
        row_of = {int(layer): row for row, layer in enumerate(self._order)}
        moved = [
            self.index(row_of[place], index.column()) if place in row_of else QModelIndex()
            for place, index in zip(places, persistent, strict=True)
        ]
        self.changePersistentIndexList(persistent, moved)

    def _arrange(self) -> None:
        found = self.allocation
        if found is None:
            self._order = np.zeros(0, np.int64)
            return
        column, descending = self._sort
        order = np.arange(len(found.names))
        if 0 <= column < len(ALLOCATION_COLUMNS):
            values = ALLOCATION_COLUMNS[column].value(found)
            if isinstance(values, np.ndarray):
                order = np.argsort(-values if descending else values, kind="stable")
            else:
                by_text = sorted(range(len(values)), key=values.__getitem__, reverse=descending)
                order = np.array(by_text, np.int64)
        if self._kept is not None:
            kept = np.fromiter((name in self._kept for name in found.names), bool, len(found.names))
            order = order[kept[order]]
        self._order = order

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(ALLOCATION_COLUMNS)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        found = self.allocation
        if not index.isValid() or found is None:
            return None
        column, row = ALLOCATION_COLUMNS[index.column()], int(self._order[index.row()])
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(found, row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        if role == VALUE_ROLE:
            value = column.value(found)[row]
            return float(value) if column.numeric else value
        if role == LOCKED_ROLE:
            return found.names[row] in found.locked
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            locked = tr("\nlocked: its treatment stays") if found.names[row] in found.locked else ""
            return f"{found.names[row]}: {tr(column.title)} {column.text(found, row)}{locked}"
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(ALLOCATION_COLUMNS):
            return None
        column = ALLOCATION_COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return tr(column.title)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tr(column.help)
        return _alignment(column) if role == Qt.ItemDataRole.TextAlignmentRole else None


def why(found: Allocation, row: int) -> str:
    """Why a layer has what it has, in a sentence or two."""
    allocated = found.allocated
    unit = allocated.front.unit
    said = [tr("{names} gets {tag}.", names=found.names[row], tag=found.tag(row))]
    if found.names[row] in found.locked:
        said.append(tr("It is locked."))
    better = found.tag_of(allocated.better, row)
    if better:
        cost, kl = float(allocated.better.cost[row]), float(allocated.better.kl[row])
        said.append(
            tr(
                "{better} would cost {cost} and win back ≈{kl}",
                better=better,
                cost=cost_text(cost, unit).lstrip("+"),
                kl=kl_text(-kl),
            )
            + (f", {_prices((-kl / cost, allocated.price), unit)}." if cost > 0 and allocated.price > 0 else ".")
        )
    cheaper = found.tag_of(allocated.cheaper, row)
    if cheaper:
        cost, kl = float(allocated.cheaper.cost[row]), float(allocated.cheaper.kl[row])
        said.append(
            tr(
                "{cheaper} would save {cost} and lose ≈{kl}.",
                cheaper=cheaper,
                cost=cost_text(-cost, unit).lstrip("+"),
                kl=kl_text(kl),
            )
        )
    return " ".join(said)


def _prices(prices: tuple[float, float], unit: str) -> str:
    """(what this layer would pay, what was paid last elsewhere), per a unit of cost that reads well."""
    scale = 1.0
    if unit == "bytes":
        sizes = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))
        unit, scale = next((each for each in sizes if prices[1] * each[1] >= _READABLE_KL), sizes[-1])
    here, elsewhere = (kl_text(price * scale) for price in prices)
    return tr(
        "{here} per {unit}; the last step elsewhere was bought at {elsewhere} per {unit}",
        here=here,
        unit=unit,
        elsewhere=elsewhere,
    )


def _alignment(column: AllocationColumn) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.numeric else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
