"""What a person sees of one layer: histogram, heat map, channels, before and after a treatment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.analysis.channels import channel_ranges_of
from benchvise.core.analysis.heat_map import error_map_of, heat_map_of
from benchvise.core.analysis.histogram import histogram_of
from benchvise.core.analysis.layer_source import layer_source, tensor_source
from benchvise.core.analysis.source import Source
from benchvise.core.analysis.statistics import look as look_at
from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.reopen import LAST_OPENED
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.compress.apply import treat
from benchvise.core.compress.layer_matrix import BLOCK_BYTES, LayerMatrix
from benchvise.core.compress.quality import Quality
from benchvise.core.errors import CheckpointError
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Look, LookChannels, LookMap
from benchvise.core.protocol.results import Floats, Looked, LookedChannels, LookedMap
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.surgery.operate import operate
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import OriginalWeights, Weights
from benchvise.core.workspace.workspace import RUN_PREFIX


def look(request: Look, progress: Progress) -> Looked:
    """Histogram and statistics; with `after` also those of the treated weight, on the same edges.

    Raises CheckpointError for a layer that is not there or that surgery drops, and whatever treatment and surgery
    cannot do.
    """
    weights, layer = _looked_at(request)
    source = layer_source(weights, layer)
    before, statistics = look_at(source, request.bins, request.bounds, progress=progress)
    if request.after is None:
        return Looked(request.layer, before, statistics)
    after = _after(weights, layer, request.after, request.workspace, progress)
    if after is None:
        return Looked(request.layer, before, statistics, before, statistics)
    bounds = request.bounds or _union(before.edges, after.matrix)
    if bounds != (before.edges[0], before.edges[-1]):
        before = histogram_of(source, request.bins, bounds, progress=progress)
    histogram, statistics_after = look_at(after.source(layer), request.bins, bounds, progress=progress)
    levels = None if after.levels is None else _within(after.levels, histogram.edges)
    return Looked(request.layer, before, statistics, histogram, statistics_after, levels, after.quality.sqnr_db)


def look_map(request: LookMap, progress: Progress) -> LookedMap:
    """Heat map of the weight as [outputs, inputs], and of the error ŵ − w with `after`."""
    weights, layer = _looked_at(request)
    source = layer_source(weights, layer)
    weight = heat_map_of(source, request.max_rows, request.max_columns, progress=progress)
    if request.after is None:
        return LookedMap(request.layer, weight)
    after = _after(weights, layer, request.after, request.workspace, progress)
    shown = source if after is None else after.source(layer)
    error = error_map_of(source, shown, request.max_rows, request.max_columns, progress=progress)
    return LookedMap(request.layer, weight, error)


def look_channels(request: LookChannels, progress: Progress) -> LookedChannels:
    """Ranges of every output row and input column of the weight as a matrix."""
    weights = _opened(request.path, request.workspace)
    layer = weights.checkpoint.layer(request.layer)
    outputs, inputs = channel_ranges_of(layer_source(weights, layer), progress=progress)
    return LookedChannels(layer.name, outputs, inputs)


def _looked_at(request: Look | LookMap) -> tuple[Weights, Layer]:
    """The layer that is asked for, after surgery where there is some, and the weights that hold it."""
    weights = _opened(request.path, request.workspace)
    if not request.surgery:
        return weights, weights.checkpoint.layer(request.layer)
    operated = operate(weights.checkpoint, request.surgery)
    index = weights.checkpoint.layers.index(weights.checkpoint.layer(request.layer))
    if index not in operated.origins:
        raise CheckpointError(
            "The recipe's surgery leaves nothing of the layer",
            where=request.layer,
            remedy="It is shown as it was before.",
        )
    left = operated.checkpoint.layers[operated.origins.index(index)]
    if not operated.decided:
        raise CheckpointError(
            "What the recipe's surgery leaves of the layer is decided in the run",
            where=request.layer,
            remedy="It is shown as it was before.",
        )
    return weights_of(operated), left


def _opened(path: str, workspace: str) -> Weights:
    """The weights that are looked at: of a checkpoint, which stays open, or as a run ("run:ID") left them."""
    return open_weights(path, workspace) if path.startswith(RUN_PREFIX) else OriginalWeights(LAST_OPENED.open(path))


@dataclass(frozen=True)
class _After:
    """A treated weight [rows, columns] in the layer's dtype, and the levels of its grid, float32 ascending."""

    matrix: Tensor
    levels: Tensor | None
    quality: Quality

    def source(self, layer: Layer) -> Source:
        return tensor_source(self.matrix, layer.dtype)


def _after(weights: Weights, layer: Layer, after: Treatment | str, workspace: str, progress: Progress) -> _After | None:
    """The layer after a treatment, or as a run left it; None when it stays as it is."""
    if isinstance(after, str):
        return _after_run(weights, layer, after, workspace, progress)
    if after.keeps:
        return None
    treated = treat(layer, after, weights, progress)
    levels = arithmetic_of(after.scheme).levels(after.scheme, treated.tail)
    return _After(as_matrix(layer, treated.weight), levels, treated.quality)


def _after_run(weights: Weights, layer: Layer, run: str, workspace: str, progress: Progress) -> _After | None:
    compressed = open_weights(run, workspace)
    theirs = compressed.checkpoint.layer(layer.name)
    if (theirs.shape, theirs.dtype) != (layer.shape, layer.dtype):
        raise CheckpointError(
            f"'{layer.name}' is {layer.dtype} {list(layer.shape)} here, and {theirs.dtype} {list(theirs.shape)} there",
            where=run,
            remedy="Compare with a run that was made from this checkpoint.",
        )
    treatment = compressed.treatment(theirs)
    if treatment.keeps and not compressed.changed(theirs):
        return None
    matrix, quality = torch.empty(layer.matrix_shape, dtype=torch_dtype(layer.dtype)), Quality()
    originals = LayerMatrix(layer, weights, progress).blocks()
    for (start, original), (_, decoded) in zip(originals, compressed.dense_blocks(theirs, BLOCK_BYTES), strict=True):
        matrix[start : start + len(decoded)] = decoded
        quality.add(original, decoded)
    scheme = treatment.scheme
    levels = None if treatment.keeps else arithmetic_of(scheme).levels(scheme, compressed.stored(theirs))
    return _After(matrix, levels, quality)


def _union(edges: Floats, after: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(after)
    return min(float(edges[0]), float(low)), max(float(edges[-1]), float(high))


def _within(levels: Tensor, edges: Floats) -> Floats:
    values = levels.double().numpy()
    kept: Floats = values[(values >= edges[0]) & (values <= edges[-1])]
    return kept
