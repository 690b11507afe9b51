"""Numbers with their units, as people read them."""

from __future__ import annotations

import math

_DECIMAL = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def size(byte_count: float) -> str:
    """Bytes in decimal units, as disks are sold and files are listed: "1.05 MB"."""
    return f"{_scaled(byte_count)}B"


def count(number: float, unit: str) -> str:
    """A number of things: "1.2 M weights"."""
    return size(number) if unit == "bytes" else f"{_scaled(number).strip()} {unit}"


def _scaled(number: float) -> str:
    for prefix, factor in _DECIMAL:
        if abs(number) >= factor:
            return (
                f"{number / factor:.3g} {prefix}" if abs(number) < 999.5 * factor else f"{number / factor:.0f} {prefix}"
            )
    return f"{number:.0f} "


def significant(number: float | None, digits: int = 4) -> str:
    """A plain number with so many significant digits; "—" where there is none."""
    if number is None or math.isnan(number):
        return "—"
    return f"{number:.{digits}g}"


def decibels(number: float | None) -> str:
    """A ratio in dB; "exact" where there is no error to compare with."""
    return "exact" if number is None else f"{number:.2f}"


def duration(seconds: float) -> str:
    """ "0.42 s", "12 s", "3:07", "1:02:09"."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
