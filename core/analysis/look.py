"""What a person sees of one layer: histogram, heat map, channels, before and after a treatment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.analysis.channels import channel_ranges_of
from core.analysis.heat_map import error_map_of, heat_map_of
from core.analysis.histogram import histogram_of
from core.analysis.source import ArraySource, EntrySource, Source
from core.analysis.statistics import look as look_at
from core.checkpoint.open import open_checkpoint
from core.checkpoint.read import raw_dtype
from core.checkpoint.records import Layer
from core.checkpoint.tensors import load_tensor
from core.compress.apply import Quality, treated
from core.compress.layer_matrix import matrix_entry
from core.progress import Progress
from core.protocol.requests import Look, LookChannels, LookMap
from core.protocol.results import Floats, Looked, LookedChannels, LookedMap
from core.recipe.recipe import Treatment
from core.schemes.registry import arithmetic_of
from core.weights.open import open_weights


def look(request: Look, progress: Progress) -> Looked:
    """Histogram and statistics; with `after` also those of the treated weight, on the same edges.

    Raises CheckpointError for a layer that is not there, and whatever the treatment cannot do.
    """
    layer = open_checkpoint(request.path).layer(request.layer)
    source = matrix_source(layer)
    before, statistics = look_at(source, request.bins, request.bounds, progress=progress)
    if request.after is None:
        return Looked(layer.name, before, statistics)
    after = _after(layer, request.after, request.workspace)
    bounds = request.bounds or _union(before.edges, after.matrix)
    if bounds is not None and bounds != (before.edges[0], before.edges[-1]):
        before = histogram_of(source, request.bins, bounds, progress=progress)
    shown = after.source(layer)
    histogram, statistics_after = look_at(shown, request.bins, bounds, progress=progress)
    levels = None if after.levels is None else _within(after.levels, histogram.edges)
    return Looked(layer.name, before, statistics, histogram, statistics_after, levels, after.sqnr_db(layer))


def look_map(request: LookMap, progress: Progress) -> LookedMap:
    """Heat map of the weight as [outputs, inputs], and of the error ŵ − w with `after`."""
    layer = open_checkpoint(request.path).layer(request.layer)
    source = matrix_source(layer)
    weight = heat_map_of(source, request.max_rows, request.max_columns, progress=progress)
    if request.after is None:
        return LookedMap(layer.name, weight)
    after = _after(layer, request.after, request.workspace).source(layer)
    error = error_map_of(source, after, request.max_rows, request.max_columns, progress=progress)
    return LookedMap(layer.name, weight, error)


def look_channels(request: LookChannels, progress: Progress) -> LookedChannels:
    """Ranges of every output row and input column of the weight as a matrix."""
    layer = open_checkpoint(request.path).layer(request.layer)
    outputs, inputs = channel_ranges_of(matrix_source(layer), progress=progress)
    return LookedChannels(layer.name, outputs, inputs)


@dataclass(frozen=True)
class _After:
    """A treated weight [rows, columns] in the layer's dtype, and the levels of its grid, float32 ascending."""

    matrix: Tensor
    levels: Tensor | None

    def source(self, layer: Layer) -> Source:
        return tensor_source(self.matrix, layer.dtype)

    def sqnr_db(self, layer: Layer) -> float | None:
        quality = Quality()
        quality.add(_matrix(layer, load_tensor(layer.tensor)), self.matrix)
        return quality.sqnr_db


def _after(layer: Layer, after: Treatment | str, workspace: str) -> _After:
    if isinstance(after, Treatment):
        treatment = after if after.keeps else Treatment(after.scheme.fitted(layer)[0], after.solver)
        dense, stored = treated(layer, treatment)
    else:
        weights = open_weights(after, workspace)
        treatment = weights.treatment(layer)
        dense, stored = weights.dense(layer), weights.stored(layer)
    levels = None if treatment.keeps else arithmetic_of(treatment.scheme).levels(treatment.scheme, stored)
    return _After(_matrix(layer, dense), levels)


def matrix_source(layer: Layer) -> Source:
    """The layer as [outputs, inputs], streamed from its file where its strides allow that."""
    entry = matrix_entry(layer)
    if entry is not None:
        return EntrySource(entry)
    return tensor_source(_matrix(layer, load_tensor(layer.tensor)), layer.dtype)


def tensor_source(values: Tensor, dtype: str) -> Source:
    """A tensor in memory as a source of raw values."""
    raw = values.contiguous()
    if values.dtype == torch.bool:
        return ArraySource(raw.numpy(), dtype)
    flat = raw.reshape(-1).view(torch.uint8).numpy().view(raw_dtype(dtype))
    return ArraySource(flat.reshape(values.shape), dtype)


def _matrix(layer: Layer, values: Tensor) -> Tensor:
    return values.T if layer.transposed and values.dim() == 2 else values.reshape(layer.matrix_shape)


def _union(edges: Floats, after: Tensor) -> tuple[float, float] | None:
    finite = after[torch.isfinite(after)] if after.numel() else after
    if not finite.numel():
        return None
    low, high = torch.aminmax(finite)
    return min(float(edges[0]), float(low)), max(float(edges[-1]), float(high))


def _within(levels: Tensor, edges: Floats) -> Floats:
    values = levels.double().numpy()
    kept: Floats = values[(values >= edges[0]) & (values <= edges[-1])]
    return kept
