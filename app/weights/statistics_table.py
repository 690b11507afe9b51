"""Statistics as a table: one row per figure, one column per histogram."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchvise.app.plots.table import RecordTable, TableColumn
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import Statistics
from benchvise.core.text import number_text, percent_text, whole_text


@dataclass(frozen=True)
class Figures:
    """A column: a name, its statistics, and the signal-to-noise ratio where there is an error."""

    name: str
    statistics: Statistics | None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class FigureRow:
    """One figure over all columns: its title, texts and exact values."""

    title: str
    texts: tuple[str, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class _Kind:
    title: str
    value: Callable[[Statistics], float]
    text: Callable[[Statistics], str]


def _plain(title: str, value: Callable[[Statistics], float]) -> _Kind:
    return _Kind(title, value, lambda statistics: number_text(value(statistics)))


def _count(title: str, value: Callable[[Statistics], int]) -> _Kind:
    return _Kind(title, value, lambda statistics: whole_text(value(statistics)))


_KINDS = (
    _count(message("Weights"), lambda s: s.count),
    _plain(message("Minimum"), lambda s: s.minimum),
    _plain(message("Maximum"), lambda s: s.maximum),
    _plain(message("Mean"), lambda s: s.mean),
    _plain(message("Std deviation"), lambda s: s.std),
    _plain(message("Excess kurtosis"), lambda s: s.kurtosis),
    _Kind(message("Zeros"), lambda s: s.zeros, lambda s: f"{whole_text(s.zeros)}  {percent_text(s.zero_fraction)}"),
    _count(message("NaN"), lambda s: s.nan),
    _count(message("Infinite"), lambda s: s.infinite),
    _count(message("Beyond 6 std"), lambda s: s.outliers),
)


def figure_rows(figures: Sequence[Figures]) -> tuple[FigureRow, ...]:
    """Every figure; the signal-to-noise ratio last, where any column has one."""
    rows = [
        FigureRow(
            tr(kind.title),
            tuple("—" if f.statistics is None else kind.text(f.statistics) for f in figures),
            tuple(None if f.statistics is None else kind.value(f.statistics) for f in figures),
        )
        for kind in _KINDS
    ]
    ratios = tuple(f.sqnr_db for f in figures)
    if any(ratio is not None for ratio in ratios):
        rows.append(FigureRow(tr("SQNR, dB"), tuple("" if r is None else f"{r:.2f}" for r in ratios), ratios))
    return tuple(rows)


class StatisticsTable(RecordTable[FigureRow]):
    """Rows of figures under columns that follow what is compared."""

    def show_figures(self, figures: Sequence[Figures]) -> None:
        columns: list[TableColumn[FigureRow]] = [
            TableColumn("", lambda row: row.title, lambda row: row.title, numeric=False),
            *(_column(place, one.name) for place, one in enumerate(figures)),
        ]
        self.show(figure_rows(figures), columns)


def _column(place: int, name: str) -> TableColumn[FigureRow]:
    return TableColumn(name, lambda row: row.texts[place], lambda row: row.values[place], tip=name)
