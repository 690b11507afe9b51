"""The figures of one layer that are worth a chip: before, and after where a treatment is tried."""

from __future__ import annotations

from collections.abc import Callable

from benchvise.app.weights.look_header import Chip
from benchvise.core.language import tr
from benchvise.core.protocol.results import Looked, Statistics
from benchvise.core.text import number_text, percent_text


def chips_of(looked: Looked) -> tuple[Chip, ...]:
    """The most telling first; not-a-number and infinite weights only where there are some."""
    before, after = looked.statistics, looked.statistics_after
    chips = [
        _chip("σ", tr("Standard deviation of the weights"), before, after, lambda s: number_text(s.std, 3)),
        _chip(
            tr("kurtosis"),
            tr("Excess kurtosis; a normal distribution has 0"),
            before,
            after,
            lambda s: number_text(s.kurtosis, 3),
        ),
        _chip(
            tr("zeros"), tr("Share of weights that are zero"), before, after, lambda s: percent_text(s.zero_fraction)
        ),
        _chip(tr("max"), tr("Greatest magnitude"), before, after, lambda s: number_text(max(-s.minimum, s.maximum), 3)),
    ]
    if looked.sqnr_db is not None:
        chips.insert(
            3,
            Chip(
                tr("SQNR"),
                tr("{sqnr_db:.1f} dB", sqnr_db=looked.sqnr_db),
                tr("Signal to quantisation noise ratio of the weights"),
            ),
        )
    if before.nan or before.infinite:
        chips.insert(
            0, Chip(tr("not finite"), f"{before.nan + before.infinite:,}", tr("Weights that are NaN or infinite"))
        )
    return tuple(chips)


def _chip(
    name: str, help_text: str, before: Statistics, after: Statistics | None, text: Callable[[Statistics], str]
) -> Chip:
    first = text(before)
    second = first if after is None else text(after)
    return Chip(name, first if first == second else f"{first} → {second}", help_text)
