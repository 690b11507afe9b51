"""Numbers and names as findings say them."""

from __future__ import annotations

from collections.abc import Collection

from benchvise.core.protocol.results import Estimate

_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size(count: float) -> str:
    """Bytes in decimal units, three significant digits."""
    for unit, factor in _UNITS:
        if count >= factor:
            return f"{count / factor:.3g} {unit}" if count < 999.5 * factor else f"{count / factor:.0f} {unit}"
    return f"{count:.0f} B"


def time(seconds: float) -> str:
    """A duration: "4.2 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"


def sizes(estimate: Estimate) -> str:
    return f"≈ {size(estimate.value)} ({size(estimate.low)} to {size(estimate.high)})"


def times(estimate: Estimate) -> str:
    return f"≈ {time(estimate.value)} ({time(estimate.low)} to {time(estimate.high)})"


def layers(names: Collection[str]) -> str:
    """ "1 layer", "12 layers"."""
    return f"{len(names):,} layer" + ("" if len(names) == 1 else "s")


def are(names: Collection[str]) -> str:
    """ "1 layer is", "12 layers are"."""
    return f"{layers(names)} {'is' if len(names) == 1 else 'are'}"


def these(names: Collection[str]) -> str:
    """ "this layer", "these 12 layers"."""
    return "this layer" if len(names) == 1 else f"these {len(names):,} layers"


def capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
