"""Figures of plots and their tables as people read them, beyond those of `app.text.numbers`."""

from __future__ import annotations

import math

THIN = "\u202f"
MINUS = "\u2212"
NOTHING = "—"

_SI_ABOVE = ("", "k", "M", "G", "T", "P", "E")
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def whole_text(count: int | None) -> str:
    """A whole number in full, thousands apart by a thin space: "1 048 576"."""
    return NOTHING if count is None else f"{count:,}".replace(",", THIN).replace("-", MINUS)


def si_text(value: float) -> str:
    """A large number for an axis, three significant digits and an SI letter: "8.03 G", "200 k"."""
    step, scaled = 0, float(value)
    while abs(scaled) >= 999.5 and step < len(_SI_ABOVE) - 1:
        scaled /= 1000
        step += 1
    digits = f"{scaled:.3g}" if abs(scaled) < 1000 else f"{scaled:.0f}"
    return f"{digits} {_SI_ABOVE[step]}".rstrip().replace("-", MINUS)


def number_text(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits: "0.03125", "−1.5·10⁻⁷", "NaN", "∞"; "—" for None."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return text.replace("-", MINUS)


def percent_text(fraction: float | None) -> str:
    """A fraction as per cent with one decimal: "98.4 %"."""
    return NOTHING if fraction is None else f"{fraction * 100:.1f} %".replace("-", MINUS)
