"""The columns of the layer tree, as objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import Qt

from benchvise.app.layers.facts import LayerFacts, sqnr_text
from benchvise.app.layers.tree import LayerTree, Values
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import message
from benchvise.core.text import byte_text, error_text, kl_text


@dataclass(frozen=True)
class NodeView:
    """One row as a column sees it. `layer` is None for folders; `tag` is the planned treatment's, "" for folders."""

    tree: LayerTree
    facts: LayerFacts
    node: int
    layer: Layer | None
    tag: str
    compact: bool = False


@dataclass(frozen=True)
class LayerColumn:
    """One column. widest: a text that there has to be room for. sort_by: a value per node; None sorts by text."""

    title: str
    help: str
    width: int
    text: Callable[[NodeView], str]
    widest: str = ""
    right: bool = False
    sort_by: Callable[[LayerFacts], Values] | None = None

    @property
    def alignment(self) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if self.right else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter


def _bits(view: NodeView) -> str:
    bits = view.facts.bits(view.node)
    return "" if np.isnan(bits) else f"{bits:.2f}"


def _size(view: NodeView) -> str:
    before, after = view.facts.bytes_before[view.node], view.facts.bytes_after[view.node]
    if np.isnan(after) or before == after:
        return byte_text(before)
    return byte_text(after) if view.compact else f"{byte_text(before)} → {byte_text(after)}"


def _kl(view: NodeView) -> str:
    kl = view.facts.kl[view.node]
    return "" if np.isnan(kl) or view.compact else kl_text(kl)


def _sqnr(view: NodeView) -> str:
    return sqnr_text(view.facts.sqnr_db[view.node])


def _output_error(view: NodeView) -> str:
    error = view.facts.output_error[view.node]
    return "" if np.isnan(error) else error_text(error)


def _shape(view: NodeView) -> str:
    return " × ".join(map(str, view.layer.shape)) if view.layer else ""


NAME, TREATMENT, BITS, SIZE, SENSITIVITY, SQNR, OUTPUT_ERROR, DTYPE, SHAPE, ROLE = range(10)

COLUMNS = (
    LayerColumn(
        message("Name"), message("The module's place in the network"), 156, lambda view: view.tree.labels[view.node]
    ),
    LayerColumn(
        message("Treatment"),
        message("What the recipe does to the layer"),
        88,
        lambda view: "" if view.tag == "keep" else view.tag,
    ),
    LayerColumn(
        message("Bits"),
        message("Bits per weight as planned, scales counted"),
        46,
        _bits,
        right=True,
        sort_by=LayerFacts.all_bits,
    ),
    LayerColumn(
        message("Size"),
        message("Bytes before → after"),
        118,
        _size,
        widest="8.88 GB → 8.88 GB",
        right=True,
        sort_by=lambda facts: facts.bytes_before,
    ),
    LayerColumn(
        "KL",
        message(
            "Sensitivity: KL divergence at the model's output when this layer alone is treated as the recipe "
            "says; while "
            "the recipe treats nothing, the greatest of its measured treatments; nats per token"
        ),
        80,
        _kl,
        right=True,
        sort_by=lambda facts: facts.kl,
    ),
    LayerColumn(
        message("SQNR (dB)"),
        message("Signal to quantisation noise of the weight in the active run; of folders the least below"),
        72,
        _sqnr,
        right=True,
        sort_by=lambda facts: facts.sqnr_db,
    ),
    LayerColumn(
        message("Output error"),
        message(
            "Squared error of the layer's outputs on calibration text, over their energy; of folders the greatest below"
        ),
        84,
        _output_error,
        right=True,
        sort_by=lambda facts: facts.output_error,
    ),
    LayerColumn(
        message("Dtype"),
        message("As stored in the checkpoint"),
        76,
        lambda view: view.layer.dtype if view.layer else "",
    ),
    LayerColumn(
        message("Shape"),
        message("As stored in the checkpoint"),
        104,
        _shape,
        right=True,
        sort_by=lambda facts: facts.parameters,
    ),
    LayerColumn(
        message("Role"),
        message("What the layer does in its block"),
        104,
        lambda view: view.layer.role if view.layer else "",
    ),
)
