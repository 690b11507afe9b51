"""Numbers as people read them: bytes, durations, counts, rates."""

from __future__ import annotations

from math import isfinite

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_COUNT_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def byte_text(count: float) -> str:
    """Decimal units, three significant digits: 16.1 GB."""
    value, unit = float(count), 0
    while abs(value) >= 999.5 and unit < len(_BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_BYTE_UNITS[0]}" if unit == 0 else f"{significant(value)} {_BYTE_UNITS[unit]}"


def significant(value: float) -> str:
    """Three significant digits without an exponent for values from 0.01 to 999."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def count_text(count: float) -> str:
    """260 k, 8.03 B; exact below a thousand."""
    for size, unit in _COUNT_UNITS:
        if count >= size:
            return f"{significant(count / size)} {unit}"
    return f"{count:.0f}"


def duration_text(seconds: float) -> str:
    """0.4 s, 18 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def rate_text(rate: float, unit: str) -> str:
    """A rate in the job's units a second."""
    if unit == "bytes":
        return f"{byte_text(rate)}/s"
    return f"{count_text(rate)} {unit}/s" if rate >= 1 else f"{rate:.2g} {unit}/s"


def kl_text(kl: float) -> str:
    """A divergence in nats per token."""
    if not isfinite(kl):
        return "∞"
    if kl == 0:
        return "0"
    return f"{kl:.4f}" if abs(kl) >= 0.00095 else f"{kl:.1e}"


def error_text(error: float) -> str:
    """A relative error: 0.0123, 4.5e-05."""
    return f"{error:.3g}" if error >= 0.0001 or error == 0 else f"{error:.1e}"


def number_text(value: float) -> str:
    """Up to four significant digits."""
    return f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """`1 layer`, `3 layers`, `12,000 layers`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
