"""Two checkpoints side by side, layer by layer: what changed, by how much, and what each stores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from benchvise.core.analysis.histogram import histogram_of
from benchvise.core.analysis.source import ArraySource
from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import COMPRESSIBLE_DTYPES, Layer
from benchvise.core.errors import CheckpointError
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import CompareLayers
from benchvise.core.protocol.results import Histogram, LayerDifference, LayersCompared
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import BLOCK_BYTES, Weights, row_ranges


def compare_layers(request: CompareLayers, progress: Progress) -> LayersCompared:
    """The layers of two sources matched by name, in the order of the first; what only the second has comes last.

    Raises CheckpointError when one cannot be read, or has no layer of the name whose differences are to be counted,
    and Cancelled.
    """
    first, second = (open_weights(source, request.workspace) for source in (request.source, request.against))
    others = {name: layer for layer in second.checkpoint.layers for name in (layer.name, *layer.tied)}
    pairs = [(layer, _counterpart(layer, others)) for layer in first.checkpoint.layers]
    progress.start(sum(layer.dense_nbytes for layer, _ in pairs), "bytes")
    found = []
    for layer, other in pairs:
        found.append(_difference(_Side(first, layer), _Side(second, other) if other else None))
        progress.advance(layer.dense_nbytes)
    met = {other.name for _, other in pairs if other is not None}
    found += [
        LayerDifference(
            layer.name, changed=True, bits_b=_Side(second, layer).bits, scheme_b=_Side(second, layer).scheme
        )
        for layer in second.checkpoint.layers
        if layer.name not in met
    ]
    histogram = None
    if request.layer:
        layer = first.checkpoint.layer(request.layer)
        histogram = _histogram(first, layer, second, _counterpart(layer, others), request.bins, progress)
    return LayersCompared(tuple(found), request.layer, histogram)


@dataclass(frozen=True)
class _Side:
    weights: Weights
    layer: Layer

    @property
    def scheme(self) -> str:
        treatment = self.weights.treatment(self.layer)
        return self.layer.tensor.scheme if treatment.keeps else treatment.scheme.tag

    @property
    def bits(self) -> float | None:
        """Stored bits for each value; None for a layer without values."""
        treatment = self.weights.treatment(self.layer)
        stored = self.layer.nbytes if treatment.keeps else treatment.bytes_after(self.layer)
        return 8 * stored / self.layer.parameters if self.layer.parameters else None


def _counterpart(layer: Layer, others: dict[str, Layer]) -> Layer | None:
    return next((others[name] for name in (layer.name, *layer.tied) if name in others), None)


def _difference(first: _Side, second: _Side | None) -> LayerDifference:
    name, bits, scheme = first.layer.name, first.bits, first.scheme
    if second is None:
        return LayerDifference(name, changed=True, bits_a=bits, scheme_a=scheme)
    changed, relative = True, None
    if first.layer.matrix_shape == second.layer.matrix_shape:
        changed, relative = _distance(first, second)
    return LayerDifference(name, changed, relative, bits, second.bits, scheme, second.scheme)


def _only_second(side: _Side) -> LayerDifference:
    return LayerDifference(side.layer.name, changed=True, bits_b=side.bits, scheme_b=side.scheme)


def _distance(first: _Side, second: _Side) -> tuple[bool, float | None]:
    """Whether any value differs, and how far the second is from the first, relative to the first's Frobenius norm."""
    changed, apart, size = False, 0.0, 0.0
    step = next((stop - start for start, stop in row_ranges(first.layer, BLOCK_BYTES)), 1)
    blocks = (
        side.weights.dense_blocks(side.layer, step * max(1, side.layer.dense_nbytes // max(1, rows)))
        for side in (first, second)
        for rows in (side.layer.matrix_shape[0],)
    )
    for (_, one), (_, other) in zip(*blocks, strict=True):
        a, b = _real(one), _real(other)
        gap = torch.where((a == b) | (a.isnan() & b.isnan()), torch.zeros_like(a), b - a)
        changed = changed or bool((gap != 0).any())
        apart += float(gap.square().sum())
        size += float(a.square().sum())
    if not changed:
        return False, 0.0
    return True, math.sqrt(apart / size) if size > 0 else None


def _real(values: torch.Tensor) -> torch.Tensor:
    """The values as float64 of the same shape; complex ones as their parts, [*values.shape, 2]."""
    return (torch.view_as_real(values) if values.is_complex() else values).double()


def _histogram(
    first: Weights, layer: Layer, second: Weights, other: Layer | None, bins: int, progress: Progress
) -> Histogram:
    if other is None or other.matrix_shape != layer.matrix_shape or layer.dtype not in COMPRESSIBLE_DTYPES:
        raise CheckpointError(
            f"'{layer.name}' has no counterpart of the same shape to count its differences from",
            where=second.source,
            remedy="Choose a layer that both have; `benchvise diff` lists them.",
        )
    gap = as_matrix(other, second.dense(other)).float() - as_matrix(layer, first.dense(layer)).float()
    return histogram_of(ArraySource(gap.contiguous().numpy()), bins, progress=progress)
