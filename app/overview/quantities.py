"""What the overview can be coloured by, one value per layer, from what the document knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchvise.app.overview.grid import Values
from benchvise.core.language import message
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.text import byte_text, decibel_text, error_text, kl_text

if TYPE_CHECKING:
    from benchvise.app.state.document import Document


@dataclass(frozen=True)
class Quantity:
    """A way to colour the network. worst: how a cell of several layers is told, "" for their mean."""

    title: str
    help: str
    values: Callable[[Document], Values]
    text: Callable[[float], str]
    logarithmic: bool = False
    worst: str = ""
    missing: str = ""


def stored_bytes(document: Document) -> Values:
    """float64 [layers]: bytes as planned, or as they are while there is no plan."""
    assert document.checkpoint is not None
    if document.plan is not None and len(document.plan.bytes_after) == len(document.checkpoint.layers):
        return np.asarray(document.plan.bytes_after, np.float64)
    return np.array([layer.nbytes for layer in document.checkpoint.layers], np.float64)


def parameters(document: Document) -> Values:
    """float64 [layers]: how many weights."""
    assert document.checkpoint is not None
    return np.array([layer.parameters for layer in document.checkpoint.layers], np.float64)


def _bits(document: Document) -> Values:
    count = parameters(document)
    return np.where(count > 0, 8 * stored_bytes(document) / np.maximum(count, 1), np.nan)


def _kl(document: Document) -> Values:
    """Of the planned treatment; while the recipe treats nothing, the greatest that is known."""
    assert document.checkpoint is not None
    plan, treats = document.plan, document.plan is not None and document.plan.treated_layers > 0
    greatest: dict[str, float] = {}
    for (name, _), cell in document.sensitivity.items():
        greatest[name] = max(cell.kl, greatest.get(name, cell.kl))
    found = np.full(len(document.checkpoint.layers), np.nan)
    for index, layer in enumerate(document.checkpoint.layers):
        if treats and plan is not None:
            cell_of_plan = document.sensitivity.get((layer.name, plan.keys[plan.choice[index]]))
            found[index] = np.nan if cell_of_plan is None else cell_of_plan.kl
        else:
            found[index] = greatest.get(layer.name, np.nan)
    return found


def _of_run(document: Document, value: Callable[[LayerCompressed], float | None]) -> Values:
    assert document.checkpoint is not None
    found = np.full(len(document.checkpoint.layers), np.nan)
    for index, layer in enumerate(document.checkpoint.layers):
        result = document.results.get(layer.name)
        known = value(result) if result is not None else None
        found[index] = np.nan if known is None else known
    return found


QUANTITIES = (
    Quantity(message("Bits per weight"), message("As planned, scales counted"), _bits, lambda v: f"{v:.2f}"),
    Quantity(message("Size"), message("Bytes as planned"), stored_bytes, byte_text, logarithmic=True, worst="greatest"),
    Quantity(
        message("KL increase"),
        message("Of the planned treatment of each layer alone, nats per token"),
        _kl,
        kl_text,
        logarithmic=True,
        worst="greatest",
        missing=message("Not known yet: measure or estimate sensitivity first."),
    ),
    Quantity(
        message("SQNR, dB"),
        message("Signal to quantisation noise of the weights in the active run"),
        lambda document: _of_run(document, lambda one: one.sqnr_db),
        decibel_text,
        worst="least",
        missing=message("Not known yet: it comes with a run."),
    ),
    Quantity(
        message("Output error"),
        message("Squared error of the outputs over their energy, in the active run"),
        lambda document: _of_run(document, lambda one: one.output_error),
        error_text,
        logarithmic=True,
        worst="greatest",
        missing=message("Not known yet: it comes with a run that learns from calibration text."),
    ),
)
