"""Layers that the recipe keeps, but whose values a transform changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.recorder import Recorder
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.runtime.replace import holder_name, read_weight, replace_weight

WHY = "kept by the recipe, changed by its transforms"


@torch.no_grad()
def record_changed(network: Network, layers: Iterable[Layer], recorder: Recorder) -> None:
    """Round the layers, in the model, to the dtype they are stored in; record those that are not what they were."""
    for layer in layers:
        if holder_name(network.model, layer) is None:
            continue
        rounded = read_weight(network.model, layer).to(torch_dtype(layer.dtype)).cpu().contiguous()
        before = network.weights.dense(layer)
        if not torch.equal(rounded, before):
            replace_weight(network.model, layer, rounded)
            recorder.keep_changed(layer, rounded, WHY)
