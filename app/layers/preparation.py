"""The tree of a great many layers, built beside the window's work."""

from __future__ import annotations

from PySide6.QtCore import QObject, QRunnable, Signal

from benchvise.app.layers.model import prepare
from benchvise.core.checkpoint.records import Layer


class PreparationSignal(QObject):
    """done: carries the `PreparedLayers`."""

    done = Signal(object)


class Preparation(QRunnable):
    """Builds the tree of `layers`, and tells."""

    def __init__(self, layers: tuple[Layer, ...], tell: PreparationSignal) -> None:
        super().__init__()
        self._layers = layers
        self._tell = tell

    def run(self) -> None:
        self._tell.done.emit(prepare(self._layers))
