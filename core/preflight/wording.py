"""Names as findings say them."""

from __future__ import annotations

from collections.abc import Collection

from benchvise.core.text import plural


def layers(names: Collection[str]) -> str:
    """ "1 layer", "12 layers"."""
    return plural(len(names), "layer")


def are(names: Collection[str]) -> str:
    """ "1 layer is", "12 layers are"."""
    return f"{layers(names)} {'is' if len(names) == 1 else 'are'}"


def these(names: Collection[str]) -> str:
    """ "this layer", "these 12 layers"."""
    return "this layer" if len(names) == 1 else f"these {len(names):,} layers"


def capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
