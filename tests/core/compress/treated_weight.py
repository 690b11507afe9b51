"""What a treatment makes of a layer of a checkpoint, as tests compare it with what a run left."""

from __future__ import annotations

from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.apply import TreatedLayer, treat
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.recipe import Treatment
from tests.core.compress.file_reader import FileReader


def treated_layer(layer: Layer, treatment: Treatment) -> TreatedLayer:
    """The layer, read from its file, under a treatment that is not to keep."""
    return treat(layer, treatment, FileReader(), NullProgress())


def treated_weight(layer: Layer, treatment: Treatment) -> Tensor:
    """The layer's weight as it would compute after the treatment, [*layer.shape] in the layer's dtype."""
    return FileReader().dense(layer) if treatment.keeps else treated_layer(layer, treatment).weight
