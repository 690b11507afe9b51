"""Forecasts beside what was measured, in the words of window and command line."""

from __future__ import annotations

from collections.abc import Iterable

from benchvise.core.language import message, tr
from benchvise.core.text import byte_text, duration_text, kl_text, number_text
from benchvise.core.workspace.forecasts import Record

TITLES = {
    "bytes": message("Size"),
    "kl": "KL",
    "decode_ms": message("Decoding"),
    "speed_up": message("Speed-up"),
    "peak_bytes": message("Peak memory"),
    "seconds": message("Time"),
}
"""By the kinds of `core.workspace.forecasts`."""


def quantity_text(kind: str, value: float) -> str:
    """A forecast or measured value with its unit; bytes of weights to the byte, as their forecast is exact."""
    match kind:
        case "bytes":
            return f"{value:,.0f} B"
        case "peak_bytes":
            return byte_text(value)
        case "seconds":
            return duration_text(value)
        case "speed_up":
            return f"× {value:.2f}"
        case "decode_ms":
            return tr("{number} ms", number=number_text(value))
    return kl_text(value)


def record_text(record: Record) -> str:
    """One kind in words: "size exact in 12 of 12", "time within 30 % in 11 of 12"."""
    how = tr("within {target:.0%}", target=record.target).replace("%", " %") if record.target else tr("exact")
    return tr(
        "{what} {how} in {within} of {runs}",
        what=tr(TITLES[record.kind]).lower() if record.kind != "kl" else "KL",
        how=how,
        within=record.within,
        runs=record.runs,
    )


def summary_text(records: Iterable[Record]) -> str:
    """All kinds in one sentence; "" when nothing was compared yet."""
    found = "; ".join(record_text(record) for record in records)
    return found[:1].upper() + found[1:]
