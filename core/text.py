"""Numbers as people read them, in window, command line and messages: one notation for each kind of quantity."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import floor, isinf, isnan, log10

from benchvise.core.language import counted, message

NOTHING = "—"
MINUS = "\u2212"

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_CHOSEN = threading.local()
_COUNT_UNITS = ("", "k", "M", "B", "T")
_SI_UNITS = ("", "k", "M", "G", "T", "P", "E")
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


QUALITY_WORDS = (
    (0.002, message("indistinguishable")),
    (0.02, message("slight")),
    (0.1, message("noticeable")),
    (0.5, message("strong")),
    (float("inf"), message("broken")),
)
"""(nats per token below which a loss is called so, the word), from unharmed to useless."""


def byte_text(count: float) -> str:
    """Three significant digits: "0 B", "16.1 GB", "−1.50 kB"; in powers of 1000 unless `use_sizes` said otherwise."""
    binary = getattr(_CHOSEN, "binary", False)
    units = _BINARY_UNITS if binary else _BYTE_UNITS
    value, unit = _scaled(count, len(units), 1024 if binary else 1000)
    return _signed(f"{value:.0f} B" if unit == 0 else f"{_three_digits(value)} {units[unit]}")


def use_sizes(*, binary: bool) -> None:
    """Count bytes in powers of 1024, "15.0 GiB", in this thread from now on, or in powers of 1000."""
    _CHOSEN.binary = binary


def count_text(count: float) -> str:
    """How many: "260 k", "8.03 B"; exact below a thousand."""
    value, unit = _scaled(count, len(_COUNT_UNITS))
    return _signed(f"{value:.0f}" if unit == 0 else f"{_three_digits(value)} {_COUNT_UNITS[unit]}")


def si_text(value: float) -> str:
    """A tick of an axis, three significant digits at most and an SI letter: "8.03 G", "200 k"."""
    scaled, unit = _scaled(value, len(_SI_UNITS))
    digits = f"{scaled:.3g}" if abs(scaled) < 1000 else f"{scaled:.0f}"
    return _signed(f"{digits} {_SI_UNITS[unit]}".rstrip())


def amount_text(amount: float, unit: str) -> str:
    """An amount of a job's unit: "1.20 M tokens"; bytes as sizes."""
    return byte_text(amount) if unit == "bytes" else f"{count_text(amount)} {unit}"


def rate_text(rate: float, unit: str) -> str:
    """An amount of a job's unit per second: "310 MB/s", "0.25 layers/s"."""
    return f"{amount_text(rate, unit)}/s" if unit == "bytes" or rate >= 1 else f"{rate:.2g} {unit}/s"


def duration_text(seconds: float) -> str:
    """ "0.42 s", "3.1 s", "42 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 0.995:
        return f"{seconds:.2f} s" if seconds else "0 s"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def rough_duration_text(seconds: float) -> str:
    """An estimated duration, rounded to two significant digits: 203 s is "3 min 20 s"."""
    if seconds <= 0:
        return duration_text(0)
    return duration_text(round(seconds, 1 - floor(log10(seconds))))


def estimated_bytes(value: float, low: float, high: float) -> str:
    """ "≈ 4.20 GB (3.90 GB to 5.10 GB)"."""
    return _estimated(byte_text, value, low, high)


def estimated_duration(value: float, low: float, high: float) -> str:
    """ "≈ 3 min 20 s (2 min 30 s to 5 min 00 s)", each rounded to two significant digits."""
    return _estimated(rough_duration_text, value, low, high)


def number_text(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits: "0.03125", "−1.5·10⁻⁷", "NaN", "∞"; "—" for None."""
    if value is None:
        return NOTHING
    if isnan(value):
        return "NaN"
    if isinf(value):
        return _signed("∞" if value > 0 else "-∞")
    return _powers(f"{value:.{digits}g}")


def kl_text(kl: float) -> str:
    """A divergence in nats per token: "0.0182", "1.2·10⁻⁵"."""
    if isnan(kl) or isinf(kl) or kl == 0:
        return "∞" if isinf(kl) else number_text(kl)
    return _powers(f"{kl:.4f}" if abs(kl) >= 0.00095 else f"{kl:.1e}")


def quality_word(kl: float) -> str:
    """A KL divergence in words: "indistinguishable" below 0.002 nats per token, then "slight" (0.02), "noticeable"
    (0.1), "strong" (0.5), and "broken"; NaN and infinity are "broken".
    """
    return next((word for limit, word in QUALITY_WORDS if kl < limit), "broken")


def error_text(error: float) -> str:
    """A relative error: "0.0123", "4.5·10⁻⁵"."""
    return _powers(f"{error:.3g}" if error >= 0.0001 or error == 0 else f"{error:.1e}")


def decibel_text(decibels: float | None) -> str:
    """A ratio of signal to error in dB, without the unit; "exact" for None, where there is no error."""
    return "exact" if decibels is None else f"{decibels:.2f}"


def percent_text(fraction: float | None) -> str:
    """A fraction as per cent with one decimal: "98.4 %"."""
    return NOTHING if fraction is None else _signed(f"{fraction * 100:.1f} %")


def whole_text(count: int | None) -> str:
    """A whole number in full: "1,048,576"; "—" for None."""
    return NOTHING if count is None else _signed(f"{count:,}")


def plural(count: int, noun: str) -> str:
    """ "1 layer", "3 layers", "12,000 layers"."""
    return counted(count, f"{{count}} {noun}", f"{{count}} {noun}s")


def _estimated(text: Callable[[float], str], value: float, low: float, high: float) -> str:
    return f"≈ {text(value)} ({text(low)} to {text(high)})"


def _scaled(value: float, units: int, base: int = 1000) -> tuple[float, int]:
    """The value in thousands to the power of the second number, so that it rounds to at most 999."""
    scaled, unit = float(value), 0
    while abs(scaled) >= 999.5 and unit < units - 1:
        scaled, unit = scaled / base, unit + 1
    return scaled, unit


def _three_digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def _powers(text: str) -> str:
    """1.5e-07 as 1.5·10⁻⁷."""
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return _signed(text)


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
