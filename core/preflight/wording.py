"""Names as findings say them."""

from __future__ import annotations

from collections.abc import Collection

from benchvise.core.language import counted, message
from benchvise.core.text import plural


def layers(names: Collection[str]) -> str:
    """ "1 layer", "12 layers"."""
    return plural(len(names), "layer")


def are(names: Collection[str]) -> str:
    """ "1 layer is", "12 layers are"."""
    return counted(len(names), "{count} layer is", "{count} layers are")


def these(names: Collection[str]) -> str:
    """ "this layer", "these 12 layers"."""
    return message("this layer") if len(names) == 1 else message("these {count} layers", count=len(names))
